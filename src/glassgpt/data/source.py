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
        return _joined(self._counted(), self._files(self.val_files), *self._tales())

    def train_chunks(self) -> Iterator[str]:
        return next(self.parts())[0]

    def val_chunks(self) -> Iterator[str]:
        return self.held_out()[0]

    def held_out(self) -> tuple[Iterator[str], bool]:
        """The part never trained on, and whether it begins with a document: the cut may fall inside one."""
        _, held_out = self.parts()
        return held_out

    def parts(self) -> Iterator[tuple[Iterator[str], bool]]:
        """The part to train on and the part held out, and whether a document begins there.

        The files are read once for both: the second part goes on where the first has been read to.
        """
        told, told_apart = self._tales()
        if self.val_files or not self.files:
            yield _joined(self._files(self.files), told), True
            yield _joined(self._files(self.val_files), told_apart), True
        else:
            cut = _Cut(self._files(self.files), self._border)
            yield _joined(cut.first, told), True
            yield _joined(cut.rest(), told_apart), cut.falls_between_documents

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
        for _ in () if "_characters" in vars(self) else self._counted():
            pass
        characters: int = vars(self)["_characters"]
        return math.floor((1 - self.val_fraction) * characters)

    def _counted(self) -> Iterator[str]:
        """The files; whoever reads them to the end has counted them, and they need not be read for that again."""
        characters = 0
        for chunk in self._files(self.files):
            characters += len(chunk)
            yield chunk
        vars(self)["_characters"] = characters


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


class _Cut:
    """Chunks cut in two after so many characters."""

    def __init__(self, chunks: Iterator[str], characters: int) -> None:
        self._chunks = chunks
        self._over = ""  # of the chunk in which the cut falls
        self.falls_between_documents = True  # known when the first part has been read
        self.first = self._until(characters)

    def rest(self) -> Iterator[str]:
        for _ in self.first:  # what nobody has asked for
            pass
        return chain([self._over] if self._over else [], self._chunks)

    def _until(self, characters: int) -> Iterator[str]:
        for chunk in self._chunks:
            if characters < len(chunk):
                self._over = chunk[characters:]
                if characters:
                    self.falls_between_documents = False
                    yield chunk[:characters]
                return
            yield chunk
            characters -= len(chunk)
            self.falls_between_documents = not chunk


@cache
def _digest_of_the_world() -> str:
    """The stories change with the code that tells them."""
    digest = hashlib.sha256()
    for module in sorted(Path(tales.__file__).parent.glob("*.py")):
        digest.update(sha256_of(module).encode())
    return digest.hexdigest()
