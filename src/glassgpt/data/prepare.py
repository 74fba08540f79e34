"""Text becomes token files, once: train.bin and val.bin, plain little-endian ids, memory-mapped ever after.

They lie in the cache in a folder keyed by everything that made them; it is made aside and gets its name when it is
whole. Memory does not grow with the text. What text it is comes from `sources`; `batches` cuts the ids into windows.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from pydantic import BaseModel

from glassgpt.config import DataConfig
from glassgpt.data.sources import Source, find_source
from glassgpt.errors import DataError, TokenizerError
from glassgpt.files import cache_root, put_in_place, write_atomically, write_text
from glassgpt.text.base import Ids, Tokenizer, id_dtype
from glassgpt.text.chars import CharTokenizer
from glassgpt.text.store import load_tokenizer, save_tokenizer

FORMAT = 1  # of the folder; a new number leaves all old ones behind
TOKENIZER_FILE, META_FILE = "tokenizer.json", "meta.json"

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


def prepare(
    config: DataConfig, *, min_tokens: int = 2, cache: Path | None = None, progress: Progress | None = None
) -> Prepared:
    """The token files of a text: found in the cache, or made.

    `min_tokens` is what one window needs, seq_len + 1; less than that in either part is an error.
    """
    cache, tell = cache or cache_root(), progress or (lambda _what, _share: None)
    source = find_source(
        config.data,
        val_fraction=config.val_fraction,
        cache=cache,
        progress=lambda done, size: tell("downloading", done / size),
    )
    try:
        prepared = _find_or_make(config, source, cache / "prepared", tell)
        _refuse_too_short(prepared, min_tokens)
        if (path := _tokenizer_path(config)) and not path.exists():
            save_tokenizer(prepared.tokenizer, path)
    except OSError as problem:
        raise DataError(
            f'cannot prepare the text in "{problem.filename or cache}": {problem.strerror or problem}; '
            f"GLASSGPT_CACHE chooses another folder"
        ) from None
    return prepared


def _find_or_make(config: DataConfig, source: Source, shelf: Path, tell: Progress) -> Prepared:
    given = _given_tokenizer(config)
    folder = shelf / f"{source.name}-{_key(config, source, given)}"
    shelf.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(folder.name + ".lock")):  # who comes second waits, and finds it made
        prepared = _open(folder, config, source)
        if prepared is None:
            _make(folder, config, source, given, tell)
            prepared = _open(folder, config, source)
    assert prepared is not None, f"{folder} was just made"
    return prepared


def _given_tokenizer(config: DataConfig) -> Tokenizer | None:
    """The tokenizer of an existing file; None when one is to be trained."""
    path = _tokenizer_path(config)
    if path is None:
        return None
    if path.exists():
        return load_tokenizer(path, unknown=config.unknown)
    if path.suffix != ".json":
        raise TokenizerError(f'tokenizer "{path}" is neither auto, char nor a file; a new one is named like my.json')
    return None


def _tokenizer_path(config: DataConfig) -> Path | None:
    return None if config.tokenizer in {"auto", "char"} else Path(config.tokenizer).expanduser()


def _key(config: DataConfig, source: Source, given: Tokenizer | None) -> str:
    tokenizer = f"{given.digest} {config.unknown}" if given else CharTokenizer.kind
    return hashlib.sha256(f"{FORMAT}\n{source.fingerprint}\n{tokenizer}".encode()).hexdigest()[:16]


def _open(folder: Path, config: DataConfig, source: Source) -> Prepared | None:
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


def _map(path: Path, split: Split, dtype: str) -> Ids:
    if path.stat().st_size != split.tokens * np.dtype(dtype).itemsize:
        raise ValueError(f"{path} is not whole")
    if split.tokens == 0:  # an empty file cannot be mapped
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")


def _make(folder: Path, config: DataConfig, source: Source, given: Tokenizer | None, tell: Progress) -> None:
    for leftover in [folder, *folder.parent.glob(f".{folder.name}.*")]:  # damaged, or of a process that died
        shutil.rmtree(leftover, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    before = source.fingerprint
    try:
        _write(scratch, config, source, given or _trained(source, tell), tell)
        if source.fingerprint != before:
            raise DataError(f"the text {', '.join(config.data)} changed while it was read; try again")
        put_in_place(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _trained(source: Source, tell: Progress) -> Tokenizer:
    """The characters of the whole text: a held-out character that training never saw is rare, but no mistake."""
    return CharTokenizer.train(_watched(source.chunks(), "reading", source.size_bytes, tell))


def _write(scratch: Path, config: DataConfig, source: Source, tokenizer: Tokenizer, tell: Progress) -> None:
    train_bytes = source.size_bytes * (1 - source.val_fraction)
    train_chunks = _watched(source.train_chunks(), "encoding", train_bytes, tell)
    meta = Meta(
        format=FORMAT,
        source=source.name,
        data=config.data,
        val_fraction=source.val_fraction,
        tokenizer=tokenizer.digest,
        vocab_size=tokenizer.vocab_size,
        dtype=id_dtype(tokenizer.vocab_size).str,
        train=_write_split(scratch / "train.bin", train_chunks, tokenizer),
        val=_write_split(scratch / "val.bin", source.val_chunks(), tokenizer),
    )
    save_tokenizer(tokenizer, scratch / TOKENIZER_FILE)
    write_text(scratch / META_FILE, meta.model_dump_json(indent=1) + "\n")


def _write_split(path: Path, chunks: Iterable[str], tokenizer: Tokenizer) -> Split:
    digest = hashlib.sha256()
    tokens = characters = size_bytes = 0

    def encoded() -> Iterator[memoryview]:
        nonlocal tokens, characters, size_bytes
        for chunk in chunks:
            ids = tokenizer.encode_array(chunk)
            tokens += len(ids)
            characters += len(chunk)
            size_bytes += len(chunk) if chunk.isascii() else len(chunk.encode("utf-8"))
            digest.update(ids.data)
            yield ids.data

    write_atomically(path, encoded())
    return Split(tokens=tokens, characters=characters, bytes=size_bytes, sha256=digest.hexdigest())


def _watched(chunks: Iterable[str], what: str, size: float, tell: Progress) -> Iterator[str]:
    """The chunks, with the progress told now and then; characters stand in for bytes, so it is an estimate."""
    done = told = 0
    for chunk in chunks:
        yield chunk
        done += len(chunk)
        if done - told >= size / 100:
            tell(what, min(1.0, done / size))
            told = done
    tell(what, 1.0)


def _refuse_too_short(prepared: Prepared, min_tokens: int) -> None:
    have = {"training": len(prepared.train_ids), "held-out": len(prepared.val_ids)}
    part = min(have, key=lambda part: have[part])
    if have[part] >= min_tokens:
        return
    ways = [f"--seq-len {have[part] - 1} or less"] if have[part] > 1 else []
    if sum(have.values()) >= 2 * min_tokens:  # another cut leaves enough on both sides
        ways.append(f"a {'larger' if part == 'held-out' else 'smaller'} --val-fraction")
    raise DataError(
        f"the text {prepared.source.name} is too short: its {part} part has {have[part]} tokens, and one window "
        f"needs {min_tokens}; choose {', or '.join([*ways, 'more text'])}"
    )
