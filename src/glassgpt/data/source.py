"""A text in pieces: whole, the part to train on, the part held out; made of files, of tales, or of both.

Several files are one text, each ended by a line end. An empty piece says that a document ends here. The last part of
the files is held out, or files of their own are; and other tales. `sources` finds the text that a name means.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from pathlib import Path

from glassgpt.data import tales
from glassgpt.data.reading import read_documents, read_text
from glassgpt.files import sha256_of

TALES_SEED = 1
HELD_OUT_TALE = 1 << 32  # index of the first held-out story: no training text reaches that far


@dataclass(frozen=True)
class Source:
    """A text, to be read in pieces."""

    name: str  # short, fit for a folder
    files: tuple[Path, ...]
    tales_bytes: int = 0
    val_fraction: float = 0.1
    val_files: tuple[Path, ...] = ()  # held out instead of a fraction of `files`
    framed: frozenset[Path] = frozenset()  # those of the files that say themselves where a document ends
    specs: tuple[str, ...] = ()  # what a user would write to get exactly this
    note: str = ""  # what a person should hear about how the text was found

    @property
    def fingerprint(self) -> str:
        """Changes whenever the text may have changed; made anew at each look."""
        lines = [f"held out {self.val_fraction!r}"]
        for path in (*self.files, *self.val_files):
            state = path.stat()
            kind = "apart " * (path in self.val_files) + "framed " * (path in self.framed)
            lines.append(f"{kind}{path.resolve()} {state.st_size} {state.st_mtime_ns}")
        if self.tales_bytes:
            lines.append(f"tales {self.tales_bytes} {_digest_of_the_world()}")
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def size_bytes(self) -> int:
        return self.tales_bytes + sum(path.stat().st_size for path in (*self.files, *self.val_files))

    @property
    def train_bytes(self) -> int:
        """About how much of it is for training."""
        if not self.val_files:
            return round(self.size_bytes * (1 - self.val_fraction))
        return self.size_bytes - sum(path.stat().st_size for path in self.val_files)

    def chunks(self) -> Iterator[str]:
        """The whole text, both parts."""
        return _joined(self._files(self.files), self._files(self.val_files), *self._tales())

    def train_chunks(self) -> Iterator[str]:
        files = self._files(self.files)
        return _joined(files if self.val_files else _first(files, self._border), self._tales()[0])

    def val_chunks(self) -> Iterator[str]:
        return self.held_out()[0]

    def held_out(self) -> tuple[Iterator[str], bool]:
        """The part never trained on, and whether it begins with a document: the cut may fall inside one."""
        told = self._tales()[1]
        if self.val_files or not self.files:
            return _joined(self._files(self.val_files), told), True
        files, whole = _after(self._files(self.files), self._border)
        return _joined(files, told), whole

    def _files(self, paths: tuple[Path, ...]) -> Iterator[str]:
        """The files as one text."""
        for path in paths:
            if path in self.framed:
                yield from read_documents(path)
                continue
            chunk = ""
            for chunk in read_text(path):
                yield chunk
            if path is not paths[-1] and chunk and not chunk.endswith("\n"):
                yield "\n"  # else its last word would grow together with the next file's first
            if chunk:
                yield ""

    def _tales(self) -> tuple[Iterator[str], Iterator[str]]:
        """Stories to train on, and other stories of the same world; none is cut."""
        train_bytes = math.floor((1 - self.val_fraction) * self.tales_bytes)
        return _told(train_bytes, 0), _told(self.tales_bytes - train_bytes, HELD_OUT_TALE)

    @cached_property
    def _border(self) -> int:
        """The character at which the held-out part of the files begins."""
        return math.floor((1 - self.val_fraction) * sum(map(len, self._files(self.files))))


def _told(size_bytes: int, start: int) -> Iterator[str]:
    if size_bytes:
        yield from tales.corpus(TALES_SEED, size_bytes, start=start)
        yield ""


def _joined(*texts: Iterable[str]) -> Iterator[str]:
    """One text after another; a document that was cut ends where the next text begins."""
    cut = False
    for text in texts:
        for place, chunk in enumerate(text):
            if cut and place == 0:
                yield ""
            yield chunk
            cut = bool(chunk)


def _first(chunks: Iterator[str], characters: int) -> Iterator[str]:
    for chunk in chunks:
        if characters <= 0:
            if characters == 0 and not chunk:
                yield ""  # the cut falls where a document ends anyway
            return
        yield chunk[:characters]
        characters -= len(chunk)


def _after(chunks: Iterator[str], characters: int) -> tuple[Iterator[str], bool]:
    """What follows so many characters, and whether a document begins there."""
    begins = True
    for chunk in chunks:
        if characters < len(chunk):
            return chain([chunk[characters:]], chunks), begins and not characters
        begins = not chunk
        characters -= len(chunk)
    return iter(()), True


@cache
def _digest_of_the_world() -> str:
    """The stories change with the code that tells them."""
    digest = hashlib.sha256()
    for module in sorted(Path(tales.__file__).parent.glob("*.py")):
        digest.update(sha256_of(module).encode())
    return digest.hexdigest()
