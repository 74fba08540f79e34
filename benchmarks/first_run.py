"""The first run, as a newcomer makes it: how long it trains, how near it comes to the floor, what it writes.

    python benchmarks/first_run.py            about two minutes; prints a line for each bar, and one JSON line

A whole `glassgpt train` in an empty folder with an empty cache; then all held-out stories are scored from their
first character, and a hundred stories that the model writes are marked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"GLASSGPT_CACHE": f"{folder}/cache", "PYTHONPATH": str(SOURCE)}
        os.environ |= environment
        print("glassgpt --help  ", f"{helped_s(folder):.2f} s")
        first_step_s, trained_s = trained(folder)
        figures = {"first_line_s": first_step_s, "training_s": trained_s} | measured(Path(folder) / "runs" / "tales")
    for name, value in figures.items():
        print(f"{name:<20} {value:.4f}")
    print(json.dumps(figures))


def helped_s(folder: str) -> float:
    """The median of five calls."""
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "glassgpt", "--help"], cwd=folder, check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return sorted(times)[2]


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
    from glassgpt.cli.eval import LONGEST_TALE
    from glassgpt.config import SamplingConfig
    from glassgpt.data import tales
    from glassgpt.data.prepare import prepare
    from glassgpt.device import choose_machine
    from glassgpt.lab.exam import mark
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
        "val_loss": scored.loss, "floor": floor, "above_floor": scored.loss - floor,
        "spelled": marks.spelled or 0, "parsed": marks.parsed or 0, "novel": marks.novel or 0,
        "heroes": marks.heroes or 0, "sums": marks.sums or 0, "places": marks.places or 0,
    }  # fmt: skip


if __name__ == "__main__":
    main()
