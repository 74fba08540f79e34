"""Pictures of runs: losses, learning rate, gradient norm and throughput, of one run or of several side by side.

The same log gives the same bytes. Nothing here touches matplotlib's global state, so that a notebook's or a library
user's own settings and figures stay as they are. How a log is read is told in `logs.py`; the lines, colours and
scales of a single panel are in `panels.py`.
"""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from glassgpt.errors import RunError
from glassgpt.files import write_atomically
from glassgpt.lab.logs import Log, read_log, read_logs
from glassgpt.lab.panels import INK, PANELS, PAPER, TITLE, Look, draw_panel

LEGEND_CHARACTERS = 120  # how many fit beside each other below a picture eight inches wide
# No date and no version inside: the same bytes for the same log. Text in an SVG stays text, to be searched and edited.
SAVED = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
SVG_SETTINGS: Any = {"svg.hashsalt": "glassgpt", "svg.fonttype": "none"}


def draw_loss(log: Path, out: Path) -> None:
    """The picture of one run: training loss, held-out loss, and the floor where it is known."""
    _save(_single("loss", [read_log(log)], Look()), out)


def plot_runs(
    logs: Sequence[Path], out: Path, look: Look | None = None, *, formats: Sequence[str] = ("png",)
) -> list[Path]:
    """Loss, learning rate, gradient norm and throughput, each alone, and all four as `curves`. `out` is a folder."""
    if not logs:
        raise RunError("there is no log to plot; name at least one run")
    runs, look = read_logs(logs), look or Look()
    if out.is_file():
        raise RunError(f"{out} is a file; name a folder for the pictures")
    pictures = []
    for name in (*PANELS, "curves"):
        figure = _overview(runs, look) if name == "curves" else _single(name, runs, look)
        for kind in formats:
            pictures.append(out / f"{name}.{kind}")
            _save(figure, pictures[-1])
    return pictures


def _single(name: str, runs: Sequence[Log], look: Look) -> Figure:
    figure = Figure(figsize=(8, 4.8), dpi=150, facecolor=PAPER, layout="constrained")
    axes = figure.add_subplot()
    draw_panel(axes, name, runs, look)
    if len(runs) == 1:
        axes.set_title(f"{runs[0].label}: {PANELS[name].title}", **TITLE)
    if len(runs) > 1 or name == "loss":  # else the title names the only curve
        _legend(figure, axes, LEGEND_CHARACTERS)
    return figure


def _overview(runs: Sequence[Log], look: Look) -> Figure:
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)  # inches
    figure = Figure(figsize=(12, 7.6), dpi=150, facecolor=PAPER, layout=layout)
    if len(runs) == 1:
        figure.suptitle(runs[0].label, x=0.01, ha="left", color=INK, fontsize=14, parse_math=False)
    panels = [figure.add_subplot(2, 2, place) for place in range(1, len(PANELS) + 1)]
    for axes, name in zip(panels, PANELS, strict=True):
        draw_panel(axes, name, runs, look)
    _legend(figure, panels[0], LEGEND_CHARACTERS * 3 // 2)
    return figure


def _legend(figure: Figure, axes: Axes, room: int) -> None:
    """Below the picture, where it hides no curve, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    legend = figure.legend(
        handles, labels, loc="outside lower left", ncols=_columns_that_fit(labels, room), frameon=False,
        labelcolor=INK, fontsize=9,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _columns_that_fit(labels: Sequence[str], room: int) -> int:
    """As many as possible; a legend is filled column by column, and a column is as wide as its longest label."""
    for columns in range(len(labels), 1, -1):
        short, longer = divmod(len(labels), columns)
        ends = [*itertools.accumulate(short + (column < longer) for column in range(columns))]
        parts = [labels[start:end] for start, end in itertools.pairwise([0, *ends])]
        if sum(max(map(len, part)) + 8 for part in parts) <= room:  # 8 for the line beside it
            return columns
    return 1


def _save(figure: Figure, out: Path) -> None:
    content = io.BytesIO()
    kind = out.suffix[1:]
    with warnings.catch_warnings(), matplotlib.rc_context(SVG_SETTINGS):
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a run may be named in any script
        figure.savefig(content, format=kind, metadata=SAVED[kind])
    write_atomically(out, [content.getvalue()])
