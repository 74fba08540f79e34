"""Disks that break: one that dies or fails at its k-th operation, and one that writes down whatever is done to it.

Everything that glassgpt writes goes through one object, `glassgpt.files.disk`; these stand in its place for a while.
Nothing here knows what is written: `crash_test.py` and `power_test.py` do, and judge what is left.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))  # a clone works before it is installed

from glassgpt import files
from glassgpt.disk import Disk

T = TypeVar("T")
Mode = Literal["xb", "ab", "wb"]
Way = Literal["dies", "full", "broken", "halfway"]
WAYS: dict[Way, str] = {
    "dies": "the process dies before it",
    "full": "it fails: no space left (ENOSPC)",
    "broken": "it fails: input/output error (EIO)",
    "halfway": "the process dies with half a chunk written; what is no write is done, and then it dies",
}
ERRORS: dict[Way, int] = {"full": errno.ENOSPC, "broken": errno.EIO}
KILLED = 137  # what a shell reports of a process that SIGKILL has ended
LONGEST_LIFE_S = 60  # of a forked process


class Died(BaseException):
    """A death that is played: no code of ours catches it, and no `finally` of ours reaches the disk any more."""


def die() -> NoReturn:
    """A real one: no `finally`, no `with`, no buffer of this process gets its turn."""
    os._exit(KILLED)


def seem_to_die() -> NoReturn:
    raise Died


class Unsynced(Disk):
    """An ordinary disk that does not make anyone wait: a process that dies loses nothing that the system has."""

    def sync(self, file: BinaryIO) -> None: ...

    def sync_folder(self, folder: Path) -> None: ...


class BrokenDisk(Disk):
    """An ordinary disk up to its operation number `at`, counted from 1; there it breaks, in that way."""

    def __init__(self, at: int = 0, way: Way = "dies", *, death: Callable[[], NoReturn] = seem_to_die) -> None:
        self.at, self.way, self.death = at, way, death
        self.operations = 0
        self.is_dead = False
        self._real = Unsynced()

    def make_folder(self, folder: Path) -> None:
        self._act(lambda: self._real.make_folder(folder))

    def open(self, path: Path, mode: Mode) -> BinaryIO:
        return self._act(lambda: self._real.open(path, mode), lambda: self._real.open(path, mode).close())

    def write(self, file: BinaryIO, chunk: bytes | memoryview) -> None:
        whole = memoryview(chunk).cast("B")
        half = whole[: len(whole) // 2]
        self._act(lambda: self._real.write(file, whole), lambda: self._real.write(file, half))

    def sync(self, file: BinaryIO) -> None:
        self._act(lambda: self._real.sync(file))

    def sync_folder(self, folder: Path) -> None:
        self._act(lambda: self._real.sync_folder(folder))

    def rename(self, old: Path, new: Path) -> None:
        self._act(lambda: self._real.rename(old, new))

    def remove(self, path: Path) -> None:
        self._act(lambda: self._real.remove(path))

    def _act(self, do: Callable[[], T], half: Callable[[], object] | None = None) -> T:
        if self.is_dead:
            self.death()
        self.operations += 1
        if self.operations != self.at:
            return do()
        if self.way in ERRORS:
            raise OSError(ERRORS[self.way], os.strerror(ERRORS[self.way]))
        if self.way == "halfway":
            (half or do)()
        self.is_dead = True
        return self.death()


@dataclass(frozen=True)
class Done:
    """One thing that was done to a disk, or (`told`) that was said to a person at that moment."""

    what: Literal["make_folder", "open", "write", "sync", "sync_folder", "rename", "remove", "told"]
    path: Path
    new: Path = Path()  # of a rename
    content: bytes = b""  # of a write
    mode: str = ""
    site: str = ""  # of a sync: which function asked for it
    told: object = None


class Recorder(Disk):
    """Does everything, and writes it down."""

    def __init__(self) -> None:
        self.done: list[Done] = []
        self._real = Unsynced()

    def make_folder(self, folder: Path) -> None:
        self._real.make_folder(folder)
        self.done.append(Done("make_folder", _place(folder)))

    def open(self, path: Path, mode: Mode) -> BinaryIO:
        file = self._real.open(path, mode)
        self.done.append(Done("open", _place(path), mode=mode))
        return file

    def write(self, file: BinaryIO, chunk: bytes | memoryview) -> None:
        self._real.write(file, chunk)
        self.done.append(Done("write", _place(Path(file.name)), content=bytes(chunk)))

    def sync(self, file: BinaryIO) -> None:
        path = _place(Path(file.name))
        self.done.append(Done("sync", path, site=f"{_asked_by()}: file{_of_grown(path)}"))

    def sync_folder(self, folder: Path) -> None:
        self.done.append(Done("sync_folder", _place(folder), site=f"{_asked_by()}: folder"))

    def rename(self, old: Path, new: Path) -> None:
        self._real.rename(old, new)
        self.done.append(Done("rename", _place(old), new=_place(new)))

    def remove(self, path: Path) -> None:
        """A folder goes piece by piece, as it does on a real disk."""
        if path.is_dir() and not path.is_symlink():
            for entry in sorted(path.iterdir()):
                self.remove(entry)
            path.rmdir()
        elif path.is_file():
            path.unlink()
        else:
            return
        self.done.append(Done("remove", _place(path)))

    def tell(self, told: object) -> None:
        self.done.append(Done("told", Path(), told=told))


def _place(path: Path) -> Path:
    return Path.cwd() / path


def _asked_by() -> str:
    """The function of files.py that called the disk's method that called this."""
    return sys._getframe(2).f_code.co_name


def _of_grown(path: Path) -> str:
    """Files that grow are synced by one function, at the wish of several."""
    return f" {path.name}" if path.suffix in {".csv", ".txt"} and not path.name.startswith(".") else ""


@contextmanager
def working_on(disk: Disk) -> Iterator[None]:
    """All that is written meanwhile goes to that disk."""
    before, files.disk = files.disk, disk
    try:
        yield
    finally:
        files.disk = before


def exit_code_of(work: Callable[[], object]) -> int:
    """Of a process of its own, in which the work is done; so it may really die. 1 where an exception ended it."""
    process = os.fork()
    if process == 0:
        signal.alarm(LONGEST_LIFE_S)  # whose default is to end the process
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def can_die_for_real() -> bool:
    """Whether a copy of this process could go on now: of several threads it would have one, and wait for the others."""
    tasks = Path("/proc/self/task")
    return hasattr(os, "fork") and tasks.is_dir() and len(list(tasks.iterdir())) == 1
