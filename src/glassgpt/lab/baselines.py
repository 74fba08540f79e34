"""What simple methods reach on the same text, so that a model's loss means something.

Two of them: `xz`, which only repeats what it has seen, and a character n-gram model, which only looks at the last few
characters. Both need seconds and no training. Nothing here knows our models; `glassgpt eval` prints all side by side.

The n-gram model is interpolated Witten-Bell. With C(h c) the count of character c after the context h, and T(h) the
number of different characters seen after it,

    p(c | h) = (C(h c) + T(h) p(c | h')) / (C(h) + T(h))        h' is h without its oldest character

down to 1 / (number of symbols) when no context is left: a context that was often followed by something new trusts
itself less. The probabilities of all characters that Unicode has sum to one.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glassgpt.errors import ConfigError, DataError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CHUNK = 1 << 20  # characters looked at in one go: what bounds the memory
CODE_POINTS = 0x110000  # of Unicode, surrogates included
XZ_WINDOW = 64 << 20  # how far back `xz -9e` looks, in bytes


def xz_bits_per_byte(text: str, *, training_text: str = "") -> float:
    """Size of the text after `xz -9e`, in bits for each of its UTF-8 bytes.

    Alone, the text pays for everything that it does not repeat. With a training text before it, only what it adds to
    the compressed size counts: the fairer rival of a model that has read that training text.
    """
    content = text.encode("utf-8", "surrogatepass")
    if not content:
        raise DataError("there is no text to compress; give at least one character")
    seen = training_text.encode("utf-8", "surrogatepass")[-XZ_WINDOW:]
    return 8 * (_xz_size(seen + content) - (_xz_size(seen) if seen else 0)) / len(content)


def _xz_size(content: bytes) -> int:
    # preset 9 reserves ten times its 64 MiB window even for a short text; a window as long as the text finds the same
    window = min(max(len(content), 4096), XZ_WINDOW)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window}]
    return len(lzma.compress(content, format=lzma.FORMAT_XZ, filters=filters))


def ngram_loss(training_text: str, text: str, order: int = 5) -> float:
    """Nats per character of `text` under n-grams counted on `training_text`; order 5 sees four characters back."""
    if not text:
        raise DataError("there is no text to score; give at least one character")
    counted = count_ngrams(training_text, order)
    total = sum(float(np.log(part).sum()) for part in counted.probabilities_in_parts(text))
    return -total / len(text)


@dataclass(frozen=True)
class Level:
    """How often each context was followed by each symbol, for contexts of one length. Keys are sorted."""

    grams: Ints  # a context and one more symbol, packed into one number
    counts: Ints  # C(h c)
    contexts: Ints
    totals: Ints  # C(h)
    kinds: Ints  # T(h)

    def sharpen(self, shorter: Floats, grams: Ints, num_symbols: int) -> Floats:
        """One step of the recursion: p(c | h) from p(c | h')."""
        counts = _look_up(self.grams, self.counts, grams)
        contexts = grams // num_symbols
        totals = _look_up(self.contexts, self.totals, contexts)
        kinds = _look_up(self.contexts, self.kinds, contexts)
        known = totals > 0  # after a context never seen, the shorter one decides alone
        return np.where(known, (counts + kinds * shorter) / np.maximum(totals + kinds, 1), shorter)


@dataclass(frozen=True)
class NgramModel:
    """Counts of one training text. Characters are numbered from 0; the last symbol stands for all others."""

    symbol_of: Ints  # indexed by code point
    num_symbols: int
    levels: tuple[Level, ...]  # shortest context first

    def probabilities(self, text: str) -> Floats:
        """For each character of the text, its probability after those before it."""
        return np.concatenate([np.zeros(0), *self.probabilities_in_parts(text)])

    def probabilities_in_parts(self, text: str) -> Iterator[Floats]:
        reach = len(self.levels) - 1  # characters of the longest context
        for start in range(0, len(text), CHUNK):
            before = text[max(start - reach, 0) : start]
            symbols = self.symbol_of[_code_points(before + text[start : start + CHUNK])]
            padding = np.full(reach - len(before), self.num_symbols - 1)  # a context never seen
            yield self._probabilities(np.concatenate([padding, symbols]), reach)

    def _probabilities(self, symbols: Ints, reach: int) -> Floats:
        scored = symbols[reach:]
        probabilities = np.full(len(scored), 1 / self.num_symbols)
        for length, level in enumerate(self.levels, start=1):
            grams = _pack(symbols[reach + 1 - length :], length, self.num_symbols)
            probabilities = level.sharpen(probabilities, grams, self.num_symbols)
        others = CODE_POINTS - (self.num_symbols - 1)  # they share their symbol's probability evenly
        return np.where(scored == self.num_symbols - 1, probabilities / others, probabilities)


def count_ngrams(text: str, order: int) -> NgramModel:
    """Counts of all n-grams up to `order` characters; memory grows with the different ones, not with the text."""
    if not 1 <= order <= 16:  # above it, a packed n-gram leaves room for hardly any alphabet
        raise ConfigError(f"order={order} makes no n-grams; choose 1 to 16")
    symbol_of, num_symbols = _number_characters(text, most=int((2**63 - 1) ** (1 / order)) - 2)
    grams, counts = _count_packed(text, symbol_of, num_symbols, order)
    levels: list[Level] = []
    for _ in range(order):  # sorted n-grams stay sorted without their last symbol, so one sort serves every length
        contexts = grams // num_symbols
        starts = np.flatnonzero(np.diff(contexts, prepend=-1))
        totals = np.add.reduceat(counts, starts) if len(starts) else counts
        kinds = np.diff(starts, append=len(grams))
        levels.append(Level(grams, counts, contexts[starts], totals, kinds))
        grams, counts = contexts[starts], totals
    return NgramModel(symbol_of, num_symbols, tuple(reversed(levels)))


def _number_characters(text: str, *, most: int) -> tuple[Ints, int]:
    """The most frequent characters get a symbol each; the few that do not fit share the last with the unseen."""
    counts = np.zeros(CODE_POINTS, dtype=np.int64)
    for start in range(0, len(text), CHUNK):
        counts += np.bincount(_code_points(text[start : start + CHUNK]), minlength=CODE_POINTS)
    kept = np.argsort(-counts, kind="stable")[: min(most, np.count_nonzero(counts))]
    symbol_of = np.full(CODE_POINTS, len(kept), dtype=np.int64)
    symbol_of[kept] = np.arange(len(kept))
    return symbol_of, len(kept) + 1


def _count_packed(text: str, symbol_of: Ints, num_symbols: int, order: int) -> tuple[Ints, Ints]:
    """Every n-gram of the text once, sorted, with its count. Past its end, the text goes on with the last symbol."""
    grams, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for start in range(0, len(text), CHUNK):
        symbols = symbol_of[_code_points(text[start : start + CHUNK + order - 1])]
        missing = min(CHUNK, len(text) - start) + order - 1 - len(symbols)
        symbols = np.concatenate([symbols, np.full(missing, num_symbols - 1)])
        new_grams, new_counts = np.unique(_pack(symbols, order, num_symbols), return_counts=True)
        grams, counts = _merge(np.concatenate([grams, new_grams]), np.concatenate([counts, new_counts]))
    return grams, counts


def _merge(grams: Ints, counts: Ints) -> tuple[Ints, Ints]:
    order = np.argsort(grams, kind="stable")
    grams, counts = grams[order], counts[order]
    starts = np.flatnonzero(np.diff(grams, prepend=-1))
    return grams[starts], np.add.reduceat(counts, starts)


def _pack(symbols: Ints, length: int, num_symbols: int) -> Ints:
    """Each run of `length` symbols as one number: `_pack([1, 2, 3], 2, 10) == [12, 23]`."""
    count = len(symbols) - length + 1
    packed = np.zeros(count, dtype=np.int64)
    for offset in range(length):
        packed = packed * num_symbols + symbols[offset : offset + count]
    return packed


def _look_up(keys: Ints, values: Ints, wanted: Ints) -> Ints:
    """The value of each wanted key, 0 where it is missing."""
    if not len(keys):
        return np.zeros(len(wanted), dtype=np.int64)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def _code_points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
