"""What a run measured: the log's rows, and the memory of a run that a checkpoint carries along."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from glassgpt.files import append_text, sync_file, write_text


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of log.csv; an empty cell means not measured at this step."""

    step: int
    tokens: int
    seconds: float
    train_loss: float  # of this very step's batch, before the step was taken
    val_loss: float | None
    learning_rate: float
    gradient_norm: float
    tokens_per_s: float
    mfu: float | None
    floor: float | None


COLUMNS = tuple(column.name for column in fields(Row))
TIME_COLUMNS = frozenset({"seconds", "tokens_per_s", "mfu"})  # all others are the same in every repetition


WORSE = 1.01  # a validation loss one hundredth higher; less than that is noise


class Log:
    """log.csv, one flushed line after another."""

    def __init__(self, path: Path, *, up_to_step: int) -> None:
        """Continue after `up_to_step`: later rows, or half a row, were written by a run that did not live to save."""
        self._path = path
        rows = rows_up_to(path, up_to_step)
        write_text(path, "".join(_line(row) for row in [list(COLUMNS), *rows]))
        self._digest = hashlib.sha256()
        for row in rows:
            self._digest.update(_lasting(row))

    def write(self, row: Row) -> None:
        cells = ["" if value is None else _cell(value) for value in asdict(row).values()]
        append_text(self._path, _line(cells))
        self._digest.update(_lasting(cells))

    @property
    def digest(self) -> str:
        """Of all that is the same in every repetition; a checkpoint keeps it, and a resumed run looks whether it fits.

        What was written is meant, and not what a disk has made of it since.
        """
        return self._digest.hexdigest()

    def sync(self) -> None:
        """Before a checkpoint: what a resumed run will not measure again should outlive the power too."""
        sync_file(self._path)


def rows_up_to(path: Path, step: int) -> list[list[str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = (line for line in file if "\0" not in line)  # which a power loss may leave, and Python 3.10 refuses
        rows = list(csv.reader(lines))[1:]
    return [row for row in rows if len(row) == len(COLUMNS) and row[0].isdigit() and int(row[0]) <= step]


def _lasting(cells: list[str]) -> bytes:
    return _line([cell for name, cell in zip(COLUMNS, cells, strict=True) if name not in TIME_COLUMNS]).encode()


def _line(cells: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


@dataclass
class Progress:
    """Where a run is and what it knows of itself: everything that is neither weight nor optimizer."""

    step: int = 0
    seconds: float = 0.0
    best_val_loss: float | None = None
    best_step: int = 0
    loss_sum: float = 0.0  # of the training batches since the last evaluation
    loss_count: int = 0
    log_digest: str = ""  # of the log up to this step
    history: list[list[float]] = field(default_factory=list)  # [step, train loss, val loss] of each evaluation

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> Progress:
        return cls(**{column.name: metrics[column.name] for column in fields(cls) if column.name in metrics})

    def to_metrics(self) -> dict[str, Any]:
        return asdict(self)

    def add_batch_loss(self, loss: float) -> None:
        self.loss_sum += loss
        self.loss_count += 1

    def add_evaluation(self, val_loss: float) -> tuple[float, bool]:
        """The mean training loss since the last evaluation, and whether this one is the best so far."""
        train_loss = self.loss_sum / max(1, self.loss_count)
        self.loss_sum, self.loss_count = 0.0, 0
        self.history.append([float(self.step), train_loss, val_loss])  # as it is read back
        is_best = self.best_val_loss is None or val_loss < self.best_val_loss
        if is_best:
            self.best_val_loss, self.best_step = val_loss, self.step
        return train_loss, is_best

    def overfitting_since(self) -> int | None:
        """The step of the best evaluation, when the last two were clearly worse while the training loss fell on."""
        best = next((row for row in self.history if row[0] == self.best_step), None)
        later = [row for row in self.history if row[0] > self.best_step][-2:]
        if best is None or len(later) < 2 or later[-1][1] >= best[1]:
            return None
        return self.best_step if min(later[0][2], later[1][2]) > WORSE * best[2] else None
