"""One run, one folder: where its files lie, who may write there, and which run is meant.

runs/NAME/  config.yaml  log.csv  best.safetensors  last.safetensors  previous.safetensors  samples.txt  loss.png
            (step-200.safetensors ...  eval.json  tensorboard/  wandb/)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from glassgpt.errors import RunError, did_you_mean
from glassgpt.files import drafts_in, make_folders, remove, write_text

RUNS = Path("runs")
OURS_HIDDEN = {".lock", ".owner", ".launch"}
KEPT = re.compile(r"step-(0|[1-9]\d*)\.safetensors", re.ASCII)


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def log(self) -> Path:
        return self.path / "log.csv"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def previous(self) -> Path:
        """What was `last` before: to go on from, should `last` be damaged."""
        return self.path / "previous.safetensors"

    @property
    def launch(self) -> Path:
        """Which launch of torchrun has begun the run: should that restart its processes, it goes on there."""
        return self.path / ".launch"

    @property
    def owner(self) -> Path:
        """The number of the process that holds the lock; one that was killed leaves it there."""
        return self.path / ".owner"

    @property
    def samples(self) -> Path:
        return self.path / "samples.txt"

    @property
    def picture(self) -> Path:
        return self.path / "loss.png"

    @property
    def evaluations(self) -> Path:
        return self.path / "eval.json"

    def kept_at(self, step: int) -> Path:
        return self.path / f"step-{step}.safetensors"

    def kept(self) -> dict[int, Path]:
        """The weights that were kept on the way, by their steps, oldest first."""
        named = [(KEPT.fullmatch(path.name), path) for path in self.path.glob("step-*")]
        return dict(sorted((int(match[1]), path) for match, path in named if match and path.is_file()))

    def is_run(self) -> bool:
        try:
            return self.config.is_file() or self.has_checkpoint()
        except PermissionError:  # a folder that this user may not look into hides no other
            return False

    def has_checkpoint(self) -> bool:
        return any(path.is_file() for path in (self.best, self.last, self.previous)) or bool(self.kept())

    def has_state(self) -> bool:
        """Whether there is something to go on from."""
        return self.last.is_file() or self.previous.is_file()

    def checkpoints(self) -> list[Path]:
        """Those to look at and sample from: first the best, or the last while none was evaluated."""
        found = [path for path in (self.best, self.last, self.previous) if path.is_file()]
        found += reversed(self.kept().values())
        if not found:
            missing = f"neither {self.best.name} nor {self.last.name}"
            raise RunError(f"{self.path} holds no checkpoint yet ({missing}); train on, or name another")
        return found

    def checkpoint(self) -> Path:
        return self.checkpoints()[0]

    def lock(self) -> RunLock:
        return RunLock(self)


class RunLock:
    """The operating system's lock on a run folder: a killed process cannot leave it behind."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._lock = FileLock(folder.path / ".lock", timeout=0)
        self._owner = folder.owner

    def __enter__(self) -> RunLock:
        make_folders(self.folder.path)
        try:
            self._lock.acquire()
        except Timeout:
            raise RunError(
                f"{self.folder.path} is in use by process {self._read_owner()}; wait for it, or choose another --out"
            ) from None
        try:
            remove(*drafts_in(self.folder.path))  # of processes that were killed: nobody else writes here now
            write_text(self._owner, str(os.getpid()))
        except BaseException:  # then nobody will leave what was not entered
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._owner.unlink(missing_ok=True)
        self._lock.release()

    def _read_owner(self) -> str:
        try:
            return self._owner.read_text(encoding="utf-8")
        except OSError:
            return "unknown"


def claim(path: Path, *, overwrite: bool) -> RunFolder:
    """A folder for a new run: free, or (with `overwrite`) an old run's, emptied of that run's own files only."""
    folder = RunFolder(path)
    if path.is_file():
        raise RunError(f"{path} is a file; --out names a folder")
    if path.is_dir() and {entry.name for entry in path.iterdir()} - OURS_HIDDEN - {d.name for d in drafts_in(path)}:
        if not folder.is_run():
            raise RunError(f"{path} exists and is no run folder; choose another --out")
        if not overwrite and folder.has_checkpoint():  # else nothing of worth lies there
            raise RunError(f"{path} holds a run already; --resume {path} goes on with it, --overwrite begins anew")
    return folder


@contextmanager
def reserved(path: Path, *, overwrite: bool = False, numbered: bool = False) -> Iterator[RunFolder]:
    """A folder for a new run, locked and emptied; with `numbered` the first of NAME, NAME-2, ... that is to be had."""
    with ExitStack() as held:
        folder = _first_free(path, held) if numbered else _lock_claim(path, held, overwrite=overwrite)
        empty(folder)
        yield folder


def _first_free(path: Path, held: ExitStack) -> RunFolder:
    path = path if path.name.strip(".") else path.resolve()  # `.` has no name that could get a number
    for number in count(1):
        try:
            return _lock_claim(path if number == 1 else path.with_name(f"{path.name}-{number}"), held, overwrite=False)
        except RunError:
            continue  # taken, or another process is just taking it
    raise AssertionError("numbers do not end")


def _lock_claim(path: Path, held: ExitStack, *, overwrite: bool) -> RunFolder:
    with ExitStack() as attempt:
        folder = claim(path, overwrite=overwrite)  # before a lock is left in a folder that is not ours
        attempt.enter_context(folder.lock())
        claim(path, overwrite=overwrite)  # again: a run may have ended there in between
        held.enter_context(attempt.pop_all())
    return folder


def empty(folder: RunFolder) -> None:
    """Remove what an earlier run left: its own files, never anything else that lies there."""
    states = (folder.best, folder.last, folder.previous, *folder.kept().values())
    remove(*states)  # first: no power loss leaves one of them without its log
    remove(folder.log, folder.samples, folder.picture, folder.evaluations)
    remove(*folder.path.glob("tensorboard/events.out.tfevents.*"))
    remove(folder.launch, folder.config)  # last: what is left without them would not be known as a run's


def find_run(run: str | Path | None) -> Path:
    """A run folder or a checkpoint file; left out, the newest run under runs/. `runs/tales@200` is its step 200."""
    if run is None:
        return newest_run()
    path = Path(run)
    if path.is_file():
        return path
    name, _, step = str(run).rpartition("@")
    if name and step.isdecimal() and not path.exists():
        return _kept_by(find_run(name), int(step))
    if not path.exists() and (RUNS / path).is_dir():  # `glassgpt sample tales` means runs/tales
        path = RUNS / path
    if not path.exists():
        names = [str(folder) for folder in RUNS.glob("*")]
        nearest = did_you_mean(str(path), names)
        raise RunError(f"there is no run or checkpoint {path}{nearest}; `glassgpt train` makes one")
    if not RunFolder(path).is_run():
        holds = "it holds neither config.yaml nor last.safetensors"
        raise RunError(f"{path} is no run folder: {holds}; name one such as runs/tales")
    return path


def _kept_by(path: Path, step: int) -> Path:
    kept = RunFolder(path).kept()
    if step not in kept:
        has = f"it keeps {', '.join(map(str, kept))}" if kept else "it keeps none; --keep-every N lets a run keep them"
        raise RunError(f"{path} keeps no step {step}: {has}")
    return kept[step]


def newest_run() -> Path:
    runs = [path for path in RUNS.glob("*") if RunFolder(path).is_run() and RunFolder(path).has_checkpoint()]
    if not runs:
        raise RunError(f"there is no run in {RUNS.resolve()}; train one first: glassgpt train")
    return max(runs, key=lambda path: RunFolder(path).checkpoint().stat().st_mtime_ns)
