"""Processes of a training run that can be ended at any moment, and what a run left, to be compared with another's.

A life is a real process with the real command line. Most are forked from this one, which has torch loaded already:
what takes seconds then takes tenths, and a day of accidents fits into minutes. Some are started from nothing.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from glassgpt.checkpoint import load_checkpoint
from glassgpt.cli.main import main
from glassgpt.errors import GlassgptError
from glassgpt.lab import plot  # noqa: F401 - loaded once, for the pictures of all the runs
from glassgpt.recovery import find_state
from glassgpt.training.metrics import COLUMNS, TIME_COLUMNS

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Ending:
    """How a process ended: its code, negative for the signal that ended it, and what it said."""

    code: int
    said: str
    seconds: float  # from the signal to the end, where one was sent


@contextmanager
def a_place() -> Iterator[Path]:
    """An empty folder with a text to train on, and a cache of its own."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["GLASSGPT_CACHE"] = str(Path(place) / "cache")
        text = "".join(f"{n} times {n % 7} makes {n * (n % 7)}. " for n in range(1500))
        (Path(place) / "text.txt").write_text(text, encoding="utf-8")
        yield Path(place)


class Life:
    """One process of `glassgpt ARGV`."""

    def __init__(self, argv: Sequence[str], words: Path, *, forked: bool = True) -> None:
        self.words = words
        sys.stdout.flush()  # or a forked process would say it again
        sys.stderr.flush()
        self.process = None if forked else self._started(argv)
        self.number = self.process.pid if self.process else os.fork()
        if self.number == 0:
            self._live(argv)

    def _started(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        with self.words.open("wb") as words:
            command = [sys.executable, "-m", "glassgpt", *argv]
            return subprocess.Popen(command, stdout=words, stderr=words, stdin=subprocess.DEVNULL)

    def _live(self, argv: Sequence[str]) -> None:
        code = 99
        try:
            handle = os.open(self.words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(handle, stream)
            sys.argv = ["glassgpt", *argv]
            code = main()
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def wait_for_its_first_line(self) -> Life:
        """Until code of ours runs; what is signalled before that is Python itself, which knows no better."""
        status, end = Path(f"/proc/{self.number}/status"), time.monotonic() + PATIENCE_S
        while status.exists() and time.monotonic() < end:
            caught = re.search(r"SigCgt:\s*(\w+)", status.read_text())
            if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
                return self
            time.sleep(0.002)
        time.sleep(0.0 if status.parent.parent.exists() else 0.5)  # elsewhere than on Linux it cannot be seen
        return self

    def kill_after(self, delay_s: float, number: int = signal.SIGKILL) -> Ending:
        """Wait so long, unless it ends before; then send the signal, and wait for the end."""
        end = time.monotonic() + delay_s
        while time.monotonic() < end:
            if (ending := self._ended(time.monotonic())) is not None:
                return ending
            time.sleep(min(0.005, max(0.0, end - time.monotonic())))
        return self.end_by(number)

    def end_by(self, number: int) -> Ending:
        with suppress(ProcessLookupError):
            os.kill(self.number, number)
        return self.wait()

    def wait(self) -> Ending:
        began = time.monotonic()
        while (ending := self._ended(began)) is None:
            if time.monotonic() > began + PATIENCE_S:
                os.kill(self.number, signal.SIGKILL)
            time.sleep(0.005)
        return ending

    def _ended(self, since: float) -> Ending | None:
        if self.process is not None:
            code = self.process.poll()
        else:
            number, status = os.waitpid(self.number, os.WNOHANG)
            code = os.waitstatus_to_exitcode(status) if number else None
        if code is None:
            return None
        said = self.words.read_text(encoding="utf-8", errors="replace") if self.words.exists() else ""
        return Ending(code, said, time.monotonic() - since)


def left_by(folder: Path) -> dict[str, object]:
    """All that a finished run must have in common with its undisturbed twin, by name."""
    return {
        "the last weights and the optimizer": _tensors(folder / "last.safetensors"),
        "the best weights": _tensors(folder / "best.safetensors"),
        "the log": rows_without_times(folder / "log.csv"),
        "the samples": (folder / "samples.txt").read_bytes(),
    }


def _tensors(path: Path) -> dict[str, bytes]:
    checkpoint = load_checkpoint(path)
    both = {**checkpoint.weights, **{f"optimizer/{name}": value for name, value in checkpoint.optimizer.items()}}
    return {name: value.reshape(-1).view(torch.uint8).numpy().tobytes() for name, value in both.items()}


def rows_without_times(log: Path) -> list[list[str]]:
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    keep = [place for place, name in enumerate(COLUMNS) if name not in TIME_COLUMNS]
    return [[row[place] for place in keep] for row in rows if len(row) == len(COLUMNS)]


def differences(folder: Path, truth: dict[str, object]) -> list[str]:
    left = left_by(folder)
    return [name for name in truth if left[name] != truth[name]]


def step_of(folder: Path) -> int | None:
    """Of the newest whole state; None when there is none."""
    try:
        return find_state(folder).checkpoint.step
    except GlassgptError:
        return None


def steps_taken(folder: Path) -> int:
    """As far as its log tells, where every step is logged."""
    with suppress(OSError):
        steps = [int(row[0]) for row in rows_without_times(folder / "log.csv")[1:]]
        return steps[-1] if steps else 0
    return 0
