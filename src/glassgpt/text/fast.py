"""The same byte-pair encoding on the Rust engine of the `tokenizers` library: what everything uses.

The engine only glues, and only once for each different chunk: the cuts are those of `split`, as in the readable
`bpe`. The merges are learned there too; the engine's own trainer gives the same ones (a test holds it), but not
sooner on one core, and in a time that grows with the square of the longest chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np
from tokenizers import models

from glassgpt.text.base import Ids, id_dtype
from glassgpt.text.bpe import learn_merges
from glassgpt.text.bytelevel import BYTE_CHARACTERS, SMALLEST_VOCABULARY, SPECIALS, ByteLevel, Pair
from glassgpt.text.split import count_chunks, split

CHARACTER_OF = dict(enumerate(BYTE_CHARACTERS))


class FastBPE(ByteLevel):
    """`FastBPE(merges)` is `BPE(merges)` to everybody who does not look at the clock."""

    def __init__(self, merges: Iterable[Pair]) -> None:
        super().__init__(merges)
        plain = self.names[: -len(SPECIALS)]  # the engine sees no special token, so it can make none
        pairs = [(self.names[left], self.names[right]) for left, right in self.merges]
        self._engine = models.BPE({name: token_id for token_id, name in enumerate(plain)}, pairs)

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int) -> FastBPE:
        return cls(learn_merges(count_chunks(texts), vocab_size - SMALLEST_VOCABULARY))

    def encode_array(self, text: str) -> Ids:
        chunks = split(text)
        ids_of = {chunk: self._ids(chunk) for chunk in dict.fromkeys(chunks)}
        return np.fromiter(chain.from_iterable(map(ids_of.__getitem__, chunks)), id_dtype(self.vocab_size))

    def _ids(self, chunk: str) -> list[int]:
        seen_by_engine = chunk.encode("utf-8").decode("latin-1").translate(CHARACTER_OF)
        return [token.id for token in self._engine.tokenize(seen_by_engine)]
