"""A prepared text as files that other programs read without us: the text itself, its ids as tensors, its vocabulary.

Everything is plain tensors and primitives, so `torch.load(..., weights_only=True)` suffices. Our own training reads the
memory-mapped files of `prepare` instead.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glassgpt.data.prepare import Prepared
from glassgpt.errors import DataError
from glassgpt.files import write_atomically
from glassgpt.text.base import Ids, Tokenizer
from glassgpt.text.chars import CharTokenizer


@dataclass(frozen=True)
class Left:
    """A file that was left behind."""

    path: Path
    what: str
    replaced: bool


def export(prepared: Prepared, folder: Path) -> Iterator[Left]:
    """Write input.txt, train.pt, val.pt and vocab.pt; each is told when it is there, in one piece."""
    tokenizer, name = prepared.tokenizer, prepared.source.name
    unit = "characters" if isinstance(tokenizer, CharTokenizer) else "tokens"
    contents = {
        "input.txt": (f"the text: {name}", (chunk.encode("utf-8") for chunk in prepared.source.chunks() if chunk)),
        "train.pt": (f"{len(prepared.train_ids):,} {unit} to learn from", _tensor(prepared.train_ids)),
        "val.pt": (f"{len(prepared.val_ids):,} {unit} held out", _tensor(prepared.val_ids)),
        "vocab.pt": (f"the {tokenizer.vocab_size:,} different {unit}", _saved(vocabulary(tokenizer))),
    }
    for file, (what, content) in contents.items():
        path = folder / file
        replaced = path.exists()
        try:
            write_atomically(path, content)
        except OSError as problem:
            raise DataError(
                f'cannot write "{path}": {problem.strerror or problem}; --out chooses another folder'
            ) from None
        yield Left(path, what, replaced)


def vocabulary(tokenizer: Tokenizer) -> dict[str, Any]:
    """What the ids mean: for characters the two tables that everybody makes, for BPE the bytes of each token."""
    if isinstance(tokenizer, CharTokenizer):
        characters = list(tokenizer.characters)
        return {
            "kind": tokenizer.kind,
            "vocab_size": len(characters),
            "chars": characters,
            "stoi": {character: number for number, character in enumerate(characters)},
            "itos": dict(enumerate(characters)),
        }
    return {
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "tokens": [list(tokenizer.token_bytes(number)) for number in range(tokenizer.vocab_size)],  # bytes as numbers
        "names": [tokenizer.name_of(number) for number in range(tokenizer.vocab_size)],
        "tokenizer_json": tokenizer.to_json(),
    }


def _tensor(ids: Ids) -> Iterator[bytes]:
    """Made when it is written: all of it in memory, eight bytes for each id, as this format wants it."""
    import torch

    yield from _saved(torch.from_numpy(np.asarray(ids, dtype=np.int64)))


def _saved(content: Any) -> Iterator[bytes]:
    import torch

    file = io.BytesIO()
    torch.save(content, file)
    yield file.getvalue()
