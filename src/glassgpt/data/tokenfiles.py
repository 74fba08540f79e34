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

import numpy as np
from pydantic import BaseModel

from glassgpt.config import DataConfig
from glassgpt.data.source import Source
from glassgpt.errors import TokenizerError
from glassgpt.files import write_atomically, write_text
from glassgpt.text.base import Ids, Part, Tokenizer, id_dtype
from glassgpt.text.store import load_tokenizer, save_tokenizer

FORMAT = 1  # of the folder; a new number leaves all old ones behind
TOKENIZER_FILE, META_FILE = "tokenizer.json", "meta.json"
MOST_CORES = 16  # reading and writing stay on one, which could feed some more with BPE and fewer with characters

Progress = Callable[[str, float], None]  # what is being done, and how far it is (0 to 1)


class Split(BaseModel, frozen=True):
    """One of the two parts."""

    tokens: int
    characters: int
    bytes: int  # of UTF-8
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
    """What lies in the folder; None when it is missing or not whole."""
    try:
        meta = Meta.model_validate_json((folder / META_FILE).read_bytes())
        train_ids = _map(folder / "train.bin", meta.train, meta.dtype)
        val_ids = _map(folder / "val.bin", meta.val, meta.dtype)
        if load_tokenizer(folder / TOKENIZER_FILE).digest != meta.tokenizer:
            return None
    except (OSError, ValueError, TypeError, TokenizerError):  # a ValidationError is a ValueError
        return None
    tokenizer = load_tokenizer(folder / TOKENIZER_FILE, unknown=config.unknown)
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
    write_text(folder / META_FILE, meta.model_dump_json(indent=1) + "\n")


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


def _map(path: Path, split: Split, dtype: str) -> Ids:
    if path.stat().st_size != split.tokens * np.dtype(dtype).itemsize:
        raise ValueError(f"{path} is not whole")
    if split.tokens == 0:  # an empty file cannot be mapped
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")


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
