"""How fast training is: tokens in a second beside nanoGPT and transformers, and the memory that it takes.

    python benchmarks/training_speed.py --nanogpt PATH        about ten minutes; PATH is a checkout of karpathy/nanoGPT

The same network for all (GPT-2 without biases: learned positions, LayerNorm, GELU, tied weights), the same batch, a
whole step each: batch, forward, backward, clipping, AdamW. We compute as `glassgpt train` does on this machine, in
bf16 with fp32 weights where the processor multiplies it, with attention by hand and a fused optimizer; the others as
their own scripts do on a CPU, eager in fp32. Turns are taken within one process, so that all meet the same machine.
Without --nanogpt its figure is quoted, and marked so. Memory is the peak of a process of its own over three steps.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import common
from common import US, alone, compare, finish, in_child, options, seconds_of, take_turns, task_of

QUOTED = {"small": 768 / 0.058, "medium": 1150.0}  # tokens/s of nanoGPT on one core of a server processor, torch 2.13
QUOTED_BYTES = 6.3e9  # its peak memory, 10.7M parameters at 64 x 256
BLOCKS = {"4x128": 30, "6x384, batch 16": 2, "6x384, batch 16, no dropout": 2, "6x384, batch 64": 1}  # steps in a turn
BARS = {"4x128": 2.2, "6x384, batch 16": 2.6, "6x384, batch 16, no dropout": 2.6, "6x384, batch 64": 2.6}

Walk = Callable[[int], object]  # takes so many steps


def main() -> None:
    if task := task_of(sys.argv):
        print(json.dumps(peak_bytes(**task)))
        return
    parser = options(__doc__, rounds=5)
    parser.add_argument("--nanogpt", metavar="PATH", help="a checkout of karpathy/nanoGPT; left out, it is quoted")
    parser.add_argument("--only", metavar="TEXT", default="", help="only rows with this in their name")
    asked = parser.parse_args()
    results: list[dict[str, Any]] = []
    for name, steps in BLOCKS.items():
        if asked.only in name:
            results += speeds(name, steps, asked.nanogpt, asked.rounds)
    if asked.only in "memory":
        results.append(memory(asked.nanogpt))
    finish("training_speed", results, about=common.machine("transformers"), method=__doc__.split("\n\n")[2])


def shapes() -> dict[str, Any]:
    from peers import CPU_SHAPE, MEDIUM_SHAPE

    medium = replace(MEDIUM_SHAPE, batch_size=16)
    return {
        "4x128": CPU_SHAPE, "6x384, batch 16": medium, "6x384, batch 16, no dropout": replace(medium, dropout=0.0),
        "6x384, batch 64": MEDIUM_SHAPE,
    }  # fmt: skip


def speeds(name: str, steps: int, checkout: str | None, rounds: int) -> list[dict[str, Any]]:
    """A row for each peer."""
    from peers import nanogpt_peer, transformers_peer

    shape, ids = shapes()[name], random_ids()
    walkers = {US: our_steps(shape), "transformers": repeated(transformers_peer(ids, shape).step)}
    if checkout:
        walkers["nanoGPT"] = repeated(nanogpt_peer(checkout, ids, shape).step)
    turns = {who: pace(walk, steps, steps * shape.tokens) for who, walk in walkers.items()}
    figures = take_turns(turns, rounds=rounds, warm=1)
    what, bar = f"training {name}", BARS[name]
    rows = [compare(what, figures, peer, unit="tokens/s", bar=bar if peer == "nanoGPT" else None)
            for peer in walkers if peer != US]  # fmt: skip
    if not checkout:
        quoted = QUOTED["small" if name == "4x128" else "medium"]
        rows.append(alone(what, figures[US], unit="tokens/s", peer="nanoGPT", published=quoted, bar=bar))
    return rows


def pace(walk: Walk, steps: int, tokens: int) -> Callable[[], float]:
    return lambda: tokens / seconds_of(lambda: walk(steps))


def repeated(step: Callable[[], object]) -> Walk:
    return lambda steps: [step() for _ in range(steps)]


def random_ids() -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(0, 65, size=100_000).astype(np.uint16)


def our_steps(shape: Any) -> Walk:
    """So many steps of `training/step.py` on the configuration that is nanoGPT's, with torch's switches as in a run."""
    from glassgpt.config import ModelConfig, TrainingConfig
    from glassgpt.device import choose_machine, switched_on
    from glassgpt.lab.bench import Subject, trainer_for
    from glassgpt.model.build import build

    model = ModelConfig(
        vocab_size=shape.vocab_size, d_model=shape.n_embd, n_layers=shape.n_layer, n_heads=shape.n_head,
        max_seq_len=shape.block_size, dropout=shape.dropout, position="learned", norm="layernorm", mlp="gelu_exact",
        bias=False, tie_weights=True, qk_norm=False,
    )  # fmt: skip
    training = TrainingConfig(
        batch_size=shape.batch_size, seq_len=shape.block_size, optimizer="adamw", weight_decay=0.1, beta2=0.99,
        gradient_clip=1.0,
    )  # fmt: skip
    machine = choose_machine(training, "cpu")
    trainer = trainer_for(Subject(model=build(model, seed=1), training=training, machine=machine))
    numbers = iter(range(1 << 62))

    def walk(steps: int) -> None:
        with switched_on(machine):
            for _ in range(steps):
                float(trainer.take_step(next(numbers)).loss)

    return walk


def memory(checkout: str | None) -> dict[str, Any]:
    """Bytes of a whole process each, from its start to its third step."""
    ours = [in_child(__file__, who=US) / 1e9]
    if checkout is None:
        return alone("memory, 6x384, 64 x 256", ours, unit="GB", more_is_better=False, peer="nanoGPT",
                     published=QUOTED_BYTES / 1e9, bar=2.0)  # fmt: skip
    figures = {US: ours, "nanoGPT": [in_child(__file__, who="nanoGPT", checkout=checkout) / 1e9]}
    return compare("memory, 6x384, 64 x 256", figures, "nanoGPT", unit="GB", more_is_better=False, bar=2.0)


def peak_bytes(who: str, checkout: str | None = None) -> int | None:
    import torch
    from peers import MEDIUM_SHAPE, nanogpt_peer

    from glassgpt.lab.stopwatch import peak_memory

    assert checkout or who == US
    walk = (
        our_steps(MEDIUM_SHAPE) if who == US else repeated(nanogpt_peer(str(checkout), random_ids(), MEDIUM_SHAPE).step)
    )
    with peak_memory(torch.device("cpu")) as peak:
        walk(3)
    return peak.size_bytes


if __name__ == "__main__":
    main()
