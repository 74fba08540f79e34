"""What every tokenizer is: text to ids and back, and the one file that says how.

A tokenizer cuts text into tokens, and each token stands for some bytes of UTF-8. A character tokenizer's tokens are
whole characters; a byte-level one may cut a character in two, which is why a stream must be decoded with care.
The kinds are in `chars` (and `bpe`); reading and writing tokenizer.json is in `store`.
"""

from __future__ import annotations

import codecs
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from glassgpt.errors import TokenizerError

Ids = npt.NDArray[Any]  # one dimension, of the dtype that `id_dtype` says
Part = str | int  # of what is encoded: some text, or the id of a special token
Map = Callable[[Callable[[Part], Ids], Iterable[Part]], Iterable[Ids]]  # as the builtin does it, or on several cores
SIGNS = {"\n": "⏎", "\t": "⇥"}  # how a token's name shows them


class Tokenizer(ABC):
    """Text to ids and back: `decode(encode(text)) == text` for any text over the vocabulary."""

    kind: ClassVar[str]
    begin_id: int | None = None  # the special tokens before and after a document, where a tokenizer has them
    end_id: int | None = None

    @property
    @abstractmethod
    def vocab_size(self) -> int: ...

    @abstractmethod
    def encode_array(self, text: str) -> Ids:
        """The ids of a text as an array, at full speed."""

    @abstractmethod
    def token_bytes(self, token_id: int) -> bytes:
        """The UTF-8 that one token stands for: perhaps only a piece of a character, nothing for a special token."""

    @abstractmethod
    def to_json(self) -> str:
        """The text of tokenizer.json: the same text for the same tokenizer, always."""

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.encode_array(text).tolist()
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.token_bytes(int(token_id)) for token_id in ids).decode("utf-8", "replace")

    def encode_chunks(self, chunks: Iterable[str], *, starts_document: bool = True, apply: Map = map) -> Iterable[Ids]:
        """The ids of a text that comes in pieces cut anywhere; together those of the whole text.

        An empty piece means that a document ends here, and whether the first piece starts one is `starts_document`.
        """
        return apply(self._encode_part, self._parts(chunks, starts_document=starts_document))

    def _parts(self, chunks: Iterable[str], *, starts_document: bool) -> Iterator[Part]:
        """The pieces as each can be encoded alone. Where no tokens mark documents, as here, their ends are nothing."""
        return (chunk for chunk in chunks if chunk)

    def _encode_part(self, part: Part) -> Ids:
        return self.encode_array(part) if isinstance(part, str) else np.array([part], id_dtype(self.vocab_size))

    def name_of(self, token_id: int) -> str:
        r"""The token as people may see it: its text, `<|end|>` of a special one, `\xc3` of a piece of a character."""
        text = self.token_bytes(token_id).decode("utf-8", "backslashreplace")
        return "".join(character if character.isprintable() else _escaped(character) for character in text)

    def stream(self) -> StreamDecoder:
        return StreamDecoder(self.token_bytes)

    @cached_property
    def digest(self) -> str:
        """What identifies the tokenizer: the SHA-256 of its tokenizer.json."""
        return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()


def _escaped(character: str) -> str:
    return SIGNS.get(character) or character.encode("unicode_escape").decode("ascii")


class StreamDecoder:
    """Decodes ids as they come; a character appears when its last byte has come, never half.

    The pieces together are `decode` of all the ids.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        return self._decoder.decode(self._token_bytes(int(token_id)))

    def finish(self) -> str:
        """What was still waiting for bytes that never came."""
        return self._decoder.decode(b"", final=True)


def id_dtype(vocab_size: int) -> np.dtype[Any]:
    """Two bytes while they suffice; little-endian, so that token files travel."""
    return np.dtype("<u2") if vocab_size <= 1 << 16 else np.dtype("<u4")


def code_points(text: str) -> npt.NDArray[Any]:
    """`code_points("aé") == [97, 233]`, without a loop in Python."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    try:
        return np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
    except UnicodeEncodeError as problem:
        raise TokenizerError(
            f"half a character (the lone surrogate U+{ord(text[problem.start]):04X}) at position {problem.start}: "
            f"the text was damaged before it came here; remove it or read the text again as UTF-8"
        ) from None


def outside(token_id: int, vocab_size: int) -> TokenizerError:
    return TokenizerError(
        f"token {token_id} is outside the vocabulary of {vocab_size} tokens; is this the tokenizer of that model?"
    )
