"""What lands on disk is whole: written aside, flushed, synced, renamed.

A reader sees the old file or the new one, never half of either, whatever moment the power goes. Every write that
must survive goes through here, and from here through `disk.py`, where a test can break it. What a file means is not
known here.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from glassgpt.disk import WINDOWS, Disk

BLOCK_BYTES = 1 << 20
DRAFT = re.compile(r"\..+\.(?P<process>\d+)-[0-9a-f]{8}\.tmp")
ABANDONED_S = 60.0  # a process that writes has touched its draft since; process numbers of other machines mean nothing
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

disk = Disk()  # tests put another in its place, which dies or fails


def write_atomically(
    path: Path, chunks: Iterable[bytes | memoryview], *, keep: Path | None = None, size_bytes: int | None = None
) -> None:
    """Write the chunks to `path`, folders included; when anything fails, what was there before is still there.

    `keep` is the name that the file which was there gets then. `size_bytes` of all chunks, where that is known, is
    said when there is not enough room.
    """
    make_folders(path.parent)
    _sweep(path)
    with _said_when_full(path, size_bytes), _draft_of(path) as draft:
        with _named(path):
            file = disk.open(draft, "xb")
        with file:
            for chunk in chunks:  # which may fail by themselves, with other files
                with _named(path):
                    disk.write(file, chunk)
            with _named(path):
                disk.sync(file)
        with _named(path):
            if keep is not None and path.is_file():
                disk.rename(path, keep)
            put_in_place(draft, path)


def write_text(path: Path, text: str) -> None:
    """UTF-8 without translated line ends: the same bytes on every system."""
    content = text.encode("utf-8")
    write_atomically(path, [content], size_bytes=len(content))


def put_in_place(draft: Path, path: Path) -> None:
    """Give a finished file or folder its name, in one step; a file may take another file's place.

    All that is in the draft must be synced already, as `write_atomically` and `sync_file` leave it.
    """
    with _named(path):
        disk.rename(draft, path)
        disk.sync_folder(path.parent)


def append_text(path: Path, text: str) -> None:
    """A line more in a file that grows; it survives the process at once, and the power after `sync_file`."""
    with _said_when_full(path, None), _named(path), appending(path) as file:
        disk.write(file, text.encode("utf-8"))


@contextlib.contextmanager
def appending(path: Path, *, anew: bool = False) -> Iterator[BinaryIO]:
    """The file, open at its end; `anew` empties it first. Write to it with `disk.write`."""
    mode: Literal["wb", "ab"] = "wb" if anew else "ab"
    with disk.open(path, mode) as file:
        yield file


def sync_file(path: Path) -> None:
    """What was written to the file reaches the disk before this returns; its name does so in `put_in_place`."""
    with _named(path), disk.open(path, "ab") as file:
        disk.sync(file)


def make_folders(folder: Path) -> None:
    """The folder and those above it; their names reach the disk."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    with _named(folder):
        disk.make_folder(folder)
        disk.sync_folder(folder.parent)


def remove(*paths: Path) -> None:
    """Files and folders that may be there; when this returns, no power loss brings them back."""
    for path in paths:
        with _named(path):
            disk.remove(path)
    for folder in dict.fromkeys(path.parent for path in paths):
        if folder.is_dir():
            with _named(folder):
                disk.sync_folder(folder)


@contextlib.contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """A folder beside `path` to make it in; gone at the end, unless it was put in place."""
    make_folders(path.parent)
    scratch = path.with_name(_draft_name(path))
    with _named(path):
        disk.make_folder(scratch)
    try:
        yield scratch
    finally:
        with contextlib.suppress(OSError):
            disk.remove(scratch)


def drafts_in(folder: Path) -> list[Path]:
    """What writers left who did not live to finish; or are just writing, where nobody has locked the folder."""
    return [path for path in folder.iterdir() if DRAFT.fullmatch(path.name)]


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def cache_root() -> Path:
    """The folder for what can be made again: GLASSGPT_CACHE, or where this system keeps caches."""
    if chosen := os.environ.get("GLASSGPT_CACHE"):
        return Path(chosen).expanduser()
    if WINDOWS:
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "glassgpt" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "glassgpt"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glassgpt"


@contextlib.contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """A name beside `path` that nobody else has; whatever still bears it at the end is removed."""
    draft = path.with_name(_draft_name(path))
    try:
        yield draft
    finally:
        with contextlib.suppress(OSError):
            disk.remove(draft)


def _draft_name(path: Path) -> str:
    return f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


def _sweep(path: Path) -> None:
    """Remove the drafts of this very file whose writers were killed."""
    for draft in drafts_in(path.parent):
        found = DRAFT.fullmatch(draft.name)
        if found and draft.name.startswith(f".{path.name}.{found['process']}-") and _is_abandoned(draft, found):
            with _named(path):
                disk.remove(draft)


def _is_abandoned(draft: Path, found: re.Match[str]) -> bool:
    if WINDOWS:  # where asking for a process would end it
        return False
    try:
        os.kill(int(found["process"]), 0)
    except ProcessLookupError:
        with contextlib.suppress(OSError):
            return time.time() - draft.stat().st_mtime > ABANDONED_S
    except (PermissionError, OverflowError):  # somebody else's process
        pass
    return False


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """A failing write names no file, a failing draft one that nobody knows: then it is said to be this path."""
    try:
        yield
    except OSError as problem:
        has_name = problem.filename is not None and not DRAFT.fullmatch(Path(os.fsdecode(problem.filename)).name)
        if problem.errno is None or has_name:
            raise
        raise OSError(problem.errno, problem.strerror, str(path)) from None


@contextlib.contextmanager
def _said_when_full(path: Path, size_bytes: int | None) -> Iterator[None]:
    """The same error, in words with figures; whatever was half written is gone by then, and counts as free."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in NO_ROOM or problem.filename != str(path):
            raise
        free = shutil.disk_usage(path.parent).free
        needs = "it needs more" if size_bytes is None else f"it needs {size_bytes:,} bytes"
        why = {
            errno.EDQUOT: f"the quota of this user is used up ({needs})",
            errno.EFBIG: f"the file would be larger than is allowed here (ulimit -f): {needs}, and {free:,} are free",
        }.get(problem.errno, f"the disk is full: {needs}, and {free:,} bytes are free")
        raise OSError(problem.errno, why, str(path)) from None
