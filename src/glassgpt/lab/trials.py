"""What came out of a sweep's trials, as plain values: for tables, pictures and programs.

Where they are kept and how processes share them is told in `study.py`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glassgpt.files import write_text
from glassgpt.lab.space import Value

DONE = frozenset({"finished", "pruned", "failed"})


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial. `state` is waiting, running, finished, pruned (stopped early, hopeless) or failed (with its `why`)."""

    number: int
    state: str
    value: float | None  # the best held-out loss; of a pruned trial, the last one
    params: Mapping[str, Value]
    steps: int = 0
    seconds: float = 0.0
    why: str = ""
    where: str = ""  # the process that does it, or did

    @property
    def is_done(self) -> bool:
        return self.state in DONE


def folder_of_trial(folder: Path, number: int) -> Path:
    return folder / f"trial-{number:03}"


def finished(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.state == "finished" and record.value is not None]


def best(records: Iterable[TrialRecord]) -> TrialRecord | None:
    """The lowest loss; of equal ones, the first."""
    return min(finished(records), key=lambda record: (record.value, record.number), default=None)


def names(records: Sequence[TrialRecord]) -> list[str]:
    """The searched settings, in the order of the search."""
    return list({name: None for record in records for name in record.params})


def write_table(path: Path, records: Sequence[TrialRecord]) -> None:
    """trials.csv: a line for each trial, an empty cell for what is not known."""
    searched = names(records)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["number", "state", "value", *searched, "steps", "seconds", "why"])
    for record in records:
        params = [_cell(record.params.get(name)) for name in searched]
        value = "" if record.value is None else f"{record.value:.6f}"
        writer.writerow(
            [record.number, record.state, value, *params, record.steps, f"{record.seconds:.1f}", record.why]
        )
    write_text(path, buffer.getvalue())


def _cell(value: Value) -> str:
    """Exact: a table is for programs too."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def for_people(value: Value) -> str:
    """`for_people(0.0123456) == "0.01235"`, `for_people(True) == "true"`, `for_people(None) == "default"`."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)
