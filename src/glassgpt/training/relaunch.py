"""Going on by the command that began it: after a crash, a preemption, or torchrun's own restart of its processes.

`--continue` takes the run that lies where the new one would. torchrun (`--max-restarts`) repeats the very command of
the first launch, which may have been `--overwrite` or `--numbered`: so a run remembers its launch, and is found by it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from glassgpt.files import write_text
from glassgpt.runs import RunFolder

CHOSEN_HERE = "auto"  # a value that asks for a choice, which a run made when it began


def launch() -> str | None:
    """The name of this launch, where torchrun may restart it."""
    told = os.environ
    return told.get("TORCHELASTIC_RUN_ID") if int(told.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0 else None


def is_restarted() -> bool:
    return launch() is not None and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def remember_launch(folder: RunFolder) -> None:
    if (name := launch()) is not None:
        write_text(folder.launch, name)


def run_of_this_launch(path: Path) -> RunFolder | None:
    """Of NAME, NAME-2, NAME-3 and so on, the one that this launch has begun."""
    for number in count(1):
        folder = RunFolder(path if number == 1 else path.with_name(f"{path.name}-{number}"))
        if not folder.path.is_dir():
            return None
        if folder.launch.is_file() and folder.launch.read_text(encoding="utf-8") == launch():
            return folder
    raise AssertionError("numbers do not end")


def wishes(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What of a command that begins a run must be so in one that is gone on with."""
    return {name: value for name, value in asked.items() if value != CHOSEN_HERE and name not in {"out", "minutes"}}
