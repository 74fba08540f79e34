"""Cuts text into chunks before any byte is merged: words with their space, numbers, marks, runs of blanks.

The pattern is GPT-2's (`llama.cpp` knows it as "gpt-2"). No token reaches across a cut. The letters and numbers are
those of the `regex` package, for all engines: their own tables are of different age, and cut young scripts apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import regex

from glassgpt.text.base import code_points

# \p{L} and \p{N} stand in brackets, so that `fast` can write the letters and numbers themselves in their place.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?[\p{L}]+| ?[\p{N}]+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CHUNK = regex.compile(PATTERN)
LAST_SAFE_CUT = regex.compile(r"(?r)\S\s")  # (?r) searches from the end
LEARNED_BYTES = (1 << 31) - 1  # engines count in 32 bits, and no pair stands more often in a text than it has bytes
LONGEST_REST = 4 << 20  # characters without a safe place to cut, before memory counts for more


def split(text: str) -> list[str]:
    """`split("Hello, world's  end") == ["Hello", ",", " world", "'s", " ", " end"]`; together they are the text."""
    if not text.isascii():
        code_points(text)  # refuses half characters
    chunks: list[str] = CHUNK.findall(text)
    return chunks


def count_chunks(texts: Iterable[str]) -> Counter[str]:
    """How often each chunk stands in a text that comes in pieces; memory grows with the different ones only."""
    counts: Counter[str] = Counter()
    for piece in whole_pieces(texts):
        counts.update(split(piece))
    return counts


def first_gigabytes(texts: Iterable[str]) -> Iterator[str]:
    """As much of a text as merges are learned from, in pieces that split like the whole: two gigabytes of it."""
    left_bytes = LEARNED_BYTES
    for piece in whole_pieces(texts):
        left_bytes -= len(piece.encode("utf-8", "surrogatepass"))
        if left_bytes < 0:
            return
        yield piece


def whole_pieces(texts: Iterable[str]) -> Iterator[str]:
    """The same text in pieces that split like the whole; an empty one, the end of a document, stays where it is.

    A place between a character that is no blank and a blank is safe. Nothing that the pattern matches goes on from the
    one to the other: blanks stand only first in a match or fill it. What is left of the place does not see what
    follows: the one look ahead comes after a run of blanks, and asks for the character that ends the run. What
    is right of it does not see what came before: the pattern never looks behind.

    A text without a safe place for four million characters is cut anyway.
    """
    rest = ""
    for text in texts:
        news = max(0, len(rest) - 1)  # a safe place before this would have been taken already
        rest += text
        if not text or len(rest) - news > LONGEST_REST:
            end = len(rest)
        elif (found := LAST_SAFE_CUT.search(rest, news)) is not None:
            end = found.start() + 1
        else:
            end = len(rest) if len(rest) >= LONGEST_REST else 0
        if end:
            yield rest[:end]
            rest = rest[end:]
        if not text:
            yield ""
    if rest:
        yield rest
