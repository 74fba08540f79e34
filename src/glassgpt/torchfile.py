"""The contents of a checkpoint in PyTorch's own file format, for paths that end in .pt.

Anybody can open such a file: `torch.load(path, weights_only=True)` gives plain dicts, texts, numbers and tensors.
Opening a stranger's is another matter: torch unpacks compressed bombs, makes bytearrays of any size when a file asks
for one, and loads flipped bits in silence. So the file is looked at first, the pickle in it too, and then what
came of it; `checkpoint.py` holds all that to its digest.
"""

from __future__ import annotations

import io
import json
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glassgpt.errors import CheckpointError

SUFFIX = ".pt"
PARTS = {"weights": "model/", "optimizer": "optimizer/"}  # dicts of tensors, and how the names in them begin elsewhere
TEXTS = ("format", "tokenizer", "digest")
VALUES = ("model", "step", "settings", "origins", "metrics")
MOST_ENTRIES = 100_000  # one for each tensor: a thousand layers, with an optimizer's memory
MOST_PICKLE = 64_000_000  # bytes; nearly all of it is the tokenizer, and those of the largest models have 20 MB
MOST_OPCODES = 2_000_000  # some thirty for each tensor; Python walks over them in about two seconds
ENTRY = re.compile(
    r"(?P<root>[^/]+)/(data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|"
    r"\.data/serialization_id)"
)
CENTRAL = b"PK\x01\x02"  # an entry in a zip's table of contents begins with this
NAMEABLE = {"torch._utils _rebuild_tensor_v2", "collections OrderedDict"} | {
    f"torch {kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Byte", "Bool")
}


def is_one(content: bytes) -> bool:
    return content.startswith(b"PK\x03\x04")


def pack(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> list[memoryview]:
    """The file, in the same bytes for the same content.

    pickle writes an object that it meets again as a reference, so equal texts must be one object always or never:
    everything but the tensors is read afresh from one JSON text.
    """
    names = {part: [name for name in tensors if name.startswith(begins)] for part, begins in PARTS.items()}
    rows = [f'"{name}":{value if name in VALUES else json.dumps(value)}' for name, value in metadata.items()]
    rows += [f'"{part}":{json.dumps(dict.fromkeys(names[part]))}' for part in PARTS]
    content = json.loads("{" + ",".join(rows) + "}")
    for part, begins in PARTS.items():
        # A copy of its own for each: torch writes the whole storage that a view looks at.
        content[part] = {name.removeprefix(begins): tensors[name].clone() for name in content[part]}
    file = io.BytesIO()
    torch.save(content, file)
    return [file.getbuffer()]


def unpack(path: Path, content: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `pack` was given, with its values as they are in the file; nothing is believed unseen."""
    if not is_one(content):
        raise CheckpointError(f"{path} is no checkpoint: it does not begin as a file of PyTorch does")
    _look_at_pickle(path, _look_at_entries(path, content))
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as problem:  # what is wrong in a file comes out as any of a dozen exceptions
        raise CheckpointError(f"checkpoint {path} is damaged: {_first_line(problem)}") from None
    return _look_at_loaded(path, loaded, most_bytes=len(content))


def _look_at_entries(path: Path, content: bytes) -> bytes:
    """The pickle, if the zip around it is one that torch writes."""
    if content.count(CENTRAL) > MOST_ENTRIES:  # before anything is made of them
        raise CheckpointError(f"{path} is refused: it has more than {MOST_ENTRIES:,} entries")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _refuse_strange_entries(path, entries, len(content))
            names = [entry.filename for entry in entries if entry.filename.endswith("/data.pkl")]
            return archive.read(names[0])
    except CheckpointError:
        raise
    except Exception as problem:
        raise CheckpointError(f"checkpoint {path} is damaged or cut short: {_first_line(problem)}") from None


def _refuse_strange_entries(path: Path, entries: list[zipfile.ZipInfo], size_bytes: int) -> None:
    roots, names = set(), {entry.filename for entry in entries}
    for entry in entries:
        found = ENTRY.fullmatch(entry.filename)
        if found is None:
            raise CheckpointError(f"{path} is refused: it holds {entry.filename!r}, as no checkpoint does")
        roots.add(found["root"])
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise CheckpointError(f"{path} is refused: {entry.filename} is compressed, and could unpack to any size")
    if len(roots) != 1 or len(names) != len(entries) or f"{roots.pop()}/data.pkl" not in names:
        raise CheckpointError(f"{path} is refused: it is not laid out as PyTorch does")
    if sum(entry.file_size for entry in entries) > size_bytes:
        raise CheckpointError(f"{path} is refused: its entries are said to be larger than the file")
    if (size := next(entry.file_size for entry in entries if entry.filename.endswith("/data.pkl"))) > MOST_PICKLE:
        raise CheckpointError(
            f"{path} is refused: {size:,} bytes of it are no tensors, and {MOST_PICKLE:,} are allowed"
        )


def _look_at_pickle(path: Path, pickle: bytes) -> None:
    """Nothing is run here: a pickle is a list of orders, and only those are let through that build tensors."""
    try:
        for count, (order, argument, _) in enumerate(pickletools.genops(pickle)):
            if order.name in {"GLOBAL", "INST"} and argument not in NAMEABLE:
                raise CheckpointError(
                    f"{path} is refused: it asks for {str(argument).replace(' ', '.')}, and a checkpoint of glassgpt "
                    f"holds plain values and tensors only; nothing of it was run"
                )
            if order.name == "STACK_GLOBAL" or count > MOST_OPCODES:
                raise CheckpointError(f"{path} is refused: its pickle is none that a checkpoint of glassgpt has")
    except ValueError as problem:
        raise CheckpointError(f"checkpoint {path} is damaged: {_first_line(problem)}") from None


def _look_at_loaded(path: Path, loaded: object, *, most_bytes: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not isinstance(loaded, dict) or set(loaded) != {*TEXTS, *VALUES, *PARTS}:
        names = ", ".join(map(str, list(loaded)[:3])) if isinstance(loaded, dict) else type(loaded).__name__
        raise CheckpointError(f"{path} is a file of PyTorch, but no checkpoint of glassgpt (it holds {names}, ...)")
    if not all(isinstance(loaded[name], str) for name in TEXTS):
        raise CheckpointError(f"checkpoint {path} is damaged: its {', '.join(TEXTS)} should be texts")
    tensors = {}
    for part, begins in PARTS.items():
        if not isinstance(loaded[part], dict):
            raise CheckpointError(f"checkpoint {path} is damaged: its {part} should be a dict of tensors")
        for name, tensor in loaded[part].items():
            _refuse_strange_tensor(path, name, tensor)
            tensors[f"{begins}{name}"] = tensor
    if sum(tensor.nbytes for tensor in tensors.values()) > most_bytes:
        raise CheckpointError(f"{path} is refused: its tensors share their numbers, and look larger than the file")
    return {name: loaded[name] for name in (*TEXTS, *VALUES)}, {name: tensors[name] for name in sorted(tensors)}


def _refuse_strange_tensor(path: Path, name: object, tensor: object) -> None:
    """A view of something larger, or one number spread over millions of places, could cost any amount of memory."""
    if type(name) is not str or type(tensor) is not Tensor:
        raise CheckpointError(f"{path} is refused: {name!r} is no named tensor")
    if not tensor.is_contiguous() or tensor.untyped_storage().nbytes() != tensor.nbytes:
        raise CheckpointError(f"{path} is refused: the tensor {name!r} does not lie by itself, as pack() leaves it")


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:200]
