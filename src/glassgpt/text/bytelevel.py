"""What byte-level BPE is, apart from how it is computed: its vocabulary, its documents and its tokenizer.json.

Tokens are the 256 bytes, then one for each merge, then two special ones. `bpe` learns and applies the merges in plain
Python and `fast` by an engine in Rust; `store` reads the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

from glassgpt.errors import TokenizerError
from glassgpt.text.base import Part, Tokenizer, outside
from glassgpt.text.split import whole_pieces

Pair = tuple[int, int]  # two neighbouring tokens

BYTES = 256
SPECIALS = ("<|begin|>", "<|end|>")  # around each document
SMALLEST_VOCABULARY = BYTES + len(SPECIALS)
FRAME: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
}
MODEL: dict[str, Any] = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


def byte_characters() -> list[str]:
    """A visible character for each byte, as GPT-2 chose them: itself where Latin-1 shows one, else from U+0100 on."""
    shown = [chr(byte) if chr(byte).isprintable() and chr(byte) != " " else "" for byte in range(BYTES)]
    spare = iter(range(BYTES, 2 * BYTES))
    return [character or chr(next(spare)) for character in shown]


BYTE_CHARACTERS = byte_characters()


class ByteLevel(Tokenizer):
    """Any text to ids and back. The id of a byte is the byte; that of merge number m is 256 + m.

    The special tokens come last, so that all other ids are those of `rustbpe` and `tiktoken` for the same merges.
    They stand in no merge: a text that spells their names is only a text.
    """

    kind: ClassVar[str] = "bpe"
    begin_id: int
    end_id: int

    def __init__(self, merges: Iterable[Pair]) -> None:
        self.merges: Sequence[Pair] = tuple(merges)
        self._bytes = [bytes([byte]) for byte in range(BYTES)]
        for left, right in self.merges:
            if not 0 <= min(left, right) <= max(left, right) < len(self._bytes):
                raise TokenizerError(f"merge {len(self._bytes) - BYTES} is made of tokens that come after it")
            self._bytes.append(self._bytes[left] + self._bytes[right])
        if len(set(self._bytes)) < len(self._bytes):
            raise TokenizerError("two merges make the same token; each token is made once")
        self.begin_id, self.end_id = len(self._bytes), len(self._bytes) + 1

    @property
    def vocab_size(self) -> int:
        return len(self._bytes) + len(SPECIALS)

    def token_bytes(self, token_id: int) -> bytes:
        """What the token says in a text: the special ones say nothing."""
        if 0 <= token_id < len(self._bytes):
            return self._bytes[token_id]
        if token_id in {self.begin_id, self.end_id}:
            return b""
        raise outside(token_id, self.vocab_size)

    def name_of(self, token_id: int) -> str:
        specials = dict(zip((self.begin_id, self.end_id), SPECIALS, strict=True))
        return specials.get(token_id) or super().name_of(token_id)

    def _parts(self, chunks: Iterable[str], *, starts_document: bool) -> Iterator[Part]:
        """Begin and end stand around each document that is not empty.

        One that the text breaks off in has no end, and one that the text starts in the middle of no beginning.
        """
        inside = not starts_document
        for piece in whole_pieces(chunks):
            if piece and not inside:
                yield self.begin_id
            if piece:
                yield piece
            elif inside:
                yield self.end_id
            inside = bool(piece)

    def to_json(self) -> str:
        """The format of the `tokenizers` library, which then gives the same ids and text.

        Its engine cuts by its own Unicode tables: characters that are letters or numbers only in a younger edition of
        Unicode may be cut otherwise there.
        """
        merges = [[self.names[left], self.names[right]] for left, right in self.merges]
        vocabulary = {name: token_id for token_id, name in enumerate(self.names)}
        return json.dumps(FRAME | {"model": MODEL | {"vocab": vocabulary, "merges": merges}}, ensure_ascii=False,
                          indent=1) + "\n"  # fmt: skip

    @cached_property
    def names(self) -> list[str]:
        """What tokenizer.json calls the tokens, by id: one visible character for each byte."""
        return ["".join(BYTE_CHARACTERS[byte] for byte in token) for token in self._bytes] + list(SPECIALS)
