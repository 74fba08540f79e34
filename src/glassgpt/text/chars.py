"""One token for each character: the tokenizer that one understands at a glance.

The vocabulary is the sorted characters of the training text. Encoding is one look-up in a table with a place for
every code point there is. `base` says what a tokenizer is; `store` reads the file that `to_json` describes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from glassgpt.errors import TokenizerError, UnknownCharacterError
from glassgpt.text.base import Ids, Tokenizer, code_points, id_dtype, outside

Unknown = Literal["error", "skip", "replace"]

UNICODE_SIZE = 0x110000
FEW = 1 << 14  # look-ups at once: what numpy makes of them on the way, 8 bytes for each, stays in the nearest cache
REPLACEMENTS = "\ufffd? "  # what stands for an unknown character: the first of these that the vocabulary has

# The `tokenizers` library cuts with this and looks each piece up; a piece that it does not find is an error there,
# because the unknown token is none of the vocabulary. [\s\S], since the dot leaves newlines out.
CUTTING = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
NO_UNKNOWN = "<unk>"


class CharTokenizer(Tokenizer):
    """`CharTokenizer("abc").encode("cab") == [2, 0, 1]`.

    A character that is not in the vocabulary is an error, left out (skip), or replaced by U+FFFD, by a question mark
    or by a space, whichever the vocabulary has first.
    """

    kind: ClassVar[str] = "char"

    def __init__(self, characters: Iterable[str], *, unknown: Unknown = "error") -> None:
        self.characters = "".join(characters)
        self.unknown: Unknown = unknown
        self._code_points = code_points(self.characters).astype(np.uint32)
        if len(np.unique(self._code_points)) < max(1, len(self.characters)):
            raise TokenizerError("a character vocabulary needs at least one character, and none of them twice")
        self._unknown_id = len(self.characters)
        self._ids = np.full(UNICODE_SIZE, self._unknown_id, dtype=id_dtype(self._unknown_id + 1))
        self._ids[self._code_points] = np.arange(len(self.characters))
        self._replacement = self._choose_replacement()

    @classmethod
    def train(cls, chunks: Iterable[str], *, unknown: Unknown = "error") -> CharTokenizer:
        """A tokenizer of exactly the characters in the text."""
        seen = np.zeros(UNICODE_SIZE, dtype=np.bool_)
        for chunk in chunks:
            points = code_points(chunk)
            if not look_up(seen, points).all():  # looking is cheaper than marking, and news are rare
                seen[points] = True
        return cls(map(chr, np.flatnonzero(seen).tolist()), unknown=unknown)

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    def encode_array(self, text: str) -> Ids:
        ids = look_up(self._ids, code_points(text))
        if ids.max(initial=0) == self._unknown_id:
            ids = self._without_unknowns(ids, text)
        return ids.astype(id_dtype(self.vocab_size), copy=False)

    def token_bytes(self, token_id: int) -> bytes:
        if not 0 <= token_id < self.vocab_size:
            raise outside(token_id, self.vocab_size)
        return self.characters[token_id].encode("utf-8")

    def decode(self, ids: Iterable[int]) -> str:
        wanted = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        wrong = (wanted < 0) | (wanted >= self.vocab_size)
        if wrong.any():
            raise outside(int(wanted[wrong][0]), self.vocab_size)
        text: str = self._code_points[wanted].astype("<u4").tobytes().decode("utf-32-le")
        return text

    def to_json(self) -> str:
        vocabulary = {character: token_id for token_id, character in enumerate(self.characters)}
        content: dict[str, object] = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": None,
            "pre_tokenizer": CUTTING,
            "post_processor": None,
            "decoder": {"type": "Fuse"},
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": NO_UNKNOWN},
        }
        return json.dumps(content, ensure_ascii=False, indent=1) + "\n"

    def _choose_replacement(self) -> int | None:
        if self.unknown != "replace":
            return None
        for character in REPLACEMENTS:
            if character in self.characters:
                return self.characters.index(character)
        raise TokenizerError(
            "--unknown replace needs U+FFFD, a question mark or a space in the vocabulary, "
            "and it has none of them; choose --unknown skip"
        )

    def _without_unknowns(self, ids: Ids, text: str) -> Ids:
        missing = ids == self._unknown_id
        if self.unknown == "skip":
            return np.asarray(ids[~missing])
        if self._replacement is None:
            position = int(missing.argmax())
            raise UnknownCharacterError(text[position], position)
        ids[missing] = self._replacement
        return ids


def look_up(table: npt.NDArray[Any], points: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`table[points]`, twice as fast; the table has a place for every code point."""
    found = np.empty(len(points), dtype=table.dtype)
    for start in range(0, len(points), FEW):
        some = slice(start, start + FEW)
        table.take(points[some], out=found[some], mode="clip")  # nothing is clipped, and nothing is checked either
    return found
