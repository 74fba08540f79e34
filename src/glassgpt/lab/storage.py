"""Where a sweep's trials are kept: Optuna's journal file, or a database, safe against killed processes.

The journal is one line of JSON for each thing that happened, so a process that starts again reads how far all had come.
A lock of the operating system guards it: whoever is killed while writing leaves no lock behind, and the half line that
it may leave is cut off by the next writer.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

from glassgpt.errors import ConfigError, RunError

PATIENCE_S = 60  # a database file may be busy for a while when many processes share it


@contextlib.contextmanager
def open_storage(place: str) -> Iterator[BaseStorage]:
    """`place` is a file's path, or an URL with `://` in it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if "://" not in place:
        yield _journal(Path(place))
        return
    storage = _database(place)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def is_there(place: str) -> bool:
    """Whether anything was kept there, as far as can be seen without making it."""
    return "://" in place or Path(place).is_file()


def _journal(path: Path) -> JournalStorage:
    if path.is_dir():
        raise RunError(f"storage={path} is a folder; name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalLock(path)
    with contextlib.ExitStack() as stack:
        lock.acquire()  # to cut off a half line before it is read
        stack.callback(lock.release)
        backend = JournalFileBackend(str(path), lock_obj=lock)
    try:
        return JournalStorage(backend)
    except (ValueError, KeyError, AttributeError, TypeError):
        raise RunError(f"storage={path} is no journal of a sweep, or is damaged; choose another --storage") from None


def _database(url: str) -> RDBStorage:
    options = {"connect_args": {"timeout": PATIENCE_S}} if url.startswith("sqlite") else {}
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return RDBStorage(url, engine_kwargs=options)
    except Exception as problem:  # each database's driver has its own
        reason = str(problem).split("\n", 1)[0]
        raise ConfigError(f"storage={url} cannot be opened: {reason}") from None


class JournalLock(JournalFileOpenLock):
    """One writer at a time; on taking the lock, a line that a killed writer did not finish is cut off.

    Both methods take the place of Optuna's, which leave a lock file behind when the process is killed.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))
        self._journal = journal
        self._lock = FileLock(f"{journal}.lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        cut_half_line(self._journal)
        return True

    def release(self) -> None:
        self._lock.release()


def cut_half_line(path: Path) -> None:
    """What stands behind the last line break was never finished."""
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        whole = file.read()
        file.truncate(whole.rfind(b"\n") + 1)
