"""Finds the files of a text and reads them in pieces; says clearly why when a file is no text.

Text is UTF-8. A byte order mark is dropped, and all line ends become plain newlines, so that a book is the same book
wherever it was saved. Files of our own cache may mark where documents end. How several files become one text is
decided in `source`.
"""

from __future__ import annotations

import codecs
import fnmatch
import glob
import io
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from glassgpt.errors import DataError

BLOCK_BYTES = 1 << 18  # its code points and ids stay in the processor's cache: a third faster than a megabyte
HEAD_BYTES = 4096
DOCUMENT_END = b"\xff"  # a byte that no UTF-8 contains: it cannot be part of a text

# What a folder is searched for. A file with another ending is read when it is named, or when a glob finds it.
TEXT_ENDINGS = frozenset(
    f".{ending}"
    for group in (
        ("txt", "text", "md", "markdown", "rst", "org", "tex", "adoc", "srt", "log", "html", "css"),
        ("csv", "tsv", "json", "jsonl", "yaml", "yml", "toml", "xml", "sql"),
        ("py", "pyi", "js", "ts", "jsx", "tsx", "java", "kt", "c", "h", "cc", "cpp", "hpp", "cs", "go", "rs", "rb"),
        ("php", "swift", "scala", "hs", "ml", "lua", "r", "jl", "sh"),
    )
    for ending in group
)

MAGIC = {  # what other files begin with, and the way from there to text
    rb"\x1f\x8b": "compressed with gzip; unpack it with gunzip",
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": "compressed with bzip2; unpack it with bunzip2",
    rb"\xfd7zXZ": "compressed with xz; unpack it with unxz",
    rb"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it with unzstd",
    rb"PK\x03\x04": "a zip archive (so are .docx, .odt, .epub and the .pt of PyTorch); take the plain text out of it",
    rb"%PDF-[0-9]": "a PDF; take the plain text out of it, for example with pdftotext",
    rb"\xff\xfe\x00\x00|\x00\x00\xfe\xff": "UTF-32; save it as UTF-8, for example with iconv -f UTF-32 -t UTF-8",
    rb"\xff\xfe|\xfe\xff": "UTF-16; save it as UTF-8, for example with iconv -f UTF-16 -t UTF-8",
}


def checked(path: Path) -> Path:
    """A file that a user named, unless there is nothing in it to read."""
    if not path.is_file():
        raise DataError(f'"{path}" is no file that can be read twice, as it must be; save its text as a file first')
    if not _has_content(path):
        raise DataError(f'"{path}" is empty; there is nothing to learn from it')
    return path


def text_files_in(
    folder: Path, *, without: Collection[str] = (), endings: Collection[str] = TEXT_ENDINGS
) -> tuple[Path, ...]:
    """The text files in a folder and its subfolders, in the same order on every machine; hidden ones are left out."""
    found, others = [], 0
    for path in _visible_files(folder, without):
        if path.suffix.lower() in endings and _has_content(path) and _looks_like_text(path):
            found.append(path)
        else:
            others += 1
    if not found:
        raise DataError(
            f'no text in the folder "{folder}": none of its {others} files is a text with a known ending '
            f"(.txt, .md, .py and the like); name the files, or use a glob such as '{folder}/*'"
        )
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).parts))


def text_files_matching(pattern: Path) -> tuple[Path, ...]:
    """What a glob finds, whatever its ending; `**` means subfolders."""
    files = [path for path in _matching(pattern) if _has_content(path)]
    if not files:
        raise DataError(f'no file with text in it matches "{pattern}"')
    return tuple(sorted(files, key=lambda path: path.parts))


