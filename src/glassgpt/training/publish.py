"""Copies of a finished run's best checkpoint and log in places that people know; the run keeps the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glassgpt.files import write_atomically
from glassgpt.runs import RunFolder


def publish(places: Sequence[str], folder: RunFolder) -> list[Path]:
    for place in map(Path, places):
        source = folder.best if place.suffix == ".safetensors" else folder.log
        write_atomically(place, [source.read_bytes()])
    return [Path(place) for place in places]
