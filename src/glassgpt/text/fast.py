"""The same byte-pair encoding by engines in Rust: `rustbpe` learns, `tiktoken` encodes. What everything uses.

Both cut the text by themselves, and engines bring Unicode tables of different age: what is a letter to the youngest is
none to the others. So the pattern that they get spells out the letters and numbers that `split` knows. The truth is the
readable `bpe`, which also does what would not be worth an engine, or what an engine cannot do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from threading import Lock
from typing import Any

import numpy as np
import regex

from glassgpt.text.base import Ids, code_points, id_dtype
from glassgpt.text.bpe import BPE, apply_merges
from glassgpt.text.bytelevel import BYTES, SPECIALS, Pair
from glassgpt.text.split import PATTERN, first_gigabytes

SHORT = 10_000  # characters in all; to make the engine takes longer than to read them in plain Python
MAKING = Lock()  # an engine is made once, whichever thread is the first to want it
LONGEST_BLANK = 250_000  # blanks in a row; the engines' stack holds a million steps back, and they give up beyond
BLANKS = regex.compile(r"\s+")
ASSIGNED = 0x40000  # no letter or number has a code point beyond (a test looks)


class FastBPE(BPE):
    """`FastBPE(merges)` is `BPE(merges)` to everybody who does not look at the clock."""

    _seen = 0  # characters so far

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int) -> FastBPE:
        import rustbpe

        engine = rustbpe.Tokenizer()
        plain = max(BYTES, vocab_size - len(SPECIALS))
        at_once = 2 * (os.cpu_count() or 1)  # so many pieces wait in memory; on each core one is counted
        engine.train_from_iterator(_for_engine(first_gigabytes(texts)), plain, buffer_size=at_once, pattern=pattern())
        return cls(_pairs(bytes(token) for token, _ in engine.get_mergeable_ranks()[BYTES:]))

    def encode_array(self, text: str) -> Ids:
        self._seen += len(text)
        with MAKING:
            engine = self._engine if self._seen >= SHORT else None
        if engine is None:
            return super().encode_array(text)
        parts = [engine.encode_to_numpy(part, disallowed_special=()) for part in _for_engine([text])]
        return np.concatenate(parts).astype(id_dtype(self.vocab_size))

    @cached_property
    def _engine(self) -> Any:
        """None where the merges may be meant otherwise than the engine takes them.

        It glues any two tokens whose bytes make a token. That is the same when each token, alone, is glued to itself:
        two tokens side by side, in whose bytes all earlier merges were made, are then the two it was learned from.
        Merges that were learned from a text are such; those of somebody's file need not be.
        """
        import tiktoken

        ranks = {token: rank for rank, token in enumerate(self._bytes)}
        if any(apply_merges(token, self.ranks) != [rank] for token, rank in ranks.items()):
            return None
        # With no special token at all, the engine looks for the empty text at each place, which takes time.
        return tiktoken.Encoding("glassgpt", pat_str=pattern(), mergeable_ranks=ranks,
                                 special_tokens={SPECIALS[0]: self.begin_id})  # fmt: skip


@cache
def pattern() -> str:
    r"""The pattern of `split` without \p, and with an end that finds the blanks at the end of a text in one step."""
    points = np.delete(np.arange(ASSIGNED, dtype="<u4"), slice(0xD800, 0xE000))  # no halves of characters
    every = points.tobytes().decode("utf-32-le")
    spelt = PATTERN.replace(r"|\s+(?!\S)", r"|\s+\z|\s+(?!\S)")
    for name in (r"\p{L}", r"\p{N}"):
        runs = (found[0] for found in regex.finditer(name + "+", every))
        ranges = "".join(f"{run[0]}-{run[-1]}" for run in runs)
        spelt = spelt.replace(name, ranges)
    return spelt


def _for_engine(texts: Iterable[str]) -> Iterator[str]:
    """The texts, cut in long runs of blanks where `split` cuts too: before the last of them, if something follows."""
    for text in texts:
        if not text.isascii():
            code_points(text)  # refuses half characters
        start = 0
        # A run of more than two blocks' length fills a block; to ask each is much quicker than to search.
        if any(text[at : at + LONGEST_BLANK].isspace() for at in range(0, len(text), LONGEST_BLANK)):
            for run in BLANKS.finditer(text):
                if run.end() - run.start() > LONGEST_BLANK and run.end() < len(text):
                    yield text[start : run.end() - 1]
                    start = run.end() - 1
        yield text[start:]


def _pairs(tokens: Iterable[bytes]) -> list[Pair]:
    """The merges that made the tokens: what the bytes of each were, just before."""
    ranks: dict[Pair, int] = {}
    for token in tokens:
        left, right = apply_merges(token, ranks)
        ranks[left, right] = len(ranks)
    return list(ranks)
