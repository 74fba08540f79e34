r"""What becomes of bad downloads: a file that is not right never gets its name, and the next start mends everything.

    python benchmarks/download_test.py --downloads 200 --seed 1

Every download goes wrong in one of the ways of `bad_answers.py`: cut, changed, replaced, delayed, led astray, killed
with SIGKILL in the middle. Then the server is good, and the same call is made again, with nothing removed by hand.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accidents import bad_answers as bad
from accidents.bad_server import Behaviour, Case, serving
from common import ROOT, options
from promises import Promise, told

sys.path.insert(0, str(ROOT / "src"))

from glassgpt.data.download import Remote, fetch
from glassgpt.errors import DownloadError

SIZES = (3_000, 60_000)
TIMEOUT_S, PAUSES_S = 0.3, (0.0,)  # two attempts, and nobody waits for long
PATIENCE_S = 30.0  # for a child to begin
LONGEST_LIFE_S = 0.13  # after the first byte; what trickles takes a little less
SLOW_S = 10.0  # no download of this size may take as long, whatever the server does
AUTHORIZATION = "Bearer of-this-server-only"
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from glassgpt.data.download import Remote, fetch
fetch(Remote(sys.argv[2], sys.argv[3], int(sys.argv[4])), Path(sys.argv[5]), pauses_s=(), timeout_s=60)
"""


@dataclass(frozen=True)
class Way:
    """One way to go wrong: what the server does, request after request."""

    name: str
    behaviours: tuple[Behaviour, ...]
    stale: bool = False  # a part of an older version of the file lies there
    killed: bool = False
    weight: int = 1


def way(name: str, *behaviours: Behaviour, **more: Any) -> Way:
    return Way(name, behaviours, **more)


