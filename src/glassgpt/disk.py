"""What is done to a disk, one method for each: everything that `files.py` writes goes through these.

So there is one place in which a test can let the machine die, the disk fill up or the power go, at any operation of
any command (`benchmarks/crash_test.py`, `benchmarks/power_test.py`). Nothing here knows what it writes, or why.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path
from typing import BinaryIO, Literal

WINDOWS = os.name == "nt"
SHARING_PAUSES_S = (0.05, 0.2, 0.8)  # a virus scanner or indexer holds a new file on Windows for about that long
# What a file system answers that cannot sync a folder; some network file systems are such.
NO_SUCH_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES}


class Disk:
    def make_folder(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    def open(self, path: Path, mode: Literal["xb", "ab", "wb"]) -> BinaryIO:
        """Nothing waits in a buffer of ours: what was written is with the system when `write` returns."""
        return path.open(mode, buffering=0)

    def write(self, file: BinaryIO, chunk: bytes | memoryview) -> None:
        rest = memoryview(chunk).cast("B")
        while rest:  # a disk that has just become full takes a part
            taken = file.write(rest)
            if not taken:  # some file systems would say so for ever
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rest = rest[taken:]

    def sync(self, file: BinaryIO) -> None:
        os.fsync(file.fileno())

    def sync_folder(self, folder: Path) -> None:
        """A new name reaches the disk only with its folder. Windows has no such call and needs none."""
        if WINDOWS:
            return
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as problem:
            if problem.errno not in NO_SUCH_SYNC:
                raise
        finally:
            os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        """In one step; a file may take another file's place."""
        for pause_s in (*SHARING_PAUSES_S, None):
            try:
                old.replace(new)
                return
            except PermissionError:  # Windows: somebody has the old file open, perhaps only for a moment
                if pause_s is None or not WINDOWS:
                    raise
                time.sleep(pause_s)

    def remove(self, path: Path) -> None:
        """A file, or a folder with all that is in it; one that is not there is removed already."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
