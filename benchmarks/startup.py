"""How long one waits before anything happens: `import glassgpt`, the help, the first step, the first token.

    python benchmarks/startup.py [--rounds 5]                about two minutes

Each is a process of its own, started anew every time, files warm in memory. An import is timed inside its process, a
command from outside until the first line of a step (or the first character) comes out of it. `import torch` alone is
the largest part of all that computes. Other packages stand beside it where they are installed: their import is what
one waits for before their own help.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import common
from common import ROOT, alone, finish, options, run_python, seconds_of, take_turns

IMPORT = "import time; begin = time.perf_counter(); import {}; print(time.perf_counter() - begin)"
PEERS = ("torch", "transformers", "litgpt")
# The longest that we allow, in seconds.
LIMITS = {"import glassgpt": 0.05, "glassgpt --help": 0.3, "first step": 4.0, "first token": 3.0}


def main() -> None:
    rounds = options(__doc__, rounds=5).parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GLASSGPT_CACHE"] = f"{folder}/cache"
        first_s = until(folder, "train", "--max-steps", "10", "--out", "runs/first", begins="step")
        run_python("-m", "glassgpt", "train", "--max-steps", "100", "--out", "runs/made", cwd=folder)
        figures = take_turns(waits(folder), rounds=rounds, warm=1)
    rows = [row(what, seconds) for what, seconds in figures.items()]
    rows.insert(3, row("first step, text made first", [first_s]))
    finish("startup", rows, about=common.machine("transformers", "litgpt"), method=__doc__.split("\n\n")[2])


def row(what: str, seconds: list[float]) -> dict[str, Any]:
    return alone(what, seconds, unit="s", more_is_better=False, limit=LIMITS.get(what))


def waits(folder: str) -> dict[str, Callable[[], float]]:
    commands: dict[str, Callable[[], float]] = {
        "import glassgpt": lambda: imported_s("glassgpt"),
        "glassgpt --help": lambda: seconds_of(lambda: run_python("-m", "glassgpt", "--help")),
        "first step": lambda: until(folder, "train", "--log-every", "1", "--max-steps", "2", "--out", "runs/again",
                                    "--overwrite", begins="step"),
        "first token": lambda: until(folder, "sample", "runs/made", "--max-new-tokens", "20", begins=""),
    }  # fmt: skip
    return commands | {f"import {name}": _importing(name) for name in PEERS if find_spec(name)}


def _importing(name: str) -> Callable[[], float]:
    """What `transformers` loads is loaded when it is asked for; so its GPT-2 is."""
    return lambda: imported_s(f"{name}.models.gpt2.modeling_gpt2" if name == "transformers" else name)


def imported_s(name: str) -> float:
    return float(run_python("-c", IMPORT.format(name)))


def until(folder: str, *words: str, begins: str) -> float:
    """Seconds from the command to the first line that begins so; where that is empty, to the first character."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"}
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "glassgpt", *words], cwd=Path(folder), env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
    ) as command:  # fmt: skip
        assert command.stdout is not None
        came = command.stdout.read(1) if not begins else next(
            (line for line in command.stdout if line.startswith(begins)), "")  # fmt: skip
        waited_s = time.perf_counter() - begin
        command.stdout.read()
    if not came or command.returncode:
        sys.exit(f"glassgpt {' '.join(words)} did not come to its {begins or 'first character'}")
    return waited_s


if __name__ == "__main__":
    main()
