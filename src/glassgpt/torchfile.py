"""The contents of a checkpoint in PyTorch's own file format, for paths that end in .pt.

Anybody can open such a file: `torch.load(path, weights_only=True)` gives plain dicts, texts, numbers and tensors.
Opening a stranger's is another matter: torch unpacks compressed bombs, believes how long a tensor is said to be, and
loads flipped bits in silence. So the zip is looked at first, the pickle in it goes through `plainpickle.py`, and the
tensors are read by ourselves; `checkpoint.py` holds all that to its digest.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from glassgpt.errors import CheckpointError
from glassgpt.plainpickle import NotPlainError, Reader, TensorPlan
from glassgpt.tensorfile import fill

SUFFIX = ".pt"
PARTS = {"weights": "model/", "optimizer": "optimizer/"}  # dicts of tensors, and how the names in them begin elsewhere
TEXTS = ("format", "tokenizer", "digest")
VALUES = ("model", "step", "settings", "origins", "metrics")
DTYPES = {
    "torch.FloatStorage": torch.float32, "torch.HalfStorage": torch.float16, "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64, "torch.LongStorage": torch.int64, "torch.IntStorage": torch.int32,
    "torch.ByteStorage": torch.uint8, "torch.BoolStorage": torch.bool,
}  # fmt: skip
MOST_TABLE = 6_000_000  # bytes; some seventy for each tensor: a thousand layers, with an optimizer's memory
MOST_PICKLE = 32_000_000  # bytes; nearly all of it is the tokenizer, and one of 128,000 tokens has 9 MB
ENTRY = re.compile(
    r"(?P<root>[^/]+)/(?P<name>data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment|"
    r"\.data/serialization_id)"
)
END, END_64, LOCATOR_BYTES = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), 20


def is_one(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(4) == b"PK\x03\x04"


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


def unpack(path: Path, file: BinaryIO) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `pack` was given, with its values as they are in the file; nothing is believed unseen."""
    if not is_one(file):
        raise CheckpointError(f"{path} is no checkpoint: it does not begin as a file of PyTorch does")
    size_bytes = os.fstat(file.fileno()).st_size
    try:
        _refuse_long_table(path, file, size_bytes)
        with zipfile.ZipFile(file) as archive:
            entries = _look_at_entries(path, archive.infolist(), size_bytes)
            facts, plans = _look_at_read(path, Reader(archive.read(entries["data.pkl"])).read())
            return facts, _read_tensors(path, archive, entries, plans, most_bytes=size_bytes)
    except CheckpointError:
        raise
    except NotPlainError as problem:
        what = " ".join(str(problem).split())
        raise CheckpointError(
            f"{path} is refused: it asks for {what}, and a checkpoint of glassgpt holds plain values and tensors "
            f"only; nothing of it was run"
        ) from None
    except Exception as problem:  # what is wrong in a zip comes out as any of a dozen exceptions
        raise CheckpointError(f"checkpoint {path} is damaged or cut short: {_first_line(problem)}") from None


def _refuse_long_table(path: Path, file: BinaryIO, size_bytes: int) -> None:
    """A zip's table of contents stands at its end, and its length behind it, once or (as of 4 GiB) twice."""
    file.seek(max(0, size_bytes - END.size - LOCATOR_BYTES - END_64.size))
    last = file.read()
    end = last[-END.size :]
    if len(last) < END.size + LOCATOR_BYTES or not end.startswith(b"PK\x05\x06") or END.unpack(end)[-1]:
        raise CheckpointError(f"checkpoint {path} is damaged or cut short: it does not end as a zip does")
    lengths = [END.unpack(end)[5]]
    if last[-END.size - LOCATOR_BYTES :].startswith(b"PK\x06\x07"):
        lengths.append(END_64.unpack(last[: END_64.size])[8])
    if max(lengths) > MOST_TABLE:
        raise CheckpointError(f"{path} is refused: it has more entries than any model needs")


