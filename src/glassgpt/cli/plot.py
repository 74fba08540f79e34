"""`glassgpt plot`: the curves of one run, or of several side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glassgpt.cli.chosen import chosen_run
from glassgpt.cli.flags import Parser
from glassgpt.errors import ConfigError, RunError
from glassgpt.runs import RunFolder

USAGE = "[RUN ...] [--log FILE ...] [--out DIR] [--x step|tokens|seconds] [--smooth N] [--reference NAME=LOSS ...]"
EPILOG = """\
examples:
  glassgpt plot                                    the newest run, into its own folder
  glassgpt plot runs/a runs/b --out plots          two runs in the same pictures
  glassgpt plot --log logs/training.csv --x tokens --format both
  glassgpt plot runs/a --smooth 0.2 --reference "their model=1.47"
"""
FORMATS = {"png": ("png",), "svg": ("svg",), "both": ("png", "svg")}
ELSEWHERE = Path("plots")


def run(argv: Sequence[str]) -> int:
    asked = _parser().read(argv)
    window = None if asked["smooth"] is None else _window(asked["smooth"])
    references = dict(map(_reference, asked["reference"]))
    from glassgpt.lab.panels import Look
    from glassgpt.lab.plot import plot_runs

    look = Look(x=asked["x"], window=window, references=references)
    named = [*asked["RUN"], *asked["log"]]
    logs = [find_log(run) for run in named or [None]]
    out = asked["out"] or _home(logs, own_way=look == Look())
    for picture in plot_runs(logs, Path(out), look, formats=FORMATS[asked["format"]]):
        print(picture)
    return 0


def _parser() -> Parser:
    parser = Parser("plot", USAGE, "Draw the curves of runs.", epilog=EPILOG)
    add: Any = parser.add_argument
    add("RUN", nargs="*", help="run folders, or log files; left out, the newest run")
    add("--log", metavar="FILE", action="append", default=[], help="a log file; may be given several times")
    add("--out", "--output", metavar="DIR", help="folder for the pictures (default: the run's own, or plots/)")
    add("--x", metavar="{step,tokens,seconds}", default="step", help="what the curves run over (default: step)")
    add("--smooth", metavar="N", help="mean over N logged points, or a share of them such as 0.1; 0 for none")
    add("--format", metavar="{png,svg,both}", default="png", help="kind of picture (default: png)")
    add("--reference", metavar="NAME=LOSS", action="append", default=[], help="a loss to compare with, as a line")
    return parser


def _window(text: str) -> float:
    try:
        window = float(text)
    except ValueError:
        window = math.nan
    if not (0 <= window < math.inf):
        raise ConfigError(f"--smooth {text}: give a number of points (20), a share of them (0.1), or 0 for none")
    return window


def _reference(text: str) -> tuple[str, float]:
    """`_reference("their model=1.47") == ("their model", 1.47)`."""
    name, _, loss = text.rpartition("=")
    try:
        level = float(loss)
    except ValueError:
        level = math.nan
    if not name.strip() or not (0 < level < math.inf):
        raise ConfigError(f'--reference "{text}": write a name and a loss above zero, such as "their model=1.47"')
    return name.strip(), level


def _home(logs: Sequence[Path], *, own_way: bool) -> Path:
    """A run's own folder for its own pictures; what is drawn otherwise does not take their place."""
    folder = logs[0].parent
    alone = len(logs) == 1 and logs[0].name == RunFolder(folder).log.name and RunFolder(folder).is_run()
    return folder if alone and own_way else ELSEWHERE


def find_log(run: str | None) -> Path:
    if run is not None and run.endswith(".csv"):  # any log, also a copy with no run around it
        if not Path(run).is_file():
            raise RunError(f"there is no log {run}; name a run that was trained, or its log.csv")
        return Path(run)
    path = chosen_run(run)
    folder = path if path.is_dir() else path.parent  # a checkpoint stands for its run
    log = RunFolder(folder).log
    if not log.is_file():
        raise RunError(f"{path} is no log and belongs to no run ({log} is missing); name a run or its log.csv")
    return log
