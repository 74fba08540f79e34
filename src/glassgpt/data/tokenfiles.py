"""Token files: train.bin and val.bin, plain little-endian ids, and beside them what made them.

Written in pieces, so that memory does not grow with the text; memory-mapped ever after. When they are made, and when
they are only opened, is decided in `prepare`.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field

from glassgpt.config import DataConfig
from glassgpt.data.source import Source
from glassgpt.errors import DataError, TokenizerError
from glassgpt.files import BLOCK_BYTES, write_atomically, write_text
from glassgpt.jsonfile import open_ordinary, read_limited
from glassgpt.text.base import Ids, Part, Tokenizer, id_dtype
from glassgpt.text.store import load_tokenizer, save_tokenizer

FORMAT = 1  # of the folder; a new number leaves all old ones behind
TOKENIZER_FILE, META_FILE = "tokenizer.json", "meta.json"
MOST_META = 1 << 20  # bytes
MOST_CORES = 16  # reading and writing stay on one, which could feed some more with BPE and fewer with characters

Progress = Callable[[str, float], None]  # what is being done, and how far it is (0 to 1)


Count = Annotated[int, Field(ge=0, lt=1 << 53)]


class Split(BaseModel, frozen=True):
    """One of the two parts."""

    tokens: Count
    characters: Count
    bytes: Count  # of UTF-8
    sha256: str  # of the token file


class Meta(BaseModel, frozen=True):
    """What lies in a folder of token files, and what made it."""

    format: int
    source: str
    data: tuple[str, ...]
    val_fraction: float
    tokenizer: str  # its digest
    vocab_size: int
    dtype: str
    train: Split
    val: Split


@dataclass(frozen=True)
class Prepared:
    """A text as ids, ready for training."""

    folder: Path
    source: Source
    tokenizer: Tokenizer
    train_ids: Ids
    val_ids: Ids
    meta: Meta


def open_folder(folder: Path, config: DataConfig, source: Source) -> Prepared | None:
    """What lies in the folder; None when it is missing or not whole, so that it is made again."""
    try:
        return read_folder(folder, config, source)
    except (DataError, TokenizerError):
        return None


def read_folder(folder: Path, config: DataConfig, source: Source) -> Prepared:
    """What lies in the folder, every byte of it as it was written; an error names the file that is not whole."""
    meta = _read_meta(folder / META_FILE)
    tokenizer = load_tokenizer(folder / TOKENIZER_FILE, unknown=config.unknown)
    if tokenizer.digest != meta.tokenizer:
        raise DataError(f"{folder / TOKENIZER_FILE} is damaged: it is not the tokenizer that {META_FILE} names")
    dtype = id_dtype(tokenizer.vocab_size)
    if (meta.vocab_size, meta.dtype) != (tokenizer.vocab_size, dtype.str):
        raise DataError(f"{folder / META_FILE} is damaged: its tokens are not those of the tokenizer")
    train_ids = _map(folder / "train.bin", meta.train, dtype, meta.vocab_size)
    val_ids = _map(folder / "val.bin", meta.val, dtype, meta.vocab_size)
    return Prepared(folder, source, tokenizer, train_ids, val_ids, meta)


def write_folder(folder: Path, source: Source, tokenizer: Tokenizer, tell: Progress) -> None:
    """Both parts of the text as ids, with the tokenizer and what there is to say about them."""
    parts = source.parts()
    train_chunks = watched(next(parts)[0], "encoding", source.train_bytes, tell)
    train = _write_split(folder / "train.bin", train_chunks, tokenizer, starts_document=True)
    val_chunks, starts_document = next(parts)
    meta = Meta(
        format=FORMAT,
        source=source.name,
        data=source.specs,
        val_fraction=source.val_fraction,
        tokenizer=tokenizer.digest,
        vocab_size=tokenizer.vocab_size,
        dtype=id_dtype(tokenizer.vocab_size).str,
        train=train,
        val=_write_split(folder / "val.bin", val_chunks, tokenizer, starts_document=starts_document),
    )
    save_tokenizer(tokenizer, folder / TOKENIZER_FILE)
    write_text(folder / META_FILE, _text_of(meta))


def watched(chunks: Iterable[str], what: str, size: float, tell: Progress) -> Iterator[str]:
    """The chunks, with the progress told now and then; characters stand in for bytes, so it is an estimate."""
    done = told = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if done - told >= size / 100:
            tell(what, min(1.0, done / size))
            told = done
    tell(what, 1.0)


def _text_of(meta: Meta) -> str:
    """meta.json: what it says, and the digest of that."""
    content = meta.model_dump_json(indent=1)
    digest = hashlib.sha256(content.encode("utf-8")).hexdigest()
    return f'{content.removesuffix("}").rstrip()},\n "digest": "{digest}"\n}}\n'


def _read_meta(path: Path) -> Meta:
    try:
        content = read_limited(path, MOST_META)
        meta = Meta.model_validate_json(content)
        whole = meta.format == FORMAT and _text_of(meta).encode("utf-8") == content
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None
    except ValueError:  # a ValidationError is one
        whole = False
    if not whole:
        raise DataError(f"{path} is damaged: it does not match its digest")
    return meta


def _map(path: Path, split: Split, dtype: np.dtype[Any], vocab_size: int) -> Ids:
    """The ids where they lie, after one look at all of them."""
    digest, largest = hashlib.sha256(), -1
    try:
        with open_ordinary(path) as file:
            have, wanted = path.stat().st_size, split.tokens * dtype.itemsize
            if have != wanted:
                raise DataError(f"{path} is damaged: it has {have:,} bytes instead of {wanted:,}")
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
                largest = max(largest, int(np.frombuffer(block, dtype=dtype).max()))
        if digest.hexdigest() != split.sha256:
            raise DataError(f"{path} is damaged: its content does not match its digest {split.sha256[:12]}...")
        if largest >= vocab_size:
            raise DataError(f"{path} is damaged: it holds token {largest}, and its tokenizer has {vocab_size}")
        if split.tokens == 0:  # an empty file cannot be mapped
            return np.empty(0, dtype=dtype)
        return np.memmap(path, dtype=dtype, mode="r")
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror}") from None


def _write_split(path: Path, chunks: Iterable[str], tokenizer: Tokenizer, *, starts_document: bool) -> Split:
    digest = hashlib.sha256()
    dtype = id_dtype(tokenizer.vocab_size)
    tokens = characters = size_bytes = 0

    def counted() -> Iterator[str]:
        nonlocal characters, size_bytes
        for chunk in chunks:
            characters += len(chunk)
            size_bytes += len(chunk) if chunk.isascii() else len(chunk.encode("utf-8", "surrogatepass"))
            yield chunk

    def encoded() -> Iterator[memoryview]:
        nonlocal tokens
        for some in tokenizer.encode_chunks(counted(), starts_document=starts_document, apply=_on_all_cores):
            ids = np.ascontiguousarray(some, dtype=dtype)
            tokens += len(ids)
            digest.update(ids.data)
            yield ids.data

    write_atomically(path, encoded())
    return Split(tokens=tokens, characters=characters, bytes=size_bytes, sha256=digest.hexdigest())


def _on_all_cores(encode: Callable[[Part], Ids], parts: Iterable[Part]) -> Iterator[Ids]:
    """`map(encode, parts)`, in order, with only a few parts in memory.

    Threads suffice: what takes the time, in numpy and in tiktoken, lets the others run meanwhile.
    """
    cores = available_cores()
    if cores == 1:
        yield from map(encode, parts)
        return
    with ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[Ids]] = deque()
        for part in parts:
            waiting.append(pool.submit(encode, part))
            if len(waiting) > 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def available_cores() -> int:
    """Those that this process may use, and no more than it can feed."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MOST_CORES)
