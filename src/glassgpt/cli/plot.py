"""`glassgpt plot`: the curves of one run, or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from glassgpt.cli.chosen import chosen_run
from glassgpt.cli.flags import Parser
from glassgpt.errors import RunError
from glassgpt.runs import RunFolder

EPILOG = """\
examples:
  glassgpt plot                             the newest run, into its own folder
  glassgpt plot runs/a runs/b --out plots   two runs in the same pictures
"""


def run(argv: Sequence[str]) -> int:
    parser = Parser("plot", "[RUN ...] [--out DIR]", "Draw the curves of runs.", epilog=EPILOG)
    parser.add_argument("RUN", nargs="*", help="run folders, or log.csv files; left out, the newest run")
    parser.add_argument("--out", metavar="DIR", help="where to put the pictures (default: the run's folder, or plots/)")
    asked = parser.read(argv)
    from glassgpt.lab.plot import plot_runs

    logs = [find_log(run) for run in asked["RUN"] or [None]]
    out = Path(asked["out"] or (logs[0].parent if len(logs) == 1 else "plots"))
    for picture in plot_runs(logs, out):
        print(picture)
    return 0


def find_log(run: str | None) -> Path:
    path = chosen_run(run)
    log = RunFolder(path).log if path.is_dir() else path
    if log.suffix != ".csv":  # a checkpoint stands for its run
        log = RunFolder(path.parent).log
    if not log.is_file():
        raise RunError(f"{path} holds no log ({log} is missing)")
    return log
