"""Ctrl-C and SIGTERM at random moments of a command: before the run, while it trains, evaluates, samples, saves, ends.

    python benchmarks/signal_test.py --signals 60

Each must end within five seconds with exit code 130 or 143 and no traceback, and leave a whole checkpoint from which
the same command goes on to the bits of an undisturbed run. A second signal, a moment later, must end it at once. The
first of these moments is when our own code begins to run, some 40 ms after the process.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from accidents.lives import Ending, Life, a_place, differences, step_of
from common import options
from kill_test import command, undisturbed
from promises import Promise, told

LONGEST_S = 5.0
AT_ONCE_S = 2.0
FROM_NOTHING = 4  # one life in so many is a new Python, whose start is interrupted too
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
NOISE = ("Traceback", "Exception ignored", "Error:")


@dataclass
class Tally:
    signals: int = 0
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def interrupt_often(folder: Path, signals: int, *, seed: int, truth: dict[str, object], whole_s: float) -> Tally:
    dice, tally = random.Random(seed), Tally()
    while tally.signals < signals:
        shutil.rmtree(folder, ignore_errors=True)
        if dice.randrange(3) == 0:  # then the preparation of the text is interrupted too
            shutil.rmtree(os.environ["GLASSGPT_CACHE"], ignore_errors=True)
        number = (signal.SIGINT, signal.SIGTERM)[tally.signals % 2]
        forked = dice.randrange(FROM_NOTHING) != 0
        delay_s = dice.uniform(0.0, whole_s) + (0 if forked else dice.uniform(0.0, 3.0))
        life = Life(command(folder), folder.with_suffix(".words"), forked=forked).wait_for_its_first_line()
        ending = life.kill_after(delay_s, number)
        if ending.code == 0:  # it was over before
            continue
        tally.signals += 1
        tally.seconds.append(ending.seconds)
        if why := _wrong(ending, number, folder) or _wrong_afterwards(folder, truth):
            tally.wrong.append(f"signal {tally.signals}, {number.name} after {delay_s:.2f} s: {why}")
    return tally


def _wrong(ending: Ending, number: signal.Signals, folder: Path) -> str:
    if ending.code != CODES[number]:
        return f"it ended with {ending.code}: {ending.said[-300:]}"
    if any(word in ending.said for word in NOISE):
        return f"it said: {ending.said[-300:]}"
    if ending.seconds > LONGEST_S:
        return f"it took {ending.seconds:.1f} s"
    if "stopped at step" in ending.said and f"stopped at step {step_of(folder)};" not in ending.said:
        return f"its checkpoint is of step {step_of(folder)}: {ending.said[-300:]}"
    return ""


def _wrong_afterwards(folder: Path, truth: dict[str, object]) -> str:
    ending = Life(command(folder), folder.with_suffix(".words")).wait()
    if ending.code:
        return f"going on ended with {ending.code}: {ending.said[-300:]}"
    wrong = differences(folder, truth)
    return f"gone on with, it differs in {', '.join(wrong)}" if wrong else ""


def interrupt_twice(folder: Path, times: int, *, seed: int, whole_s: float) -> Tally:
    """The second signal comes while the first one's wish is being granted."""
    dice, tally = random.Random(seed), Tally()
    while tally.signals < times:
        shutil.rmtree(folder, ignore_errors=True)
        number = (signal.SIGINT, signal.SIGTERM)[tally.signals % 2]
        life = Life(command(folder), folder.with_suffix(".words")).wait_for_its_first_line()
        time.sleep(dice.uniform(0.0, whole_s * 0.8))
        os.kill(life.number, number)
        time.sleep(dice.uniform(0.0, 0.05))
        ending = life.end_by(number)
        if ending.code == 0:  # it was over before
            continue
        tally.signals += 1
        tally.seconds.append(ending.seconds)
        if ending.code != CODES[number] or any(word in ending.said for word in NOISE) or ending.seconds > AT_ONCE_S:
            tally.wrong.append(f"twice {number.name}: {ending.code} in {ending.seconds:.1f} s: {ending.said[-300:]}")
    return tally


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--signals", type=int, default=60, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    asked = parser.parse_args()
    with a_place() as place:
        began = time.monotonic()
        truth, whole_s = undisturbed(place / "truth")
        once = interrupt_often(place / "run", asked.signals, seed=asked.seed, truth=truth, whole_s=whole_s)
        twice = interrupt_twice(place / "run", max(1, asked.signals // 3), seed=asked.seed, whole_s=whole_s)
        seconds = time.monotonic() - began
    print("\n".join([*once.wrong, *twice.wrong]))
    about = {"seed": asked.seed, "seconds": round(seconds, 1)}
    return told("signal_test", [
        Promise(promise=f"signals: right exit code, no traceback, whole checkpoint, equal when gone on with "
                        f"(slowest {max(once.seconds):.1f} s)", tried=once.signals, failed=len(once.wrong), **about),
        Promise(promise=f"second signals: gone at once (slowest {max(twice.seconds):.1f} s)",
                tried=twice.signals, failed=len(twice.wrong), **about),
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