WAYS = (
    way("cut", bad.cut, bad.cut, weight=3),
    way("a byte changed", bad.flipped, bad.flipped, weight=3),
    way("cut, then a byte changed", bad.cut, bad.flipped, weight=2),
    way("shorter", bad.shorter, bad.shorter, weight=2),
    way("cut, then shorter", bad.cut, bad.shorter),
    way("longer", bad.longer, bad.longer),
    way("cut, then longer", bad.cut, bad.longer),
    way("a web page", bad.page, bad.page),
    way("a web page of the right length", bad.page_as_long_as_the_file, bad.page_as_long_as_the_file),
    way("cut, then a web page", bad.cut, bad.page),
    way("compressed", bad.compressed, bad.compressed),
    way("cut, then compressed", bad.cut, bad.compressed),
    way("claims to be shorter", bad.claims_less, bad.claims_less),
    way("cut, then claims to be shorter", bad.cut, bad.claims_less),
    way("a length that is no number", bad.claims_no_number, bad.claims_no_number),
    way("cut, then all of it as a part", bad.cut, bad.whole_as_a_part, weight=2),
    way("cut, then another part", bad.cut, bad.another_part, weight=2),
    way("cut, then a part of another file", bad.cut, bad.part_of_another_file),
    way("chunks that end early", bad.chunks_that_end_early, bad.chunks_that_end_early, weight=2),
    way("hangs in the middle", bad.hangs, bad.hangs),
    way("hangs at once", bad.hangs_at_once, bad.hangs_at_once),
    way("drips", bad.drips, bad.drips),
    way("never ends", bad.never_ends, bad.never_ends),
    way("asks for a pause", bad.asks_for_a_pause, bad.asks_for_a_pause, weight=2),
    way("cut, then asks for a pause", bad.cut, bad.asks_for_a_pause),
    way("refuses", bad.says(404), bad.says(404)),
    way("leads to a file of this machine", bad.leads_to("{local}"), bad.leads_to("{local}")),
    way("leads in a circle", *[bad.leads_to("{path}", "{path}/again")] * 30),
    way("leads to no address", *[bad.leads_to("http://[", "http://.x./", "http://127.0.0.1:99999999/", "ftp://x/",
                                             "data:text/plain,x", "http://a\x01b/", "http://" + "a" * 70 + "/")] * 2),
    way("leads elsewhere", bad.leads_to("{elsewhere}"), bad.cut, bad.leads_to("{elsewhere}"), bad.cut),
    way("speaks no HTTP", bad.speaks_no_http, bad.speaks_no_http, weight=2),
    way("an older part", bad.cut, bad.cut, stale=True, weight=2),
    way("an older part, then nothing", bad.says(503), bad.says(503), stale=True),
    way("killed while it waits", bad.hangs, killed=True, weight=2),
    way("killed at any moment", bad.trickles, killed=True, weight=4),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one bad download left behind, and what the next start made of it."""

    way: str
    accepted: bool  # other bytes under the good name
    untold: str  # what was no plain refusal: a traceback, several lines, an authorization given away, an endless wait
    resumable: bool  # the kept part was a beginning of the file
    resumed: bool  # and the next start asked for the rest of it, and only that
    completed: bool
    seconds: float


def try_downloads(count: int, seed: int, *, ways: Sequence[Way] = WAYS) -> list[Outcome]:
    """Each way once, then as chance has it; what happens in download number n depends on the seed and n alone."""
    lots = [one for one in ways for _ in range(one.weight)]
    chosen = [*ways, *random.Random(seed).choices(lots, k=max(0, count - len(ways)))][:count]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        local = folder / "secret.txt"
        local.write_bytes(b"of this machine")
        cases = {str(number): _case(random.Random(f"{seed}/{number}"), local) for number in range(count)}
        with serving(cases) as here, serving(cases) as there:
            for number, case in cases.items():
                case.elsewhere = f"{there}/{number}/elsewhere"
            return [
                _try(cases[str(number)], f"{here}/{number}", folder / f"{number}" / "text.txt", one)
                for number, one in enumerate(chosen)
            ]


def _case(rng: random.Random, local: Path) -> Case:
    return Case(rng.randbytes(rng.randint(*SIZES)), rng, local=local)


def _try(case: Case, url: str, target: Path, one: Way) -> Outcome:
    case.behaviours = list(one.behaviours)
    part = target.with_name(target.name + ".part")
    if one.stale:
        target.parent.mkdir()
        part.write_bytes(case.rng.randbytes(case.rng.randint(1, len(case.content) + 1000)))
    remote = Remote(url, case.digest, len(case.content), AUTHORIZATION)
    begun = time.monotonic()
    untold = _kill_in_the_middle(case, remote, target) if one.killed else _what_was_untold(case, remote, target)
    seconds = time.monotonic() - begun
    untold = untold or ("took too long" if seconds > SLOW_S else "")
    accepted = target.exists() and target.read_bytes() != case.content
    kept = part.read_bytes() if part.exists() else b""
    resumable = 0 < len(kept) < len(case.content) and case.content.startswith(kept)
    case.behaviours, case.asked = [], []
    completed = not _what_was_untold(case, remote, target) and target.read_bytes() == case.content
    resumed = case.asked[:1] == [f"bytes={len(kept)}-"] and len(case.asked) == 1
    return Outcome(one.name, accepted, untold, resumable, resumed and completed, completed, seconds)


def _what_was_untold(case: Case, remote: Remote, target: Path) -> str:
    """Nothing, when the file was fetched, or refused in one line."""
    try:
        fetch(remote, target, pauses_s=PAUSES_S, timeout_s=TIMEOUT_S)
    except DownloadError as problem:
        if not str(problem).isprintable():
            return f"not one line: {str(problem)!r}"
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"
    if case.authorizations:
        return f"gave away {case.authorizations[0]!r}"
    if case.read_without_end:
        return f"read {bad.ENDLESS_BYTES:,} bytes of a file of {len(case.content):,}"
    return ""


def _kill_in_the_middle(case: Case, remote: Remote, target: Path) -> str:
    """The same call in a process that is killed some moments after it has begun to write, or was just done."""
    words = [str(ROOT / "src"), remote.url, remote.digest, str(remote.size_bytes), str(target)]
    part = target.with_name(target.name + ".part")
    with subprocess.Popen([sys.executable, "-c", CHILD, *words]) as child:
        patient_until = time.monotonic() + PATIENCE_S
        while not part.exists() and child.poll() is None and time.monotonic() < patient_until:
            time.sleep(0.002)
        time.sleep(case.rng.uniform(0, LONGEST_LIFE_S))
        child.kill()
    return "" if child.returncode in {0, -signal.SIGKILL} else f"the child failed by itself: {child.returncode}"


def promises(outcomes: Sequence[Outcome], seed: int) -> list[Promise]:
    resumable = [outcome for outcome in outcomes if outcome.resumable]
    seconds = round(sum(outcome.seconds for outcome in outcomes), 1)
    rows = (
        ("bad downloads: not accepted", [not outcome.accepted for outcome in outcomes]),
        ("bad downloads told in one line, or mended at once", [not outcome.untold for outcome in outcomes]),
        ("then, from the good server, completed with the right bytes", [one.completed for one in outcomes]),
        ("of these, kept beginnings that were gone on from", [outcome.resumed for outcome in resumable]),
    )
    return [
        Promise(promise=what, tried=len(held), failed=len(held) - sum(held), seed=seed, seconds=seconds)
        for what, held in rows
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = options(__doc__)
    parser.add_argument("--downloads", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (default: %(default)s)")
    asked = parser.parse_args(argv)
    outcomes = try_downloads(asked.downloads, asked.seed)
    for outcome in outcomes:
        if outcome.accepted or outcome.untold or not outcome.completed or (outcome.resumable and not outcome.resumed):
            print(f"FAILED  {outcome}")
    return told("download_test", promises(outcomes, asked.seed))


if __name__ == "__main__":
    sys.exit(main())
