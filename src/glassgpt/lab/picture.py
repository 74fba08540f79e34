"""The picture of a run, drawn when it is over.

Apart from `plot.py`, which draws it: a run should not wait for matplotlib before its first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from glassgpt.runs import RunFolder
from glassgpt.training.events import Event, Finished, Over


def with_picture(events: Iterator[Event]) -> Iterator[Event]:
    """A run's events as they are; when it is finished, its picture is drawn first."""
    for event in events:
        if isinstance(event, Finished):
            picture = _drawn(event.folder)
            yield replace(event, files={**event.files, "picture": picture})
            continue
        if isinstance(event, Over) and not RunFolder(event.folder).picture.is_file():  # it was killed while drawing
            _drawn(event.folder)
        yield event


def _drawn(folder: Path) -> Path:
    from glassgpt.lab.plot import draw_loss

    run = RunFolder(folder)
    draw_loss(run.log, run.picture)
    return run.picture
