"""Where text comes from: files, folders, globs, and the few texts that have a name.

Several together are one text: first the files in the order given, each ended by a line end, then the tales. The last
part of the files and separate tales are held out. `reading` reads one file; `prepare` makes ids of all.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import math
import os
import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from glassgpt.data import tales
from glassgpt.data.download import Progress, Remote, fetch
from glassgpt.data.reading import checked, read_text, text_files_in, text_files_matching
from glassgpt.errors import DataError, did_you_mean
from glassgpt.files import cache_root, sha256_of

TALES_SEED = 1
TALES_BYTES = 4_000_000
HELD_OUT_TALE = 1 << 32  # index of the first held-out story: no training text reaches that far
UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}

NO_SOURCES = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}  # of the library's folder

MIRROR = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/"
SHAKESPEARE_PATH = "tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_BYTES = 1_115_394


class Named(NamedTuple):
    name: str
    what: str
    size: str


@dataclass(frozen=True)
class Source:
    """A text, to be read in pieces: whole, or the part for training and the part held out."""

    name: str  # short, fit for a folder
    files: tuple[Path, ...]
    tales_bytes: int = 0
    val_fraction: float = 0.1

    @property
    def fingerprint(self) -> str:
        """Changes whenever the text may have changed; made anew at each look."""
        lines = [f"held out {self.val_fraction!r}"]
        for path in self.files:
            state = path.stat()
            lines.append(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}")
        if self.tales_bytes:
            lines.append(f"tales {self.tales_bytes} {_digest_of_the_world()}")
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def size_bytes(self) -> int:
        return self.tales_bytes + sum(path.stat().st_size for path in self.files)

    def chunks(self) -> Iterator[str]:
        """The whole text, both parts."""
        return chain(self._plain(), *self._tales())

    def train_chunks(self) -> Iterator[str]:
        return chain(_first(self._plain(), self._border), self._tales()[0])

    def val_chunks(self) -> Iterator[str]:
        return chain(_after(self._plain(), self._border), self._tales()[1])

    def _plain(self) -> Iterator[str]:
        """The files as one text."""
        for path in self.files:
            chunk = ""
            for chunk in read_text(path):
                yield chunk
            if path is not self.files[-1] and chunk and not chunk.endswith("\n"):
                yield "\n"  # else its last word would grow together with the next file's first

    def _tales(self) -> tuple[Iterator[str], Iterator[str]]:
        """Stories to train on, and other stories of the same world; none is cut."""
        train_bytes = math.floor((1 - self.val_fraction) * self.tales_bytes)
        held_out_bytes = self.tales_bytes - train_bytes
        return (
            tales.corpus(TALES_SEED, train_bytes),
            tales.corpus(TALES_SEED, held_out_bytes, start=HELD_OUT_TALE),
        )

    @cached_property
    def _border(self) -> int:
        """The character at which the held-out part of the files begins."""
        return math.floor((1 - self.val_fraction) * sum(map(len, self._plain())))


def find_source(
    specs: Sequence[str], *, val_fraction: float = 0.1, cache: Path | None = None, progress: Progress | None = None
) -> Source:
    """The text that `--data` names; mistakes that can be seen without reading it all are told here."""
    parts = [_one(spec, cache or cache_root(), progress) for spec in specs]
    if not parts:
        raise DataError("no data was named; --data takes files, folders, globs, or a name from `glassgpt data list`")
    more = f"+{len(parts) - 1}" if len(parts) > 1 else ""
    return Source(
        name=_fit_for_a_folder(parts[0].name) + more,
        files=tuple(path for part in parts for path in part.files),
        tales_bytes=sum(part.tales_bytes for part in parts),
        val_fraction=val_fraction,
    )


def list_named() -> list[Named]:
    """The texts that have a name, for `glassgpt data list`."""
    return [
        Named("tales", "stories of the built-in world, as many as you like (tales:10MB)", f"{TALES_BYTES // 10**6} MB"),
        Named("python", "the sources of Python's standard library on this machine", "about 15 MB"),
        Named("tinyshakespeare", "plays of Shakespeare in one file, downloaded once", "1.1 MB"),
    ]


def _one(spec: str, cache_folder: Path, progress: Progress | None) -> Source:
    """A name first, then a path, then a glob; `./tales` is the file of that name."""
    name, _, size = spec.partition(":")
    if name == "tales":
        return Source("tales", (), _size_bytes(spec, size) if size else TALES_BYTES)
    if spec == "python":
        return Source("python", _standard_library())
    if spec == "tinyshakespeare":
        return Source("tinyshakespeare", (_tinyshakespeare(cache_folder, progress),))
    path = Path(spec).expanduser()
    if path.is_dir():
        return Source(path.resolve().name, text_files_in(path))
    if path.exists():
        return Source(path.stem, (checked(path),))
    if glob.has_magic(spec):
        return Source(path.parent.name if not glob.has_magic(path.parent.name) else "", text_files_matching(path))
    raise _not_found(spec, path)


def _standard_library() -> tuple[Path, ...]:
    return text_files_in(Path(sysconfig.get_path("stdlib")), without=NO_SOURCES, endings=(".py",))


def _tinyshakespeare(cache_folder: Path, progress: Progress | None) -> Path:
    base = os.environ.get("GLASSGPT_MIRROR") or MIRROR
    remote = Remote(f"{base.rstrip('/')}/{SHAKESPEARE_PATH}", SHAKESPEARE_SHA256, SHAKESPEARE_BYTES)
    return fetch(remote, cache_folder / "downloads" / "tinyshakespeare.txt", progress=progress)


def _size_bytes(spec: str, size: str) -> int:
    """`_size_bytes("tales:1.5MB", "1.5MB") == 1_500_000`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMG]?B)?", size.strip().upper())
    size_bytes = int(float(match[1]) * UNITS[match[2] or ""]) if match else 0
    if size_bytes < 1:
        raise DataError(f'"{spec}": {size!r} is no size; write it like tales:10MB')
    return size_bytes


def _not_found(spec: str, path: Path) -> DataError:
    names = [named.name for named in list_named()]
    with contextlib.suppress(OSError):
        names += [str(beside) for beside in path.parent.iterdir()]
    return DataError(
        f'no file, folder or named text "{spec}"{did_you_mean(spec, names)} (`glassgpt data list` shows the names)'
    )


def _fit_for_a_folder(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "text"


@cache
def _digest_of_the_world() -> str:
    """The stories change with the code that tells them."""
    digest = hashlib.sha256()
    for module in sorted(Path(tales.__file__).parent.glob("*.py")):
        digest.update(sha256_of(module).encode())
    return digest.hexdigest()


def _first(chunks: Iterable[str], characters: int) -> Iterator[str]:
    for chunk in chunks:
        if characters <= 0:
            return
        yield chunk[:characters]
        characters -= len(chunk)


def _after(chunks: Iterable[str], characters: int) -> Iterator[str]:
    for chunk in chunks:
        if characters < len(chunk):
            yield chunk[characters:]
        characters = max(0, characters - len(chunk))
