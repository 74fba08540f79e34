"""Copies of a finished run's best checkpoint and log in places that people know; the run keeps the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glassgpt.errors import ConfigError
from glassgpt.files import write_atomically
from glassgpt.runs import RunFolder


def publish(places: Sequence[str], folder: RunFolder) -> list[Path]:
    sources = {".safetensors": folder.best, ".csv": folder.log}
    for place in places:
        if Path(place).suffix not in sources:
            raise ConfigError(
                f"publish={place!r}: copies end in {' (the best checkpoint) or '.join(sources)} (the log)"
            )
    for place in places:
        write_atomically(Path(place), [sources[Path(place).suffix].read_bytes()])
    return [Path(place) for place in places]
