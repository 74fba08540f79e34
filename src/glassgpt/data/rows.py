"""Rows become text files, once: what a data set of the hub says, as plain text in our cache.

One file for each file of the set, written aside and named when it is whole: so an interrupted preparation goes on
with the file that it broke off in. `hub` knows where the rows come from; a byte after a row ends its document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from glassgpt.data.download import Remote, fetch
from glassgpt.data.hub import DataSet, Shard, find_dataset
from glassgpt.data.reading import DOCUMENT_END
from glassgpt.errors import DataError
from glassgpt.files import drafts_in, make_folders, remove, write_atomically, write_text

FORMAT = 1  # of the folder; a new number leaves all old ones behind
META_FILE = "meta.json"
PIECE_BYTES = 1 << 20

Tell = Callable[[str, float], None]  # what is being done, and how far it is (0 to 1)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which rows, and what they are: whole documents, or the lines of one long text."""

    name: str
    config: str | None = None
    column: str = "text"
    lines: bool = False

    @property
    def is_folder(self) -> bool:
        return Path(self.name).expanduser().is_dir()

    @property
    def key(self) -> str:
        name = str(Path(self.name).expanduser().resolve()) if self.is_folder else self.name
        question = json.dumps([FORMAT, name, self.config, self.column, self.lines])
        return hashlib.sha256(question.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Kept:
    """The text files of a set."""

    train: tuple[Path, ...]
    val: tuple[Path, ...]


def keep_rows(wanted: Wanted, shelf: Path, *, tell: Tell, hurried: bool = False) -> Kept:
    """The text files: found in the cache, or made. A set of the hub that was fetched once is not asked for again."""
    try:
        make_folders(shelf)
        with FileLock(shelf / f"{wanted.key}.lock"):  # who comes second waits, and finds it made
            if not wanted.is_folder:
                for folder in sorted(shelf.glob(f"{wanted.key}-*")):
                    if kept := _open(folder):
                        return kept
            found = find_dataset(wanted.name, wanted.config, hurried=hurried)
            folder = shelf / f"{wanted.key}-{found.revision[:16]}"
            kept = _open(folder)
            if kept is None:
                _make(folder, found, wanted, tell)
                kept = _open(folder)
            assert kept is not None, f"{folder} was just made"
            return kept
    except OSError as problem:
        raise DataError(
            f'cannot keep {wanted.name} in "{shelf}": {problem.strerror or problem}; '
            f"GLASSGPT_CACHE chooses another folder"
        ) from None


def _open(folder: Path) -> Kept | None:
    """What lies in the folder; None when it is missing or not whole."""
    try:
        sizes: dict[str, dict[str, int]] = json.loads((folder / META_FILE).read_bytes())["files"]
        parts = {split: tuple(folder / name for name in names) for split, names in sizes.items()}
        if any((folder / name).stat().st_size != size for names in sizes.values() for name, size in names.items()):
            return None
        return Kept(parts["train"], parts.get("val", ()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _make(folder: Path, found: DataSet, wanted: Wanted, tell: Tell) -> None:
    for leftover in folder.parent.glob(f"{wanted.key}-*"):
        if leftover != folder and _open(leftover) is None:  # begun at another state of the set
            remove(leftover)
    make_folders(folder)
    remove(*drafts_in(folder))  # of a process that was killed
    watch = _Watch(wanted.name, [shard for shards in found.splits.values() for shard in shards], tell)
    files: dict[str, dict[str, int]] = {}
    for split, shards in found.splits.items():
        files[split] = {}
        for number, shard in enumerate(shards):
            path = folder / f"{split}-{number:05}.txt"
            if not path.is_file():
                _write_shard(path, shard, found, wanted, watch, last=number == len(shards) - 1)
            watch.shard_is_done(shard)
            files[split][path.name] = path.stat().st_size
        if not sum(files[split].values()):
            raise DataError(
                f"the column {wanted.column!r} of {wanted.name} is empty; there is nothing to learn from it"
            )
    about = {"name": wanted.name, "config": wanted.config, "column": wanted.column, "revision": found.revision}
    write_text(folder / META_FILE, json.dumps(about | {"files": files}, indent=1) + "\n")


def _write_shard(path: Path, shard: Shard, found: DataSet, wanted: Wanted, watch: _Watch, *, last: bool) -> None:
    """The rows of one file of the set; what was fetched for it is removed when it is read."""
    here = shard
    if isinstance(shard, Remote):
        fetched = path.parent / "fetched" / f"{path.stem}-{Path(shard.url).name}"
        here = fetch(shard, fetched, progress=watch.fetched)
    assert isinstance(here, Path)
    ended = b"" if wanted.lines else DOCUMENT_END
    rows = (watch.row(_line(row)) + ended for row in found.rows(here, wanted.column) if row or wanted.lines)
    try:
        write_atomically(path, _together(rows, DOCUMENT_END if wanted.lines and last else b""))
    except DataError:
        if here is not shard:
            remove(here.parent)
        raise
    if here is not shard:
        remove(here.parent)


def _line(row: str) -> bytes:
    text = row.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return (text if text.endswith("\n") else text + "\n").encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"a row holds half a character (a lone surrogate): {text[:40]!r}") from None


def _together(rows: Iterator[bytes], ending: bytes) -> Iterator[bytes]:
    """Pieces of about a megabyte: a write for each row would be slow."""
    piece = bytearray()
    for row in rows:
        piece += row
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece) + ending


class _Watch:
    """How far it is: by the bytes of the set's files, half for fetching and half for reading."""

    def __init__(self, name: str, shards: list[Shard], tell: Tell) -> None:
        self.name, self.tell = name, tell
        self.total = max(1, sum(map(_size_of, shards)))
        self.done = self.rows = self.bytes = 0

    def fetched(self, have_bytes: int, _size: int) -> None:
        self.tell(f"fetching {self.name}, {(self.done + have_bytes) / 1e6:,.0f} of {self.total / 1e6:,.0f} MB:",
                  min(0.99, (self.done + have_bytes / 2) / self.total))  # fmt: skip

    def row(self, line: bytes) -> bytes:
        self.rows += 1
        self.bytes += len(line)
        if self.rows % 10_000 == 0:
            self._tell_rows()
        return line

    def shard_is_done(self, shard: Any) -> None:
        self.done += _size_of(shard)
        self._tell_rows()

    def _tell_rows(self) -> None:
        share = self.done / self.total
        self.tell(f"reading {self.name}, {self.rows:,} rows, {self.bytes / 1e6:,.0f} MB of text:", share)


def _size_of(shard: Shard) -> int:
    return shard.size_bytes if isinstance(shard, Remote) else shard.stat().st_size
