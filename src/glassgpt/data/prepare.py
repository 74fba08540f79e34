"""Text becomes token files, once: found in the cache, in a folder keyed by everything that made them, or made there.

A folder is made aside and gets its name when it is whole. Here is decided which tokenizer reads the text: a given one,
or one that is learned from it. The files themselves are in `tokenfiles`; `batches` cuts the ids into windows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from glassgpt.config import DataConfig
from glassgpt.data.source import Source
from glassgpt.data.sources import find_source
from glassgpt.data.tokenfiles import FORMAT, Prepared, Progress, open_folder, watched, write_folder
from glassgpt.errors import DataError, TokenizerError
from glassgpt.files import cache_root, make_folders, put_in_place, remove, scratch_folder
from glassgpt.text.base import Tokenizer
from glassgpt.text.chars import Unknown
from glassgpt.text.learn import learn_tokenizer
from glassgpt.text.store import load_tokenizer, save_tokenizer

__all__ = ["Prepared", "Progress", "prepare"]

NO_FILES = ("auto", "char", "bpe")  # what `tokenizer` may be, besides the name of a file


@dataclass(frozen=True)
class Recipe:
    """Which tokenizer reads the text: a given one, or one of this kind with so many tokens."""

    kind: Literal["char", "bpe"]
    vocab_size: int | None
    unknown: Unknown = "error"
    given: Tokenizer | None = None

    @property
    def key(self) -> str:
        """What the token files depend on, beside the text."""
        if self.given:
            return f"{self.given.digest} {self.unknown}"
        if self.vocab_size is None:
            return self.kind
        return f"{self.kind} {self.vocab_size}" + (f" {self.unknown}" if self.kind == "char" else "")

    @property
    def is_capped(self) -> bool:
        """A limit on the characters; where it cuts none off, the answer is the same as without it."""
        return self.kind == "char" and self.vocab_size is not None and self.given is None


def prepare(
    config: DataConfig,
    *,
    vocab_size: int | None = None,
    min_tokens: int = 2,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """The token files of a text: found in the cache, or made.

    Of BPE, `vocab_size` is how many tokens there are; of characters, how many there are at most. `min_tokens` is what
    one window needs, seq_len + 1; less than that in either part is an error.
    """
    cache, tell = cache or cache_root(), progress or (lambda _what, _share: None)
    recipe = _recipe(config, vocab_size)
    source = find_source(
        config.data,
        val_fraction=config.val_fraction,
        fallback=config.fallback,
        text_column=config.text_column,
        cache=cache,
        progress=tell,
    )
    try:
        prepared = _find_or_make(config, source, recipe, cache / "prepared", tell)
        _refuse_too_short(prepared, min_tokens)
        if (path := _tokenizer_path(config)) and not path.exists():
            save_tokenizer(prepared.tokenizer, path)
    except OSError as problem:
        raise DataError(
            f'cannot prepare the text in "{problem.filename or cache}": {problem.strerror or problem}; '
            f"GLASSGPT_CACHE chooses another folder"
        ) from None
    return prepared


def _recipe(config: DataConfig, vocab_size: int | None) -> Recipe:
    path = _tokenizer_path(config)
    if path is None or not path.exists():
        if path is not None and path.suffix != ".json":
            raise TokenizerError(
                f'tokenizer "{path}" is neither {", ".join(NO_FILES)} nor a file; a new one is named like my.json'
            )
        asked_bpe = config.tokenizer == "bpe" or (config.tokenizer != "char" and vocab_size is not None)
        return Recipe("bpe" if asked_bpe else "char", vocab_size, config.unknown)
    given = load_tokenizer(path, unknown=config.unknown)
    if vocab_size not in {None, given.vocab_size}:
        raise TokenizerError(
            f'vocab_size={vocab_size}, but the tokenizer "{path}" has {given.vocab_size} tokens; leave vocab_size out, '
            f"or name another file (a new one is learned)"
        )
    return Recipe("char", vocab_size, config.unknown, given)


def _tokenizer_path(config: DataConfig) -> Path | None:
    return None if config.tokenizer in NO_FILES else Path(config.tokenizer).expanduser()


def _find_or_make(config: DataConfig, source: Source, recipe: Recipe, shelf: Path, tell: Progress) -> Prepared:
    plain = _folder(shelf, source, Recipe("char", None)) if recipe.is_capped else None
    folder = _folder(shelf, source, recipe)
    lock = plain or folder
    make_folders(shelf)
    with FileLock(lock.with_name(lock.name + ".lock")):  # who comes second waits, and finds it made
        prepared = open_folder(plain, config, source) if plain else None
        if prepared is None or not _fits(prepared, recipe):
            prepared = open_folder(folder, config, source)
        if prepared is None:
            folder = _make(folder, plain, source, recipe, tell)
            prepared = open_folder(folder, config, source)
    assert prepared is not None, f"{folder} was just made"
    return prepared


def _fits(prepared: Prepared, recipe: Recipe) -> bool:
    return recipe.vocab_size is not None and prepared.tokenizer.vocab_size <= recipe.vocab_size


def _folder(shelf: Path, source: Source, recipe: Recipe) -> Path:
    key = hashlib.sha256(f"{FORMAT}\n{source.fingerprint}\n{recipe.key}".encode()).hexdigest()[:16]
    return shelf / f"{source.name}-{key}"


def _make(folder: Path, plain: Path | None, source: Source, recipe: Recipe, tell: Progress) -> Path:
    """The folder, made anew; or `plain`, when the limit on the characters cut none off."""
    before = source.fingerprint
    tokenizer = recipe.given or _learned(source, recipe, tell)
    if plain is not None and recipe.vocab_size is not None and tokenizer.vocab_size < recipe.vocab_size:
        folder = plain
    for leftover in [folder, *folder.parent.glob(f".{folder.name}.*")]:  # damaged, or of a process that died
        remove(leftover)
    with scratch_folder(folder) as scratch:
        write_folder(scratch, source, tokenizer, tell)
        if source.fingerprint != before:
            raise DataError(f"the text {', '.join(source.specs)} changed while it was read; try again")
        put_in_place(scratch, folder)
    return folder


def _learned(source: Source, recipe: Recipe, tell: Progress) -> Tokenizer:
    """Characters of the whole text (a held-out one that training never saw is no mistake), merges of the training's."""
    whole = recipe.kind == "char"
    chunks, size = (source.chunks(), source.size_bytes) if whole else (source.train_chunks(), source.train_bytes)
    watch = watched(chunks, "reading", size, tell)
    return learn_tokenizer(watch, kind=recipe.kind, vocab_size=recipe.vocab_size, unknown=recipe.unknown)


def _refuse_too_short(prepared: Prepared, min_tokens: int) -> None:
    have = {"training": len(prepared.train_ids), "held-out": len(prepared.val_ids)}
    part = min(have, key=lambda part: have[part])
    if have[part] >= min_tokens:
        return
    ways = [f"--seq-len {have[part] - 1} or less"] if have[part] > 1 else []
    could_be_cut = sum(have.values()) >= 2 * min_tokens and not prepared.source.val_files
    if could_be_cut:  # elsewhere, with enough on both sides
        ways.append(f"a {'larger' if part == 'held-out' else 'smaller'} --val-fraction")
    raise DataError(
        f"the text {prepared.source.name} is too short: its {part} part has {have[part]} tokens, and one window "
        f"needs {min_tokens}; choose {', or '.join([*ways, 'more text'])}"
    )
