"""Pictures of runs, drawn from what their logs hold.

A log may belong to a run that is still going on or was killed: whole lines count, a cut last one does not. Nothing here
touches matplotlib's global state, so that a notebook's or a library user's own settings and figures stay as they are.
The numbers are written by `training/`; nothing here knows how.
"""

from __future__ import annotations

import io
import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from glassgpt.errors import RunError
from glassgpt.files import write_atomically
from glassgpt.runs import RunFolder
from glassgpt.training.events import Event, Finished

INK, PAPER, FAINT = "#1f2933", "#ffffff", "#d9dee3"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")  # Okabe and Ito: apart for the colour-blind too


PICTURES = {  # column: (file, title)
    "train_loss": ("loss.png", "loss in nats per token"),
    "learning_rate": ("learning_rate.png", "learning rate"),
    "gradient_norm": ("gradient_norm.png", "gradient norm"),
    "tokens_per_s": ("throughput.png", "tokens per second"),
}


@dataclass(frozen=True)
class Log:
    """A run's log as columns of equal length; nan where a line holds no value."""

    label: str
    columns: Mapping[str, Sequence[float]]

    def points(self, column: str) -> tuple[list[float], list[float]]:
        """(steps, values) of the lines that hold a value."""
        pairs = zip(self.columns["step"], self.columns.get(column, ()), strict=False)
        kept = [(step, value) for step, value in pairs if math.isfinite(value)]
        return [step for step, _ in kept], [value for _, value in kept]

    def floors(self) -> set[float]:
        """The loss that no model can beat, where the log says it."""
        return set(self.points("floor")[1])


def draw_loss(log: Path, out: Path, *, floor: float | None = None, title: str = "") -> None:
    """The picture of one run: training loss, held-out loss, and the floor where it is known."""
    run = read_log(log)
    figure, axes = _sheet(title or f"{run.label}: loss in nats per token")
    _draw_column(axes, run, "train_loss", COLOURS[0], "training text")
    _draw_held_out(axes, run, COLOURS[1], _with_best("held-out text", run))
    _draw_floors(axes, run.floors() if floor is None else {floor})
    _scale_losses(axes)
    _finish(figure, axes, out)


def with_picture(events: Iterator[Event]) -> Iterator[Event]:
    """A run's events as they are; when it is finished, its picture is drawn first."""
    for event in events:
        yield _drawn(event) if isinstance(event, Finished) else event


def _drawn(finished: Finished) -> Finished:
    picture = RunFolder(finished.folder).picture
    draw_loss(finished.files["log"], picture, floor=finished.floor)
    return replace(finished, files={**finished.files, "picture": picture})


def plot_runs(logs: Sequence[Path], out: Path) -> list[Path]:
    """Several runs on each picture: loss, learning rate, gradient norm, throughput. `out` is a folder."""
    if not logs:
        raise RunError("there is no log to plot; name at least one run")
    runs = [read_log(log, label) for log, label in zip(logs, _labels(logs), strict=True)]
    for column, (name, title) in PICTURES.items():
        figure, axes = _sheet(title)
        for run, colour in zip(runs, itertools.cycle(COLOURS)):
            _draw_column(axes, run, column, colour, run.label)
            if column == "train_loss":
                _draw_held_out(axes, run, colour, _with_best(f"{run.label}, held out", run))
        if column == "train_loss":
            _draw_floors(axes, set().union(*(run.floors() for run in runs)))
            _scale_losses(axes)
        _finish(figure, axes, out / name)
    return [out / name for name, _ in PICTURES.values()]


