"""`python benchmarks/mistakes_test.py [--seed N] [--show]`: are a user's mistakes told in one line, and harmless?

`accidents/mistakes.txt` holds them, as people type them, in the folder that `mistakes_world.py` makes. Looked
at is afterwards: exit code 2, one line on stderr that names the wrong value and the way out, no traceback, and every
file as it was. tests/test_mistakes.py types the same in the suite.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import ROOT, options
from promises import Promise, told

sys.path.insert(0, str(ROOT / "src"))  # a clone works before it is installed

from accidents.mistakes_world import living_in, make_world, surroundings

from glassgpt.cli import doors
from glassgpt.cli.main import main as glassgpt_command

CATALOGUE = Path(__file__).parent / "accidents" / "mistakes.txt"
LONGEST_LINE = 400
PROMISE = "user mistakes: one line that names the value and the way out, exit code 2, no traceback, nothing written"
DOORS: dict[str, Callable[[Sequence[str]], int]] = {
    "train.py": doors.train, "sample.py": doors.sample, "data.py": doors.data, "tok.py": doors.tok,
    "benchmark.py": doors.benchmark, "plot.py": doors.plot, "sweep.py": doors.sweep,
    "bigram.py": lambda argv: doors.bigram(argv, {}),
}  # fmt: skip


@dataclass(frozen=True)
class Mistake:
    """A line of the catalogue: `[real] glassgpt trian | 'trian' | did you mean train?`."""

    command: str
    shown: tuple[str, ...]  # what the one line must hold
    conditions: tuple[str, ...]


@dataclass(frozen=True)
class Said:
    code: int
    err: str


def catalogue() -> list[Mistake]:
    lines = CATALOGUE.read_text(encoding="utf-8").splitlines()
    return [_mistake(line) for line in lines if line and not line.startswith("#")]


def _mistake(line: str) -> Mistake:
    command, *shown = line.split(" | ")
    conditions = re.findall(r"\[(.*?)\] ", match.group()) if (match := re.match(r"(\[[^]]*\] )+", command)) else []
    return Mistake(re.sub(r"^(\[[^]]*\] )+", "", command).strip(), tuple(map(str.strip, shown)), tuple(conditions))


def can_be_made_here(mistake: Mistake) -> bool:
    import torch

    is_so = {
        "no cuda": not torch.cuda.is_available(), "posix": os.name == "posix", "linux": sys.platform == "linux",
        "not root": hasattr(os, "geteuid") and os.geteuid() != 0,
    }  # fmt: skip
    return all(is_so.get(condition, True) for condition in mistake.conditions)


def command(words: Sequence[str]) -> Said:
    """What `glassgpt words` says and how it ends, in this process."""
    return _heard(lambda: glassgpt_command(words))


def _heard(work: Callable[[], int]) -> Said:
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try:
            code = work()
        except Exception:  # the interpreter would print it so
            traceback.print_exc()
            code = 1
    return Said(code, _without_reminder(err.getvalue()))


def _without_reminder(err: str) -> str:
    """Less the line that the shortcut of these tries brings, which nobody else sees."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.startswith("GLASSGPT_MAX_STEPS is set:"))


def type_here(mistake: Mistake, folder: Path) -> Said:
    without = [words.removeprefix("without ") for words in mistake.conditions if words.startswith("without ")]
    pairs = [words.partition("=") for words in mistake.conditions if "=" in words]
    with living_in(folder, environment={name: value for name, _, value in pairs}, without=without):
        program, *words = shlex.split(mistake.command)
        if program == "glassgpt":
            return command(words)
        return _heard(lambda: DOORS[words[0]](words[1:]))


def type_in_a_process(mistake: Mistake, folder: Path) -> Said:
    program, *words = shlex.split(mistake.command)
    line = ["-m", "glassgpt", *words] if program == "glassgpt" else [str(ROOT / words[0]), *words[1:]]
    environment = os.environ | surroundings(folder) | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, *line], cwd=folder, env=environment, capture_output=True, text=True,
                          encoding="utf-8", timeout=60, check=False)  # fmt: skip
    return Said(done.returncode, _without_reminder(done.stderr))


def everything_in(folder: Path) -> dict[str, str]:
    """Each file with the digest of its content, and each folder."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in folder.rglob("*")
    }


def faults(mistake: Mistake, said: Said) -> list[str]:
    """What is wrong with the answer to a mistake; nothing, where it is as promised."""
    lines = said.err.splitlines()
    found = [] if said.code == 2 else [f"exit code {said.code}"]
    if len(lines) != 1 or not said.err.startswith("glassgpt: "):
        found.append(f"{len(lines)} lines on stderr instead of one of ours")
    if "Traceback" in said.err:
        found.append("a traceback")
    if len(said.err) > LONGEST_LINE:
        found.append(f"{len(said.err)} characters")
    spoken = said.err.replace("\\", "/")  # as paths are written on Windows
    return found + [f"{words!r} is not named" for words in mistake.shown if words not in spoken]


def try_one(mistake: Mistake, folder: Path, typed: Callable[[Mistake, Path], Said]) -> tuple[Said, list[str]]:
    before = everything_in(folder)
    said = typed(mistake, folder)
    after = everything_in(folder)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return said, faults(mistake, said) + [f"{name} was written or changed" for name in changed]


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the order in which they are typed (default: 1)")
    parser.add_argument("--show", action="store_true", help="print every line that was said")
    asked = parser.parse_args()
    begin = time.perf_counter()
    mistakes = [mistake for mistake in catalogue() if can_be_made_here(mistake)]
    random.Random(asked.seed).shuffle(mistakes)
    real = [mistake for mistake in mistakes if "real" in mistake.conditions]
    failed = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "home"
        folder.mkdir()
        make_world(folder)
        for typed, chosen in ((type_here, mistakes), (type_in_a_process, real)):
            for mistake in chosen:
                said, wrong = try_one(mistake, folder, typed)
                failed += bool(wrong)
                if wrong or asked.show:
                    print(
                        f"$ {mistake.command}\n  {said.err.strip()}" + "".join(f"\n  WRONG: {fault}" for fault in wrong)
                    )
    tried = len(mistakes) + len(real)
    seconds = round(time.perf_counter() - begin, 1)
    print(
        f"{tried - failed} of {tried} mistakes are answered in one line ({len(real)} of them in processes), {seconds} s"
    )
    promise = Promise(promise=PROMISE, tried=tried, failed=failed, seed=asked.seed, seconds=seconds)
    return told("mistakes_test", [promise])


if __name__ == "__main__":
    sys.exit(main())
