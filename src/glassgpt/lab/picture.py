"""The picture of a run, drawn when it is over.

Apart from `plot.py`, which draws it: a run should not wait for matplotlib before its first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from glassgpt.runs import RunFolder
from glassgpt.training.events import Event, Finished


def with_picture(events: Iterator[Event]) -> Iterator[Event]:
    """A run's events as they are; when it is finished, its picture is drawn first."""
    for event in events:
        yield _drawn(event) if isinstance(event, Finished) else event


def _drawn(finished: Finished) -> Finished:
    from glassgpt.lab.plot import draw_loss

    picture = RunFolder(finished.folder).picture
    draw_loss(finished.files["log"], picture)
    return replace(finished, files={**finished.files, "picture": picture})
