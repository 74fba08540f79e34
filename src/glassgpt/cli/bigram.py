"""`glassgpt bigram`: from the bigram model to the GPT, and what each step on the way gains."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from glassgpt import settings
from glassgpt.cli.chosen import aside
from glassgpt.cli.flags import Parser, whole
from glassgpt.cli.terminal import announce
from glassgpt.shortcut import most_steps

if TYPE_CHECKING:
    from torch import Tensor

    from glassgpt.data.prepare import Prepared
    from glassgpt.lab.ladder import Reached
    from glassgpt.model.base import Predictor

EPILOG = """\
The text is DATA; left out, input.txt if one lies here, else tinyshakespeare (offline: the built-in tales).

examples:
  glassgpt bigram                       about a minute
  glassgpt bigram book.txt --steps 3000
  python -i bigram.py                   leaves model, encode, decode and context to play with
"""
USUAL_TEXT = Path("input.txt")
SAMPLE_TOKENS = 500


class Workbench(NamedTuple):
    """What `print(decode(model.generate(context, 500)[0].tolist()))` needs, the model being the last rung."""

    model: Predictor
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    context: Tensor  # one text of one token, with which the model begins


def run(argv: Sequence[str]) -> int:
    climb(argv)
    return 0


def climb(argv: Sequence[str]) -> Workbench:
    """Climb the ladder and tell of it; the door `bigram.py` keeps what comes back."""
    asked = _parser().read(argv)
    steps, seed = whole("steps", asked["steps"], least=1), whole("seed", asked["seed"], least=0)
    steps = min(steps, most_steps() or steps)
    prepared = _prepared(asked["DATA"])

    import torch

    from glassgpt.device import choose_machine
    from glassgpt.lab import ladder

    machine = choose_machine(ladder.TRAINING, asked["device"])
    context = torch.zeros((1, 1), dtype=torch.long, device=machine.device)
    rungs = ladder.climb(prepared, machine, steps=steps, seed=seed)
    tokens = steps * ladder.TRAINING.batch_size * ladder.TRAINING.seq_len
    print(
        f"text   {' '.join(prepared.meta.data)}: {len(prepared.train_ids):,} tokens; each rung reads {tokens:,} of them"
    )
    first = next(rungs)
    print(f"\n{_written(first.model, prepared, context, seed, by='The bigram model, which knows pairs only,')}\n")
    width = max(len(rung.added) for rung in ladder.RUNGS)
    print(f"{'':{width}}  parameters  val loss     gain  seconds")
    last = None
    for reached in itertools.chain([first], rungs):
        print(_row(reached, last, width), flush=True)
        last = reached
    assert last is not None
    print(f"\n{_written(last.model, prepared, context, seed, by='The GPT')}")
    return Workbench(last.model, prepared.tokenizer.encode, prepared.tokenizer.decode, context)


def _parser() -> Parser:
    usage = "[DATA] [--steps N] [--seed N] [--device NAME]"
    parser = Parser("bigram", usage, "From the bigram model to the GPT, step by step.", epilog=EPILOG)
    parser.add_argument("DATA", nargs="*", help="files, folders, patterns or names from `glassgpt data list`")
    parser.add_argument("--steps", metavar="N", default="1000", help="training steps at each rung (1000)")
    parser.add_argument("--seed", metavar="N", default="1", help="of everything random (1)")
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return parser


def _prepared(data: Sequence[str]) -> Prepared:
    from glassgpt.lab.ladder import TRAINING
    from glassgpt.training.chosen import prepare_data

    flags: dict[str, Any] = {"data": list(data), "seq_len": TRAINING.seq_len}
    if not data and USUAL_TEXT.is_file():
        aside(f"the text is {USUAL_TEXT}, which lies here")
        flags["data"] = [str(USUAL_TEXT)]
    elif not data:
        flags |= {"data": ["tinyshakespeare"], "fallback": ["tales"]}
    prepared = prepare_data(settings.resolve(flags=flags).config, announce())
    if prepared.source.note:
        aside(prepared.source.note)
    return prepared


def _row(reached: Reached, before: Reached | None, width: int) -> str:
    gain = f"{before.val_loss - reached.val_loss:.4f}" if before else ""
    return (
        f"{reached.rung.added:{width}}  {reached.parameters:>10,}  {reached.val_loss:>8.4f} {gain:>8}"
        f"  {reached.seconds:>7.1f}"
    )


def _written(model: Predictor, prepared: Prepared, context: Tensor, seed: int, *, by: str) -> str:
    """What the model writes by itself, indented; by the plain loop, as a learner would do it."""
    import torch

    ids_BT = model.generate(context, SAMPLE_TOKENS, rng=torch.Generator().manual_seed(seed))
    text = prepared.tokenizer.decode(ids_BT[0].tolist()).strip()
    return f"{by} writes:\n\n{textwrap.indent(text, '    ')}"
