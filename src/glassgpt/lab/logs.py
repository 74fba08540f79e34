"""Logs read back: log.csv as columns of numbers, and what a log is called beside others.

A log may belong to a run that is still going on or was killed: whole lines count, a cut last one does not. What is
drawn from the columns is in `plot.py`; who writes them, in `training/metrics.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glassgpt.errors import RunError

CURVES = ("train_loss", "val_loss", "learning_rate", "gradient_norm", "tokens_per_s")
LONGEST_LABEL = 48  # characters; more of them would push everything else out of a picture


@dataclass(frozen=True)
class Log:
    """A run's log as columns of equal length; nan where a line holds no value."""

    label: str
    path: Path
    columns: Mapping[str, Sequence[float]]

    def points(self, column: str, x: str = "step") -> tuple[list[float], list[float]]:
        """(places, values) of the lines that hold both; a place is a step, a token or a second."""
        if x not in self.columns:
            raise RunError(f"{self.path} has no column {x!r}; draw it over another: --x step")
        pairs = zip(self.columns[x], self.columns.get(column, ()), strict=False)
        kept = [(place, value) for place, value in pairs if math.isfinite(place) and math.isfinite(value)]
        return [place for place, _ in kept], [value for _, value in kept]

    def best(self, x: str = "step") -> tuple[float, float] | None:
        """Where the held-out loss was lowest, and how low."""
        places, values = self.points("val_loss", x)
        if not values:
            return None
        lowest = values.index(min(values))
        return places[lowest], values[lowest]

    def floors(self) -> set[float]:
        """The loss that no model can beat, where the log says it."""
        return set(self.points("floor")[1])


def read_logs(paths: Sequence[Path]) -> list[Log]:
    """Several logs under names that tell them apart; one that is named twice counts once."""
    different = list({path.resolve(): path for path in paths}.values())
    return [read_log(path, label) for path, label in zip(different, _labels(different), strict=True)]


def read_log(path: Path, label: str = "") -> Log:
    """The log's whole lines. Where a resumed run wrote a step again, the later line counts."""
    whole = _text(path)
    whole = whole[: whole.rfind("\n") + 1]  # a killed run may have cut its last line, in the middle of a number
    header, *lines = [text.rstrip("\r").split(",") for text in whole.split("\n")[:-1]] or [[]]
    if "step" not in header or not set(CURVES) & set(header):
        names = ", ".join(header) if header else "none"
        raise RunError(
            f"{path} is no log of a run: its first line names the columns {names[:80]}, and not 'step' with "
            f"'train_loss' or others of {', '.join(CURVES[1:])}"
        )
    rows: list[dict[str, float]] = []
    for number, line in enumerate(lines, start=2):
        row = _numbers(header, line, f"{path}, line {number}")
        while rows and rows[-1]["step"] >= row["step"]:
            rows.pop()
        rows.append(row)
    return Log(label or _labels([path])[0], path, {name: [row[name] for row in rows] for name in header})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RunError(f"there is no log {path}; name a run that was trained, or its log.csv") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise RunError(f"log {path} cannot be read: {problem}") from None


def _numbers(header: Sequence[str], line: Sequence[str], place: str) -> dict[str, float]:
    try:
        row = {name: float(cell) if cell else math.nan for name, cell in zip(header, line, strict=True)}
    except ValueError:
        said = ",".join(line)[:80]
        raise RunError(f"{place}: {said!r} is not one number for each column; mend or remove it") from None
    if not math.isfinite(row["step"]):
        raise RunError(f"{place}: step={row['step']} is no step; mend or remove the line")
    return row


def _labels(paths: Sequence[Path]) -> list[str]:
    """Each log by the end of its path: as many parts of it as tell it from the others."""
    names = [_name_parts(path) for path in paths]
    labels = ["/".join(parts[-_parts_needed(parts, names) :]) for parts in names]
    return [label if len(label) <= LONGEST_LABEL else "…" + label[1 - LONGEST_LABEL :] for label in labels]


def _name_parts(path: Path) -> tuple[str, ...]:
    """A run's log goes by its folder, a copy in another place by its own name."""
    whole = path.absolute()
    folder = whole.parent if whole.name == "log.csv" and whole.parent.name else whole.with_suffix("")
    return folder.parts


def _parts_needed(parts: tuple[str, ...], names: Sequence[tuple[str, ...]]) -> int:
    for count in range(1, len(parts)):
        if sum(name[-count:] == parts[-count:] for name in names) == 1:
            return count
    return len(parts)
