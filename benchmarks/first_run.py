"""The first run, as a newcomer makes it: how long it trains, how near it comes to the floor, what it writes.

    python benchmarks/first_run.py            about two minutes; prints a table, and one JSON line

A whole `glassgpt train` in an empty folder with an empty cache; then all held-out stories are scored from their
first character, and a hundred stories that the model writes are marked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
from common import alone, finish, options

SOURCE = common.ROOT / "src"


def main() -> None:
    options(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"GLASSGPT_CACHE": f"{folder}/cache", "PYTHONPATH": str(SOURCE)}
        first_line_s, training_s = trained(folder)
        figures = measured(Path(folder) / "runs" / "tales")
    rows = [alone("to the first line of the log, step 10", [first_line_s], unit="s", more_is_better=False)]
    rows += [alone("training", [training_s], unit="s", more_is_better=False)]
    rows += [alone(name, [value], unit="") for name, value in figures.items()]
    finish("first_run", rows, about=common.machine(), method=__doc__.split("\n\n")[2])


def trained(folder: str) -> tuple[float, float]:
    """Seconds from the command to the first line of the log (at step 10), and of the training alone."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "glassgpt", "train"]
    first = None
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, encoding="utf-8") as run:
        assert run.stdout is not None
        for line in run.stdout:
            if first is None and line.startswith("step"):
                first = time.perf_counter() - begin
    assert run.returncode == 0
    assert first is not None
    rows = (Path(folder) / "runs" / "tales" / "log.csv").read_text(encoding="utf-8").splitlines()
    return first, float(rows[-1].split(",")[2])


def measured(folder: Path) -> dict[str, float]:
    import glassgpt
    from glassgpt.config import SamplingConfig
    from glassgpt.data import tales
    from glassgpt.data.prepare import prepare
    from glassgpt.device import choose_machine
    from glassgpt.lab.exam import mark
    from glassgpt.lab.scores import LONGEST_TALE
    from glassgpt.sampling.generate import write
    from glassgpt.settings import assemble
    from glassgpt.training.evaluate import score_stories

    lm = glassgpt.load(folder, device="cpu")
    config = assemble(lm.checkpoint.settings)
    source = prepare(config.data).source
    stories = tales.apart("".join(source.val_chunks()))
    floor = tales.floor(stories)
    scored = score_stories(lm.model, lm.tokenizer, stories, context=config.training.seq_len, batch_size=16,
                           machine=choose_machine(config.training, "cpu"))  # fmt: skip
    settings = SamplingConfig(max_new_tokens=LONGEST_TALE, stop=(tales.SEPARATOR,), num_samples=100)
    written = [""] * 100
    for event in write(lm.model, lm.tokenizer, tales.BEFORE, settings, context=config.training.seq_len):
        written[event.sample] += event.text
    marks = mark(written, training_text="".join(source.train_chunks()))
    return {
        "loss, nats a character": scored.loss, "the floor that no model can beat": floor,
        "above the floor": scored.loss - floor, "words spelled right": marks.spelled or 0,
        "sentences parsed": marks.parsed or 0, "stories that are new": marks.novel or 0,
        "the same hero to the end": marks.heroes or 0, "sums that add up": marks.sums or 0,
        "things where they should be": marks.places or 0,
    }  # fmt: skip


if __name__ == "__main__":
    main()
