"""Kill -9 at random moments of a real training, again and again, and the same command once more each time.

    python benchmarks/kill_test.py --kills 200

Evaluations, samples, saves and the preparation of the text are among the moments. A run that came to its end through
all that must be, bit for bit, the run that nobody disturbed: weights, optimizer, log (but its time columns), samples.
Nothing is repaired by hand, and no more than the steps since the last save are taken twice.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from accidents.lives import Life, a_place, differences, left_by, step_of, steps_taken
from common import options
from promises import Promise, told

SAVE_EVERY = 8
FROM_NOTHING = 20  # one life in so many is a new Python; the others are forked
SETTINGS = (
    "--d-model 16 --n-layers 1 --n-heads 2 --max-seq-len 32 --seq-len 32 --batch-size 8 --dropout 0.1 --max-steps 64 "
    f"--eval-every 12 --sample-every 40 --save-every {SAVE_EVERY} --log-every 1 --threads 1 --device cpu "
    "--precision fp32"
).split()


@dataclass
class Tally:
    kills: int = 0
    runs: int = 0
    repaired: int = 0  # lives that did not go on by themselves
    repeated_too_much: int = 0
    different: int = 0
    most_repeated: int = 0
    words: list[str] = field(default_factory=list)


def undisturbed(folder: Path) -> tuple[dict[str, object], float]:
    """What a run leaves that nobody disturbs, and how long it takes."""
    began = time.monotonic()
    ending = Life(command(folder), folder.with_suffix(".words")).wait()
    assert ending.code == 0, ending.said
    return left_by(folder), time.monotonic() - began


def command(folder: Path) -> list[str]:
    return ["train", str(folder.parent / "text.txt"), "--out", str(folder), "--continue", *SETTINGS]


def kill_often(folder: Path, kills: int, *, seed: int, truth: dict[str, object], whole_s: float) -> Tally:
    """Run after run, until there were so many kills and the last run has come to its end."""
    dice, tally = random.Random(seed), Tally()
    while tally.kills < kills:
        shutil.rmtree(folder, ignore_errors=True)
        if tally.runs % 2:  # then the preparation of the text is killed too
            shutil.rmtree(os.environ["GLASSGPT_CACHE"], ignore_errors=True)
        while _live_once(folder, dice, tally, kills, whole_s):
            pass
        tally.runs += 1
        if wrong := differences(folder, truth):
            tally.different += 1
            tally.words.append(f"run {tally.runs}: {', '.join(wrong)} differ")
    return tally


def _live_once(folder: Path, dice: random.Random, tally: Tally, kills: int, whole_s: float) -> bool:
    """Whether the run has to be gone on with."""
    forked = dice.randrange(FROM_NOTHING) != 0
    delay_s = dice.uniform(0, whole_s) + (0 if forked else dice.uniform(0.0, 3.0))
    life = Life(command(folder), folder.with_suffix(".words"), forked=forked)
    ending = life.kill_after(delay_s) if tally.kills < kills else life.wait()
    if ending.code == 0:
        return False
    if ending.code != -9:
        tally.repaired += 1
        tally.words.append(f"a life ended with {ending.code}: {ending.said[-300:]}")
        return False
    tally.kills += 1
    taken, saved = steps_taken(folder), step_of(folder) or 0
    tally.most_repeated = max(tally.most_repeated, taken - saved)
    tally.repeated_too_much += taken - saved > SAVE_EVERY
    return True


def main() -> int:
    parser = options(__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: %(default)s)")
    asked = parser.parse_args()
    with a_place() as place:
        began = time.monotonic()
        truth, whole_s = undisturbed(place / "truth")
        print(f"an undisturbed run takes {whole_s:.1f} s; {asked.kills} kills follow", flush=True)
        tally = kill_often(place / "run", asked.kills, seed=asked.seed, truth=truth, whole_s=whole_s)
        seconds = time.monotonic() - began
    print("\n".join(tally.words))
    about = {"seed": asked.seed, "seconds": round(seconds, 1)}
    return told("kill_test", [
        Promise(promise=f"runs killed {tally.kills} times in all: weights, optimizer, log, samples are the same bits",
                tried=tally.runs, failed=tally.different, **about),
        Promise(promise="kills after which the same command went on, with nothing repaired by hand",
                tried=tally.kills, failed=tally.repaired, **about),
        Promise(promise=f"kills after which at most one save interval was repeated (most: {tally.most_repeated} "
                        f"of {SAVE_EVERY} steps)", tried=tally.kills, failed=tally.repeated_too_much, **about),
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
