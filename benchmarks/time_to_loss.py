"""How long a model takes to become as good as nanoGPT's CPU recipe makes one: seconds, and losses.

    python benchmarks/time_to_loss.py --text tinyshakespeare.txt --nanogpt PATH --preset speedrun
    python benchmarks/time_to_loss.py --text FILE --no-peer 115.6 --preset speedrun:150 --seeds 1 2 3

nanoGPT trains 4 layers of width 128 for 2,000 iterations, context 64, as its README says for a CPU: eager, fp32. Ours
is `glassgpt train` as typed, in a process and an empty folder of its own; `NAME:STEPS` gives a preset other steps.
Seed after seed both train on the first 90 % of the characters, one after the other on the same cores. Both are marked
on all of the last 10 %, in windows of their own context side by side, with the weights of the last step. Training time
is that of the steps alone for both; what we need besides (start-up, evaluations, checkpoints, samples) has rows too.
A quoted nanoGPT (`--no-peer`) has the loss 1.8977, which it reached in 115.6 s on one core of a server processor.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import common
from common import US, alone, compare, finish, in_child, options, run_python, seconds_of, task_of

QUOTED_LOSS = 1.8977
HELD_OUT = 0.1
TIME, LOSS = "training time", "full validation loss"
BARS = {"speedrun": 40.0, "speedrun_strict": 14.0}  # how many times shorter the training shall be, by preset
LOSS_BARS = {"speedrun_long": 1.3}  # how many times smaller the loss: 1.46, in no more time
Figures = dict[str, float]


def main() -> None:
    if task := task_of(sys.argv):
        print(json.dumps(JOBS[task.pop("job")](**task)))
        return
    parser = options(__doc__)
    parser.add_argument("--text", metavar="FILE", required=True, help="the text; for known figures tinyshakespeare")
    parser.add_argument("--nanogpt", metavar="PATH", help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--no-peer", metavar="SECONDS", type=float, default=115.6, help="quote its training time so")
    parser.add_argument("--seeds", metavar="N", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--preset", metavar="NAME[:STEPS]", action="append", default=[], help="ours; may be repeated")
    asked = parser.parse_args()
    text = str(Path(asked.text).resolve())
    presets = asked.preset or [*BARS, *LOSS_BARS]
    runs: dict[str, list[Figures]] = {name: [] for name in ([*presets, "nanoGPT"] if asked.nanogpt else presets)}
    for seed in asked.seeds:
        for name, figures in runs.items():
            figures.append(trained(name, text, seed) if name != "nanoGPT" else
                           in_child(__file__, job="peer", checkout=asked.nanogpt, text=text, seed=seed))  # fmt: skip
            print(
                f"seed {seed}: {name} reached {figures[-1]['loss']:.4f} in {figures[-1]['training_s']:.2f} s",
                flush=True,
            )
    results = [row for name in presets for row in rows(name, runs[name], runs.get("nanoGPT"), asked.no_peer)]
    finish("time_to_loss", results, about=common.machine(), seeds=asked.seeds, method=__doc__.split("\n\n")[2])


def rows(name: str, ours: list[Figures], theirs: list[Figures] | None, quoted_s: float) -> list[dict[str, Any]]:
    """Time and loss beside the peer's, then what our command needs beyond its steps."""
    bar, loss_bar = (bars.get(name.partition(":")[0]) for bars in (BARS, LOSS_BARS))
    figures = {key: [run[key] for run in ours] for key in ours[0]}
    if theirs is None:
        peer: dict[str, Any] = {"more_is_better": False, "peer": "nanoGPT"}
        pair = [
            alone(f"{name}: {TIME}", figures["training_s"], unit="s", published=quoted_s, bar=bar, **peer),
            alone(f"{name}: {LOSS}", figures["loss"], unit="nats", published=QUOTED_LOSS, bar=loss_bar, **peer),
        ]
    else:
        times, losses = ({US: [run[key] for run in ours], "nanoGPT": [run[key] for run in theirs]}
                         for key in ("training_s", "loss"))  # fmt: skip
        less: dict[str, Any] = {"more_is_better": False}
        pair = [
            compare(f"{name}: {TIME}", times, "nanoGPT", unit="s", bar=bar, **less),
            compare(f"{name}: {LOSS}", losses, "nanoGPT", unit="nats", bar=loss_bar, **less),
        ]
    beside = {"starting": "startup_s", "evaluating, saving, sampling": "beside_s", "the whole command": "whole_s"}
    return pair + [alone(f"{name}: {what}", figures[key], unit="s") for what, key in beside.items()]


def trained(preset: str, text: str, seed: int) -> Figures:
    """Our own command; its log says when which step was taken."""
    name, _, steps = preset.partition(":")
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "--preset", name, "--data", text, "--seed", str(seed), "--out", f"{folder}/run"]
        words += ["--val-fraction", str(HELD_OUT), *(["--max-steps", steps] if steps else [])]
        begin = time.perf_counter()
        run_python("-m", "glassgpt", *words, cwd=folder, GLASSGPT_CACHE=f"{folder}/cache")
        whole_s = time.perf_counter() - begin
        training_s, run_s = stepping_s(Path(folder) / "run" / "log.csv")
        loss = in_child(__file__, job="score", folder=f"{folder}/run", text=text)
    return {"loss": loss, "training_s": training_s, "beside_s": run_s - training_s, "startup_s": whole_s - run_s,
            "whole_s": whole_s}  # fmt: skip


def stepping_s(log: Path) -> tuple[float, float]:
    """Seconds of the steps alone, and from the first step to the last line."""
    with log.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    tokens, training_s = 0, 0.0
    for line in lines:  # `tokens_per_s` is the pace since the line before, evaluations left out
        training_s += (int(line["tokens"]) - tokens) / float(line["tokens_per_s"])
        tokens = int(line["tokens"])
    return training_s, float(lines[-1]["seconds"])


def score(folder: str, text: str) -> float:
    """The loss of the last weights over all of the held-out text, in fp32."""
    import glassgpt
    from glassgpt.config import TrainingConfig
    from glassgpt.device import choose_machine
    from glassgpt.runs import RunFolder
    from glassgpt.training.evaluate import evaluate

    lm = glassgpt.load(RunFolder(Path(folder)).last, device="cpu")
    ids = lm.tokenizer.encode_array(held_out(Path(text).read_text(encoding="utf-8"))[1])
    seq_len = lm.checkpoint.settings["seq_len"]
    machine = choose_machine(TrainingConfig(precision="fp32"), "cpu")
    return evaluate(lm.model, ids, seq_len=seq_len, batch_size=32, machine=machine).loss


def held_out(text: str) -> tuple[str, str]:
    """What is trained on, and what is held out: cut where nanoGPT cuts."""
    cut = int(len(text) * (1 - HELD_OUT))
    return text[:cut], text[cut:]


def peer(checkout: str, text: str, seed: int) -> Figures:
    import numpy as np
    from peers import CPU_RECIPE, CPU_SHAPE, nanogpt_peer

    whole = Path(text).read_text(encoding="utf-8")
    table = {character: number for number, character in enumerate(sorted(set(whole)))}
    train, val = (np.array([table[c] for c in part], dtype=np.uint16) for part in held_out(whole))
    theirs = nanogpt_peer(checkout, train, replace(CPU_SHAPE, vocab_size=len(table)), seed=seed)
    training_s = seconds_of(lambda: [theirs.step() for _ in range(CPU_RECIPE.max_iters)])
    return {"training_s": training_s, "loss": theirs.full_loss(val)}


JOBS = {"peer": peer, "score": score}

if __name__ == "__main__":
    main()