def read_text(path: Path) -> Iterator[str]:
    """The text of a file in pieces of some hundred kilobytes, none of them empty."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
    offset, begun = 0, False
    for block in _blocks(path):
        if offset == 0:
            _refuse_other_formats(path, block)
        _refuse_zero_bytes(path, block, offset)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as problem:
            waiting = len(problem.object) - len(block)  # the beginning of a character, from the block before
            raise _not_utf8(path, problem, offset - waiting) from None
        offset += len(block)
        if text and not begun:
            begun, text = True, text.removeprefix("\ufeff")
        if text:
            yield text


def read_documents(path: Path) -> Iterator[str]:
    """The text of a file of our own in pieces; an empty one wherever a document ends."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in _blocks(path):
            *whole, rest = block.split(DOCUMENT_END)
            for part in whole:
                if text := decoder.decode(part, final=True):
                    yield text
                yield ""
            if text := decoder.decode(rest, final=not block):
                yield text
    except UnicodeDecodeError:
        raise DataError(f'"{path}" is damaged; remove it, and it is made again') from None


def _visible_files(folder: Path, without: Collection[str]) -> Iterator[Path]:
    def fail(problem: OSError) -> None:
        raise _unreadable(Path(problem.filename or folder), problem)

    for place, subfolders, names in os.walk(folder, onerror=fail):
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name not in without]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _matching(pattern: Path) -> Iterator[Path]:
    """What `glob` finds; but `**` follows no links to folders, as these may lead in circles."""
    if "**" not in pattern.parts:
        yield from map(Path, glob.glob(str(pattern)))  # noqa: PTH207 - it may be absolute
        return
    place = pattern.parts.index("**")
    below = pattern.parts[place:]
    hidden_too = any(part.startswith(".") for part in below)
    for top in glob.glob(str(Path(*pattern.parts[:place]))):  # noqa: PTH207
        for folder, subfolders, names in os.walk(top):
            subfolders[:] = [name for name in subfolders if hidden_too or not name.startswith(".")]
            inside = Path(folder).relative_to(top).parts
            yield from (Path(folder, name) for name in names if _matches((*inside, name), below))


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """`_matches(("a", "b", "c.txt"), ("**", "*.txt"))`; hidden names only where a dot is written."""
    if not pattern:
        return not parts
    if pattern[0] == "**" and _matches(parts, pattern[1:]):
        return True
    if not parts or (parts[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    if pattern[0] == "**":
        return _matches(parts[1:], pattern)
    return fnmatch.fnmatch(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _has_content(path: Path) -> bool:
    """Whether it is a file with more in it than a byte order mark; pipes, devices and broken links are none."""
    try:
        if not path.is_file() or path.stat().st_size > len(codecs.BOM_UTF8):
            return path.is_file()
        return path.read_bytes() not in {b"", codecs.BOM_UTF8}
    except OSError as problem:
        raise _unreadable(path, problem) from None


def _looks_like_text(path: Path) -> bool:
    """Whether the first bytes are no other format's; the rest is seen when it is read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        _refuse_other_formats(path, head)
        _refuse_zero_bytes(path, head, 0)
    except (OSError, DataError):
        return False
    return True


def _unreadable(path: Path, problem: OSError) -> DataError:
    return DataError(f'cannot read "{path}": {problem.strerror or problem}')


def _blocks(path: Path) -> Iterator[bytes]:
    """The bytes of the file, and an empty block as its end."""
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(BLOCK_BYTES):
                yield block
    except OSError as problem:
        raise _unreadable(path, problem) from None
    yield b""


def _refuse_other_formats(path: Path, block: bytes) -> None:
    for magic, what in MAGIC.items():
        if re.match(magic, block):
            raise DataError(f'"{path}" is {what}')


def _refuse_zero_bytes(path: Path, block: bytes, offset: int) -> None:
    if (place := block.find(b"\0")) >= 0:
        raise DataError(
            f'"{path}" is no text: a zero byte at offset {offset + place:,} (a binary file, UTF-16 to be saved as '
            f"UTF-8, or a damaged text: tr -d '\\000' takes zero bytes out of one)"
        )


def _not_utf8(path: Path, problem: UnicodeDecodeError, start: int) -> DataError:
    place = start + problem.start
    wrong = problem.object[problem.start]
    return DataError(
        f'"{path}" is not UTF-8: byte 0x{wrong:02x} at offset {place:,} begins no character; '
        f"save it as UTF-8, for example with iconv -f latin1 -t UTF-8"
    )
