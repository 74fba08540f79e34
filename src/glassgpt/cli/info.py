"""`glassgpt info`: what a run or a checkpoint is, and why it is configured as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt import settings
from glassgpt.cli.chosen import RUN_HELP, chosen_checkpoint
from glassgpt.cli.flags import Parser
from glassgpt.cli.terminal import bytes_for_people
from glassgpt.model.count import form_of
from glassgpt.runs import RunFolder
from glassgpt.wording import counted

if TYPE_CHECKING:
    from glassgpt.checkpoint import Checkpoint

EPILOG = """\
examples:
  glassgpt info                         the newest run
  glassgpt info runs/tales --config     every setting, and where it came from
"""


def run(argv: Sequence[str]) -> int:
    parser = Parser("info", "[RUN] [--config]", "What a run or a checkpoint is.", epilog=EPILOG)
    parser.add_argument("RUN", nargs="?", help=RUN_HELP)
    parser.add_argument("--config", action="store_true", help="every setting, and where it came from")
    asked = parser.read(argv)
    found = chosen_checkpoint(asked["RUN"])
    lines = origins_of(found.checkpoint) if asked["config"] else facts_of(found.path, found.checkpoint)
    print("\n".join(lines))
    return 0


def origins_of(checkpoint: Checkpoint) -> Iterator[str]:
    """Each setting with its value and origin: a flag, a file, a preset, the machine, or the default."""
    last = ""
    width = max(len(str(value)) for value in checkpoint.settings.values())
    for piece, name, _ in settings.fields():
        if piece != last:
            yield f"{'' if not last else chr(10)}# {settings.PIECES[piece].__doc__ if piece != 'run' else 'the run'}"
            last = piece
        value = checkpoint.settings.get(name)
        shown = repr(value) if isinstance(value, str) and not value.isprintable() else str(value)
        yield f"{name:24} {shown:{min(width, 24)}}  {checkpoint.origins.get(name, 'default')}"


def facts_of(file: Path, checkpoint: Checkpoint) -> Iterator[str]:
    tokenizer, metrics = checkpoint.tokenizer(), checkpoint.metrics
    yield f"checkpoint  {file} ({bytes_for_people(file.stat().st_size)}; its digest is right)"
    yield f"form        {form_of(checkpoint.model_config)}"
    yield f"parameters  {sum(tensor.numel() for tensor in checkpoint.weights.values()):,}"
    for part, count in parameters_by_part(checkpoint).items():
        yield f"            {count:>12,}  {part}"
    yield f"tokenizer   {tokenizer.kind}, {counted(tokenizer.vocab_size, 'token')}, digest {tokenizer.digest[:12]}"
    digest = str(metrics.get("data_digest") or "unknown")
    yield f"text        {' '.join(checkpoint.settings.get('data', []))} (digest {digest[:12]})"
    yield f"step        {checkpoint.step:,} of {checkpoint.settings.get('max_steps', checkpoint.step):,}"
    yield from losses_of(metrics)
    if RunFolder(file.parent).is_run():
        names = sorted(entry.name for entry in file.parent.iterdir() if not entry.name.startswith("."))
        yield f"files       {file.parent}: {' '.join(names)}"


def parameters_by_part(checkpoint: Checkpoint) -> dict[str, int]:
    """`{"token_embedding": ..., "blocks attention": ..., "blocks mlp": ..., ...}`, all layers together."""
    counts: dict[str, int] = {}
    for name in sorted(checkpoint.weights, key=_along_the_model):
        words = [word for word in name.split(".") if not word.isdigit()]
        part = " ".join(words[:2]) if words[0] == "blocks" else words[0]
        counts[part] = counts.get(part, 0) + checkpoint.weights[name].numel()
    return counts


def _along_the_model(name: str) -> tuple[int, str]:
    places = ("token_embedding", "position_embedding", "embedding_shift", "blocks", "final_norm", "head")
    first = name.split(".", maxsplit=1)[0]
    return (places.index(first) if first in places else len(places)), name


def losses_of(metrics: Any) -> Iterator[str]:
    best, floor = metrics.get("best_val_loss"), metrics.get("floor")
    if best is not None:
        yield f"val loss    {best:.4f} at step {metrics.get('best_step', 0):,}, the best of {len(metrics['history'])}"
    if floor is not None:
        yield f"floor       {floor:.4f}: no model can do better"
    if metrics.get("seconds"):
        yield f"trained     {metrics['seconds']:.0f} s"
