"""What lands on disk is whole: written aside, flushed, synced, renamed.

A reader sees the old file or the new one, never half of either, whatever moment the power goes. Every write that
must survive goes through here, so that one place can be tested against crashes. What a file means is not known here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

BLOCK_BYTES = 1 << 20
WINDOWS = os.name == "nt"
SHARING_PAUSES_S = (0.05, 0.2, 0.8)  # a virus scanner or indexer holds a new file on Windows for about that long


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write the chunks to `path`, folders included; when anything fails, what was there before is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _draft_of(path) as draft:
        with draft.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(draft, path)


def write_text(path: Path, text: str) -> None:
    """UTF-8 without translated line ends: the same bytes on every system."""
    write_atomically(path, [text.encode("utf-8")])


def put_in_place(draft: Path, path: Path) -> None:
    """Give a finished file or folder its name, in one step; a file may take another file's place.

    The content of the draft must be synced already.
    """
    if draft.is_dir():
        sync_folder(draft)
    for pause_s in (*SHARING_PAUSES_S, None):
        try:
            draft.replace(path)
            break
        except PermissionError:  # Windows: somebody has the old file open, perhaps only for a moment
            if pause_s is None or not WINDOWS:
                raise
            time.sleep(pause_s)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """What was written to the file reaches the disk before this returns."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """A new name reaches the disk only with its folder. Windows has no such call and needs none."""
    if WINDOWS:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse; the rename itself was still atomic
            os.fsync(handle)
    finally:
        os.close(handle)


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
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield draft
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
