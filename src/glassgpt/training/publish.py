"""Copies of a run's best checkpoint and log in places that people know; the run keeps the truth.

The name's ending says what is copied and how: .safetensors as it lies in the run, .pt in PyTorch's own
format, .csv the log. A place that cannot be written costs a line, and not the run's ending.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glassgpt.checkpoint import load_checkpoint, save_checkpoint
from glassgpt.files import write_atomically
from glassgpt.runs import RunFolder

FAILED = "could not be written"


def publish(places: Sequence[str], folder: RunFolder) -> tuple[list[Path], list[str]]:
    """Where copies lie now, and what there is to say, one line for each place."""
    copies: list[Path] = []
    lines: list[str] = []
    for place in map(Path, places):
        said = "replaced" if place.is_file() else "published"
        try:
            _copy(place, folder)
        except OSError as problem:
            lines.append(f"{place} {FAILED} ({problem.strerror or problem}); {folder.path} holds it all")
        else:
            copies.append(place)
            lines.append(f"{said} {place}")
    return copies, lines


def _copy(place: Path, folder: RunFolder) -> None:
    if place.suffix == ".csv":
        write_atomically(place, [folder.log.read_bytes()])
    elif place.suffix == folder.best.suffix:
        write_atomically(place, [folder.best.read_bytes()])
    else:
        save_checkpoint(place, load_checkpoint(folder.best))
