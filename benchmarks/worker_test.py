"""Two processes under torchrun, and kill -9 of the first, of the second, or of torchrun itself.

    python benchmarks/worker_test.py --kills 60

Nobody may be left behind after 30 seconds, and the exit code must not be 0; the checkpoint must be whole, and the same
command must go on from it to the bits of an undisturbed run. Half of the launches may restart (`--max-restarts`): they
must do so by themselves, and end well. Reads /proc, so it runs on Linux.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from accidents.lives import a_place, differences, left_by, step_of, steps_taken
from common import options
from promises import Promise, told

LONGEST_S = 30.0
PATIENCE_S = 180.0
STEPS = 240
SETTINGS = (
    f"--d-model 16 --n-layers 1 --n-heads 2 --max-seq-len 32 --seq-len 32 --batch-size 8 --max-steps {STEPS} "
    "--eval-every 60 --sample-every 0 --save-every 20 --log-every 1 --threads 1 --device cpu --precision fp32"
).split()
WHOM = ("the first process", "the second process", "torchrun")


@dataclass
class Tally:
    kills: int = 0
    restarted: int = 0
    slowest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Launch:
    """torchrun with its processes."""

    def __init__(self, folder: Path, *, restarts: int = 0) -> None:
        self.words = folder.with_suffix(".words")
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
        command = ["-m", "glassgpt", "train", str(folder.parent / "text.txt"), "--out", str(folder), "--continue"]
        with self.words.open("wb") as words:
            self.process = subprocess.Popen(
                [*launcher, f"--max-restarts={restarts}", *command, *SETTINGS],
                stdout=words, stderr=words, env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        self.seen: set[int] = set()

    def members(self) -> dict[str, int]:
        """Who lives, by rank."""
        found = {}
        for number in _children_of(self.process.pid):
            with suppress(OSError):
                told = Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
                ranks = [word[5:].decode() for word in told if word.startswith(b"RANK=")]
                if ranks:
                    found[ranks[0]] = number
        self.seen |= set(found.values())
        return found

    def kill(self, whom: str) -> bool:
        members = self.members()
        number = {WHOM[0]: members.get("0"), WHOM[1]: members.get("1"), WHOM[2]: self.process.pid}[whom]
        if number is None or len(members) < 2:
            return False
        os.kill(number, signal.SIGKILL)
        return True

    def said(self) -> str:
        lines = self.words.read_text(encoding="utf-8", errors="replace").splitlines()
        return " | ".join(line for line in lines if line.startswith("glassgpt:") or "exitcode" in line)[-600:]

    def left_behind(self) -> float | None:
        """Seconds until the last member was gone; None when one was there after the limit."""
        began = time.monotonic()
        while any(_is_alive(number) for number in self.seen):
            if time.monotonic() - began > LONGEST_S:
                return None
            time.sleep(0.05)
        return time.monotonic() - began


def _children_of(parent: int) -> Sequence[int]:
    with suppress(OSError):
        return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return []


def _is_alive(number: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def kill_often(folder: Path, kills: int, *, seed: int, truth: dict[str, object]) -> Tally:
    dice, tally = random.Random(seed), Tally()
    while tally.kills < kills:
        shutil.rmtree(folder, ignore_errors=True)
        if dice.randrange(2):
            _with_restarts(folder, dice, tally, min(4, kills - tally.kills))
        else:
            _once(folder, WHOM[dice.randrange(3)], dice, tally)
        _go_on(folder, truth, tally)
    return tally


def _once(folder: Path, whom: str, dice: random.Random, tally: Tally) -> None:
    """A launch that may not restart."""
    launch = Launch(folder)
    if not _kill_at(launch, folder, whom, dice.randrange(1, STEPS * 3 // 4)):
        tally.wrong.append(f"{whom} could not be killed: {launch.said()}")
        return
    tally.kills += 1
    code = launch.process.wait(PATIENCE_S)
    seconds = launch.left_behind()
    if seconds is None or code == 0:
        tally.wrong.append(f"{whom} killed: exit code {code}, gone after {seconds} s: {launch.said()}")
    tally.slowest_s = max(tally.slowest_s, seconds or LONGEST_S)
    if step_of(folder) is None:
        tally.wrong.append(f"{whom} killed: no whole checkpoint is left")


def _with_restarts(folder: Path, dice: random.Random, tally: Tally, kills: int) -> None:
    """A launch that may restart, of which one process is killed after the other."""
    launch = Launch(folder, restarts=kills)
    step = 0
    for _ in range(kills):
        step += dice.randrange(1, STEPS // 5)
        whom = WHOM[dice.randrange(2)]
        if not _kill_at(launch, folder, whom, step):
            break
        tally.kills += 1
        tally.restarted += 1
    code = launch.process.wait(PATIENCE_S)
    if code or launch.left_behind() is None:
        tally.wrong.append(f"with restarts it ended with {code}: {launch.said()}")


def _kill_at(launch: Launch, folder: Path, whom: str, step: int) -> bool:
    """Whether it was alive when its log came to that step."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and launch.process.poll() is None:
        if steps_taken(folder) >= step and launch.kill(whom):
            return True
        time.sleep(0.02)
    return False


def _go_on(folder: Path, truth: dict[str, object], tally: Tally) -> None:
    launch = Launch(folder)
    code = launch.process.wait(PATIENCE_S)
    if code:
        tally.wrong.append(f"going on ended with {code}: {launch.said()}")
    elif wrong := differences(folder, truth):
        tally.wrong.append(f"gone on with, it differs in {', '.join(wrong)}")


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--kills", type=int, default=60, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    asked = parser.parse_args()
    with a_place() as place:
        began = time.monotonic()
        truth_folder = place / "truth"
        undisturbed = Launch(truth_folder)
        assert undisturbed.process.wait(PATIENCE_S) == 0, undisturbed.said()
        tally = kill_often(place / "run", asked.kills, seed=asked.seed, truth=left_by(truth_folder))
        seconds = time.monotonic() - began
    print("\n".join(tally.wrong))
    return told("worker_test", [
        Promise(promise=f"worker kills: nobody left behind (slowest {tally.slowest_s:.0f} s), exit code not 0, whole "
                        f"checkpoint, equal when gone on with; {tally.restarted} went on by themselves",
                tried=tally.kills, failed=len(tally.wrong), seed=asked.seed, seconds=round(seconds, 1)),
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