def _look_at_entries(path: Path, listed: list[zipfile.ZipInfo], size_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by what they are called in the zip's one folder, if it is a zip that torch writes."""
    roots, entries = set(), {}
    for entry in listed:
        found = ENTRY.fullmatch(entry.filename)
        if found is None:
            raise CheckpointError(f"{path} is refused: it holds {entry.filename[:80]!r}, as no checkpoint does")
        roots.add(found["root"])
        entries[found["name"]] = entry
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise CheckpointError(f"{path} is refused: {entry.filename} is compressed, and could unpack to any size")
    if len(roots) != 1 or len(entries) != len(listed) or "data.pkl" not in entries:
        raise CheckpointError(f"{path} is refused: it is not laid out as PyTorch does")
    if sum(entry.file_size for entry in listed) > size_bytes:
        raise CheckpointError(f"{path} is refused: its entries are said to be larger than the file")
    if (size := entries["data.pkl"].file_size) > MOST_PICKLE:
        raise CheckpointError(
            f"{path} is refused: {size:,} bytes of it are no tensors, and {MOST_PICKLE:,} are allowed"
        )
    return entries


def _look_at_read(path: Path, read: object) -> tuple[dict[str, Any], dict[str, TensorPlan]]:
    if not isinstance(read, dict) or set(read) != {*TEXTS, *VALUES, *PARTS}:
        names = ", ".join(repr(name)[:40] for name in list(read)[:3]) if isinstance(read, dict) else type(read).__name__
        raise CheckpointError(f"{path} is a file of PyTorch, but no checkpoint of glassgpt (it holds {names}, ...)")
    if not all(isinstance(read[name], str) for name in TEXTS):
        raise CheckpointError(f"checkpoint {path} is damaged: its {', '.join(TEXTS)} should be texts")
    plans = {}
    for part, begins in PARTS.items():
        if not isinstance(read[part], dict):
            raise CheckpointError(f"checkpoint {path} is damaged: its {part} should be a dict of tensors")
        for name, plan in read[part].items():
            if type(name) is not str or type(plan) is not TensorPlan:
                raise CheckpointError(f"{path} is refused: {str(name)[:80]!r} is no named tensor")
            plans[f"{begins}{name}"] = plan
    return {name: read[name] for name in (*TEXTS, *VALUES)}, {name: plans[name] for name in sorted(plans)}


def _read_tensors(
    path: Path, archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], plans: dict[str, TensorPlan],
    *, most_bytes: int,
) -> dict[str, Tensor]:  # fmt: skip
    """Straight from the file to where they stay, each after a look at how long its entry is."""
    if "byteorder" in entries and archive.open(entries["byteorder"]).read(10) != b"little":
        raise CheckpointError(f"{path} is refused: its numbers are in another order of bytes than little-endian")
    total = 0
    for name, plan in plans.items():
        entry = entries.get(f"data/{plan.storage.key}")
        wanted = plan.storage.count * DTYPES[plan.storage.kind].itemsize
        if entry is None or entry.file_size != wanted:
            held = "no" if entry is None else f"{entry.file_size:,}"
            raise CheckpointError(f"checkpoint {path} is damaged: {name[:80]!r} has {held} bytes instead of {wanted:,}")
        total += wanted
    if total > most_bytes:
        raise CheckpointError(f"{path} is refused: its tensors share their numbers, and look larger than the file")
    return {name: _read_tensor(archive, entries[f"data/{plan.storage.key}"], plan) for name, plan in plans.items()}


def _read_tensor(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, plan: TensorPlan) -> Tensor:
    tensor = torch.empty(plan.storage.count, dtype=DTYPES[plan.storage.kind])
    with archive.open(entry) as source:
        if tensor.numel():
            fill(tensor, source)
        source.read(1)  # at the end, the zip's own checksum is looked at
    return tensor.reshape(plan.shape)


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:200]
