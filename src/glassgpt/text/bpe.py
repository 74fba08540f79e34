"""Byte-pair encoding, to be read.

Training glues the most frequent pair of neighbouring tokens into a new token, again and again; encoding
glues in the same order. Everything starts from the bytes of UTF-8, so no text is unknown. Where text may not be glued
is in `split`, what the tokens are called in `bytelevel`; `fast` must give equal answers, sooner.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import chain

import numpy as np

from glassgpt.text.base import Ids, id_dtype
from glassgpt.text.bytelevel import BYTES, SMALLEST_VOCABULARY, ByteLevel, Pair
from glassgpt.text.split import count_chunks, first_gigabytes, split

NOTHING = -1  # stands between chunks, and where a token was glued to the one on its left; no pair holds it


class BPE(ByteLevel):
    """`BPE([(104, 105)]).encode("hi,hi") == [256, 44, 256]`: the merge of h and i is token 256."""

    def __init__(self, merges: Iterable[Pair]) -> None:
        super().__init__(merges)
        self.ranks = {pair: rank for rank, pair in enumerate(self.merges)}

    @classmethod
    def train(cls, texts: Iterable[str], *, vocab_size: int) -> BPE:
        """At most so many tokens: a small text has no more pairs to glue."""
        return cls(learn_merges(count_chunks(first_gigabytes(texts)), vocab_size - SMALLEST_VOCABULARY))

    def encode_array(self, text: str) -> Ids:
        chunks = split(text)
        ids_of = {chunk: apply_merges(chunk.encode("utf-8"), self.ranks) for chunk in dict.fromkeys(chunks)}
        return np.fromiter(chain.from_iterable(ids_of[chunk] for chunk in chunks), id_dtype(self.vocab_size))


def learn_merges(counts: Mapping[str, int], limit: int) -> list[Pair]:
    """The pairs in the order in which they are glued; of equally frequent ones the smallest goes first.

    Each different chunk stands in the row once, and weighs as much as it occurs. A pair can only become rarer after
    the round in which it is born, since both its tokens are there by then; so one entry in the queue suffices.
    """
    row, weights = lay_out(counts)
    frequency: Counter[Pair] = Counter()
    places: defaultdict[Pair, list[int]] = defaultdict(list)
    for start, pair in row.pairs_at(*range(len(row.ids) - 1)):
        frequency[pair] += weights[start]
        places[pair].append(start)
    queue = [(-count, pair) for pair, count in frequency.items()]
    heapify(queue)
    merges: list[Pair] = []
    while len(merges) < limit and (best := most_frequent(queue, frequency)):
        new_id, born = BYTES + len(merges), set()
        merges.append(best)
        for place in places.pop(best):  # from left to right: aaa becomes (aa)a
            if row.pair_at(place) != best:
                continue  # one of the two was glued to another neighbour meanwhile
            for _, pair in row.pairs_at(row.before[place], row.after[place]):
                frequency[pair] -= weights[place]
            row.glue(place, new_id)
            for start, pair in row.pairs_at(row.before[place], place):
                frequency[pair] += weights[place]
                places[pair].append(start)
                born.add(pair)
        for pair in born:
            if frequency[pair]:  # else the next glueing took it again: (aa)a of aaaa
                heappush(queue, (-frequency[pair], pair))
    return merges


def most_frequent(queue: list[tuple[int, Pair]], frequency: Mapping[Pair, int]) -> Pair | None:
    """The next pair to glue, taken off the queue; entries that have become too high go back to where they belong."""
    while queue:
        negative_count, pair = heappop(queue)
        if frequency[pair] == -negative_count:
            return pair
        if frequency[pair]:
            heappush(queue, (-frequency[pair], pair))
    return None


def lay_out(counts: Mapping[str, int]) -> tuple[Row, list[int]]:
    """All chunks in one row, and what each place of it weighs."""
    ids, weights = [NOTHING], [0]
    for chunk, count in counts.items():
        content = chunk.encode("utf-8")
        ids += [*content, NOTHING]
        weights += [count] * (len(content) + 1)
    return Row(ids), weights


def apply_merges(chunk: bytes, ranks: Mapping[Pair, int]) -> list[int]:
    """The tokens of a chunk: of all pairs that can be glued, always the one that was learned first, from the left."""
    row = Row([NOTHING, *chunk, NOTHING])
    places: defaultdict[int, list[int]] = defaultdict(list)  # by rank
    for start, pair in row.pairs_at(*range(len(row.ids) - 1)):
        if pair in ranks:
            places[ranks[pair]].append(start)
    queue = list(places)
    heapify(queue)
    while queue:
        rank = heappop(queue)
        for place in places.pop(rank):
            if ranks.get(row.pair_at(place)) != rank:
                continue  # one of the two was glued to another neighbour meanwhile
            row.glue(place, BYTES + rank)
            for start, pair in row.pairs_at(row.before[place], place):
                if (later := ranks.get(pair)) is not None:  # later, because it holds a token that is new
                    if later not in places:
                        heappush(queue, later)
                    places[later].append(start)
    return [token_id for token_id in row.ids if token_id != NOTHING]


class Row:
    """Tokens between two NOTHINGs, each linked to its neighbours, so that gluing costs the same in a row of any length.

    A glued token lies at the place of its left part.
    """

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.before = list(range(-1, len(ids) - 1))
        self.after = list(range(1, len(ids) + 1))

    def pair_at(self, place: int) -> Pair:
        return self.ids[place], self.ids[self.after[place]]

    def pairs_at(self, *places: int) -> list[tuple[int, Pair]]:
        """Those of the places at which a pair starts, and the pair."""
        return [(place, pair) for place in places if NOTHING not in (pair := self.pair_at(place))]

    def glue(self, left: int, new_id: int) -> None:
        right = self.after[left]
        end = self.after[right]
        self.ids[left], self.ids[right] = new_id, NOTHING
        self.after[left], self.before[end] = end, left
