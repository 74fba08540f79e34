"""What `glassgpt train TEXT --minutes M` promises: over in time, and hardly worse than any size around the chosen one.

    python benchmarks/minutes.py --text tinyshakespeare.txt                            half an hour
    python benchmarks/minutes.py --text small.txt large.txt --minutes 3 --cores 0 1    two at a time

Whatever size `--minutes` chooses, the eight around it (two thirds, equal and three halves as many layers, three
quarters, equal and four thirds the width) get as long, with all their other settings by the same rules. All are marked
on the same held-out text, the last tenth or its first 300,000 tokens, with the weights of the last step. Every run has
one core for itself, and the time is that of the whole command, start and end included.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import common
from common import alone, finish, in_child, options, run_python, task_of

SCORED_TOKENS = 300_000
LATEST, WORST = 1.05, 0.03  # of the time; nats above the best neighbour
PINNED = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv.pop(1))})
from glassgpt.cli.main import main
sys.exit(main())
"""


class Size(NamedTuple):
    layers: int
    width: int

    def __str__(self) -> str:
        return f"{self.layers} x {self.width}"


class Done(NamedTuple):
    size: Size
    loss: float
    seconds: float


def main() -> None:
    if task := task_of(sys.argv):
        print(json.dumps(score(**task)))
        return
    parser = options(__doc__)
    parser.add_argument(
        "--text", metavar="FILE", nargs="+", required=True, help="what to train on, one after the other"
    )
    parser.add_argument("--minutes", metavar="M", type=float, default=3.0, help="for each run (default: %(default)s)")
    parser.add_argument("--cores", metavar="N", type=int, nargs="+", default=[0], help="one run on each at a time")
    asked = parser.parse_args()
    rows = [row for text in asked.text for row in compared(Path(text).resolve(), asked.minutes, asked.cores)]
    finish("minutes", rows, about=common.machine(threads=1), method=__doc__.split("\n\n")[2])


def compared(text: Path, minutes: float, cores: list[int]) -> list[dict[str, Any]]:
    free: SimpleQueue[int] = SimpleQueue()
    for core in cores:
        free.put(core)

    def given(size: Size | None) -> Done:
        core = free.get()
        done = trained(text, minutes, core, size)
        free.put(core)
        print(f"{text.name}: {done.size} reached {done.loss:.4f} in {done.seconds:.1f} s", flush=True)
        return done

    chosen = given(None)
    with ThreadPoolExecutor(len(cores)) as pool:
        others = list(pool.map(given, around(chosen.size)))
    best = min(others, key=lambda done: done.loss)
    slowest = max(done.seconds for done in [chosen, *others])
    less: dict[str, Any] = {"more_is_better": False}
    about = f"{text.name} ({text.stat().st_size / 1e6:.1f} MB), {minutes:g} minutes"
    return [
        alone(f"{about}: loss of {chosen.size}, the best of its neighbours being {best.size}", [chosen.loss],
              unit="nats", limit=best.loss + WORST, **less),
        alone(f"{about}: the whole command", [chosen.seconds], unit="s", limit=60 * minutes * LATEST, **less),
        alone(f"{about}: the slowest of all nine", [slowest], unit="s", limit=60 * minutes * LATEST, **less),
    ]  # fmt: skip


def around(size: Size) -> list[Size]:
    """Eight sizes, other than this one."""
    fewer = min(size.layers - 1, round(size.layers / 1.5))
    layers = (fewer or size.layers + 2, size.layers, max(size.layers + 1, round(size.layers * 1.5)))
    widths = (16 * round(size.width * 0.75 / 16), size.width, 16 * round(size.width * 4 / 3 / 16))
    return [Size(number, width) for number in layers for width in widths if (number, width) != size]


def trained(text: Path, minutes: float, core: int, size: Size | None) -> Done:
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", str(text), "--minutes", f"{minutes:g}", "--out", f"{folder}/run"]
        words += ["--n-layers", str(size.layers), "--d-model", str(size.width)] if size else []
        begin = time.perf_counter()
        run_python("-c", PINNED, str(core), *words, cwd=folder, GLASSGPT_CACHE=f"{folder}/cache", OMP_NUM_THREADS="1")
        seconds = time.perf_counter() - begin
        told = in_child(__file__, folder=f"{folder}/run", text=str(text), core=core)
    return Done(Size(told["layers"], told["width"]), told["loss"], seconds)


def score(folder: str, text: str, core: int) -> dict[str, Any]:
    """The loss of the last weights on held-out text, and the size that reached it."""
    import os

    import glassgpt
    from glassgpt.config import DataConfig, TrainingConfig
    from glassgpt.data.prepare import prepare
    from glassgpt.device import choose_machine
    from glassgpt.runs import RunFolder
    from glassgpt.training.evaluate import evaluate

    os.sched_setaffinity(0, {core})
    os.environ["GLASSGPT_CACHE"] = str(Path(folder).parent / "cache")
    lm = glassgpt.load(RunFolder(Path(folder)).last, device="cpu")
    ids = prepare(DataConfig(data=(text,))).val_ids[:SCORED_TOKENS]
    seq_len = lm.checkpoint.settings["seq_len"]
    machine = choose_machine(TrainingConfig(threads=1), "cpu")
    loss = evaluate(lm.model, ids, seq_len=seq_len, batch_size=32, machine=machine).loss
    config = lm.model.config
    return {"loss": loss, "layers": config.n_layers, "width": config.d_model}


if __name__ == "__main__":
    main()
