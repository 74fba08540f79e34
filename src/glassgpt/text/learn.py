"""A tokenizer made from a text, of the kind and size that was asked for.

The kinds are in `chars` and `fast`; what a text is too small or too rich for is said here. Memory does not grow with
the text, only with what is different in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from glassgpt.errors import TokenizerError
from glassgpt.text.base import Tokenizer, code_points
from glassgpt.text.bytelevel import SMALLEST_VOCABULARY
from glassgpt.text.chars import REPLACEMENTS, UNICODE_SIZE, CharTokenizer, Unknown
from glassgpt.text.fast import FastBPE

Kind = Literal["char", "bpe"]

BPE_VOCABULARY = 1000  # when nobody says more: a few words and most syllables of English
REPLACEMENT = ord(REPLACEMENTS[0])


def learn_tokenizer(
    chunks: Iterable[str], *, kind: Kind, vocab_size: int | None = None, unknown: Unknown = "error"
) -> Tokenizer:
    """Characters: all of the text, or the `vocab_size` most frequent. BPE: exactly `vocab_size` tokens."""
    if kind == "bpe":
        return _learn_bpe(chunks, BPE_VOCABULARY if vocab_size is None else vocab_size)
    if vocab_size is None:
        return CharTokenizer.train(chunks, unknown=unknown)
    return _most_frequent_characters(chunks, vocab_size, unknown)


def _learn_bpe(chunks: Iterable[str], vocab_size: int) -> Tokenizer:
    if vocab_size < SMALLEST_VOCABULARY:
        raise TokenizerError(
            f"vocab_size={vocab_size} is too small for BPE: the 256 bytes and 2 special tokens "
            f"alone are {SMALLEST_VOCABULARY}; choose --vocab-size {SMALLEST_VOCABULARY} or more"
        )
    tokenizer = FastBPE.train(chunks, vocab_size=vocab_size)
    if tokenizer.vocab_size < vocab_size:
        raise TokenizerError(
            f"the text is too small for vocab_size={vocab_size}: it has pairs for {tokenizer.vocab_size} tokens; "
            f"choose --vocab-size {tokenizer.vocab_size} or less, or more text"
        )
    return tokenizer


def _most_frequent_characters(chunks: Iterable[str], vocab_size: int, unknown: Unknown) -> Tokenizer:
    """At most so many; where that cuts some, U+FFFD is one of them, to stand for those."""
    if vocab_size < 1:
        raise TokenizerError(f"vocab_size={vocab_size}: a character vocabulary needs at least one character")
    counts = np.zeros(UNICODE_SIZE, dtype=np.int64)
    for chunk in chunks:
        found = np.bincount(code_points(chunk))
        counts[: len(found)] += found
    distinct = np.flatnonzero(counts)
    if len(distinct) <= vocab_size:
        return CharTokenizer(map(chr, distinct.tolist()), unknown=unknown)
    if unknown == "error":
        raise TokenizerError(
            f"the text has {len(distinct)} different characters, and vocab_size={vocab_size} leaves some out; "
            f"choose --unknown replace (or skip), or --vocab-size {len(distinct)}"
        )
    by_frequency = distinct[np.argsort(-counts[distinct], kind="stable")]
    others = by_frequency[by_frequency != REPLACEMENT]
    kept = sorted([REPLACEMENT, *others[: vocab_size - 1].tolist()])
    return CharTokenizer(map(chr, kept), unknown=unknown)