def read_log(path: Path, label: str = "") -> Log:
    """The log's whole lines. Where a resumed run wrote a step again, the later line counts."""
    whole = _text(path)
    whole = whole[: whole.rfind("\n") + 1]  # a killed run may have cut its last line, in the middle of a number
    header, *lines = [text.split(",") for text in whole.split("\n")[:-1]] or [[]]
    if "step" not in header:
        raise RunError(f"{path} is no log of a run: its first line names no column 'step'")
    rows: list[dict[str, float]] = []
    for number, line in enumerate(lines, start=2):
        row = _numbers(header, line, f"{path}, line {number}")
        while rows and rows[-1]["step"] >= row["step"]:
            rows.pop()
        rows.append(row)
    return Log(label or path.absolute().parent.name, {name: [row[name] for row in rows] for name in header})


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunError(f"there is no log {path}; name a run that was trained, or its log.csv") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise RunError(f"log {path} cannot be read: {problem}") from None


def _numbers(header: Sequence[str], line: Sequence[str], place: str) -> dict[str, float]:
    try:
        row = {name: float(cell) if cell else math.nan for name, cell in zip(header, line, strict=True)}
    except ValueError:
        raise RunError(f"{place}: {','.join(line)!r} is not one number for each column; mend or remove it") from None
    if not math.isfinite(row["step"]):
        raise RunError(f"{place}: step={row['step']} is no step; mend or remove the line")
    return row


def _labels(logs: Sequence[Path]) -> list[str]:
    """Each run by its folder's name, or by the whole path where names repeat."""
    names = [log.absolute().parent.name for log in logs]
    labels = [name if names.count(name) == 1 else str(log.parent) for name, log in zip(names, logs, strict=True)]
    return [f" {label}" if label.startswith("_") else label for label in labels]  # legends leave out names with _ first


def _sheet(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 4.5), dpi=150, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot(facecolor=PAPER)
    axes.set_title(title, loc="left", color=INK, fontsize=12, pad=12, parse_math=False)
    axes.set_xlabel("step", color=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.tick_params(colors=INK, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure, axes


def _draw_column(axes: Axes, run: Log, column: str, colour: str, label: str) -> None:
    """Every value faintly, and their moving mean over it; a learning rate has no noise to smooth."""
    steps, values = run.points(column)
    axes.plot(steps, values, color=colour, alpha=0.25, linewidth=1)
    line = values if column == "learning_rate" else smooth(values)
    axes.plot(steps, line, color=colour, linewidth=1.8, label=label)


def smooth(values: Sequence[float]) -> list[float]:
    """The mean over a window around each value; narrow at the steep start, where a wide one would lie above it."""
    sums = [0.0, *itertools.accumulate(values)]
    means = []
    for place in range(len(values)):
        reach = min(len(values) // 30, place // 4)
        first, last = place - reach, min(place + reach, len(values) - 1)
        means.append((sums[last + 1] - sums[first]) / (last + 1 - first))
    return means


def _draw_held_out(axes: Axes, run: Log, colour: str, label: str) -> None:
    steps, values = run.points("val_loss")
    if values:
        axes.plot(steps, values, color=colour, linestyle="none", marker="o", markersize=4.5, label=label)


def _draw_floors(axes: Axes, floors: Set[float]) -> None:
    for floor in sorted(floors):
        axes.axhline(floor, color=INK, linewidth=1.2, linestyle=(0, (6, 4)), label=f"floor {floor:.3f}")


def _with_best(label: str, run: Log) -> str:
    values = run.points("val_loss")[1]
    return f"{label}, best {min(values):.3f}" if values else label


def _scale_losses(axes: Axes) -> None:
    """Logarithmic, for the last tenth of a nat is as hard to win as the first whole one."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.25, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 8)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _finish(figure: Figure, axes: Axes, out: Path) -> None:
    if axes.has_data():
        legend = axes.legend(facecolor=PAPER, edgecolor="none", labelcolor=INK, fontsize=9)
        for text in legend.get_texts():
            text.set_parse_math(False)
    else:
        axes.text(0.5, 0.5, "nothing logged yet", transform=axes.transAxes, ha="center", color=INK)
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a run may be named in any script
        figure.savefig(content, format="png", metadata={"Software": None})  # the same bytes for the same log
    write_atomically(out, [content.getvalue()])
