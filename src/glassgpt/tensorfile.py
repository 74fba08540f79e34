"""The contents of a checkpoint in the safetensors format: a JSON header, then the tensors, one behind the other.

Only files as `checkpoint.py` writes them are understood: each tensor where the one before it ends, no byte without
a meaning, and everything under one digest. So the tensors go straight from the file to where they stay, and nothing
is made that is larger than the file. PyTorch's format is in `torchfile.py`.
"""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from glassgpt.errors import CheckpointError
from glassgpt.jsonfile import NotJsonError, parse

MOST_HEADER = 24 << 20  # bytes; most of it is the tokenizer, and one of 128,000 tokens takes half of that
BLOCK_BYTES = 1 << 20
MOST_AXES = 8
DTYPES = {
    "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F64": torch.float64,
    "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class Digest(Protocol):
    def update(self, data: Any, /) -> None: ...

    def hexdigest(self) -> str: ...


def read(path: Path, file: BinaryIO, *, form: str) -> tuple[dict[str, str], dict[str, Tensor], str]:
    """The metadata, the tensors, and the digest of what was read, to be held to the one that the metadata name."""
    size_bytes = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > MOST_HEADER:
        raise CheckpointError(f"{path} is no checkpoint: it does not begin as one; name a run folder or a .safetensors")
    if length > size_bytes - 8:
        raise CheckpointError(
            f"checkpoint {path} is cut short, or none: it has {size_bytes} bytes, and its header says {length}"
        )
    text = file.read(length)
    try:
        header = parse(text)
        metadata = header.pop("__metadata__")
        if not all(isinstance(value, str) for value in metadata.values()) or not {"digest", "format"} <= set(metadata):
            raise NotJsonError("its metadata are no texts")
    except (KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{path} is no checkpoint of glassgpt, or its header is damaged") from None
    except NotJsonError as problem:
        raise CheckpointError(f"{path} is no checkpoint of glassgpt, or its header is damaged: {problem}") from None
    if metadata["format"] != form:
        raise CheckpointError(f"{path} has the format {metadata['format'][:80]!r}; this version reads {form!r}")
    digest = _digest_of_header(path, text, metadata["digest"])
    del text
    tensors = _read_tensors(path, file, header, digest, size_bytes - 8 - length)
    return metadata, tensors, digest.hexdigest()


def fill(tensor: Tensor, source: Any, digest: Digest | None = None) -> None:
    """Put the next bytes of a file into a tensor that is not empty."""
    room = tensor.reshape(-1).view(torch.uint8).numpy().data
    for start in range(0, len(room), BLOCK_BYTES):
        block = room[start : start + BLOCK_BYTES]
        if source.readinto(block) != len(block):
            raise ValueError("it ends in the middle of a tensor")
        if digest is not None:
            digest.update(block)


def _digest_of_header(path: Path, text: bytes, written: str) -> Digest:
    """Of the header as it was before the digest was put into it, at its very beginning."""
    opening, named = b'{"__metadata__":{', f'"digest":"{written}",'.encode()
    length = len(text.rstrip(b" "))
    if not text.startswith(opening + named) or len(text) != length + -length % 8:
        raise CheckpointError(f"checkpoint {path} is damaged: its header is not laid out as we write it")
    digest = hashlib.sha256(opening)
    digest.update(memoryview(text)[len(opening) + len(named) : length])
    return digest


def _read_tensors(path: Path, file: BinaryIO, header: dict[str, Any], digest: Digest, room: int) -> dict[str, Tensor]:
    begin = 0
    for name, entry in header.items():
        begin = _end_of(path, name, entry, begin)
    if begin != room:
        raise CheckpointError(
            f"checkpoint {path} is damaged or cut short: {room:,} bytes of tensors, and its header says {begin:,}"
        )
    tensors = {name: torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]]) for name, entry in header.items()}
    for tensor in tensors.values():
        if tensor.numel():
            fill(tensor, file, digest)
    return tensors


def _end_of(path: Path, name: str, entry: Any, begin: int) -> int:
    """Where the tensor ends, if it begins where it should."""
    try:
        dtype, shape, offsets = (entry[key] for key in ("dtype", "shape", "data_offsets"))
        sizes_are_whole = all(type(size) is int and 0 <= size < 1 << 62 for size in (*shape, *offsets))
        end: int = begin + math.prod(shape) * DTYPES[dtype].itemsize
        sizes_are_whole = sizes_are_whole and math.prod(max(size, 1) for size in shape) < 1 << 62
        if len(entry) == 3 and len(shape) <= MOST_AXES and sizes_are_whole and offsets == [begin, end]:
            return end
    except (KeyError, TypeError, ValueError):
        pass
    raise CheckpointError(f"checkpoint {path} is damaged: its header does not say where {name[:80]!r} lies")
