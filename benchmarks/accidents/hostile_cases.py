"""What an enemy would send: files made by hand, each against one way of reading them.

A case is a name, how the file is opened, and how it is made. What goes into them is in `hostile_headers.py`,
`hostile_pickles.py` and `hostile_texts.py`; random changes of good files are made in `hostile_changes.py`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accidents.hostile_headers import bad_facts, bad_headers, bad_tensors, large_headers
from accidents.hostile_pickles import endless_pickles, pickles
from accidents.hostile_texts import bad_configs, bad_tokenizers

Victims = dict[str, Path]


@dataclass(frozen=True)
class Case:
    name: str
    kind: str  # a key of the worker's OPENERS
    make: Callable[[Path], object]  # writes the file (or whatever it is) there


def crafted(victims: Victims, canary: Path, *, large: bool = True) -> Iterator[Case]:
    yield from odd_paths()
    yield from headers(victims, large=large)
    for name, pickle in [*pickles(str(canary)), *(endless_pickles() if large else ())]:
        yield Case(f"pickle {name}", "checkpoint", rezipped(victims["best.pt"], pickle))
    yield from zips(victims)
    yield from tokenizers(victims, small=not large)
    yield from configs(str(canary))


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def sparse(begins: bytes, size: int) -> Callable[[Path], object]:
    """A file that is large and takes no room."""

    def make(path: Path) -> None:
        path.write_bytes(begins)
        os.truncate(path, size)

    return make


def odd_paths() -> Iterator[Case]:
    for kind in ("checkpoint", "tokenizer", "config", "tokens"):
        yield Case(f"{kind}: a pipe", kind, os.mkfifo)
        yield Case(f"{kind}: a device without end", kind, lambda path: path.symlink_to("/dev/zero"))
        yield Case(f"{kind}: a folder", kind, Path.mkdir)
        yield Case(f"{kind}: nothing", kind, written(b""))
        yield Case(f"{kind}: 20 GB of nothing", kind, sparse(b"", 20 << 30))
        yield Case(f"{kind}: 20 GB of something", kind, sparse(b"Once upon a time", 20 << 30))
    yield Case("20 GB behind a zip's first bytes", "checkpoint", sparse(b"PK\x03\x04", 20 << 30))


# --- safetensors ----------------------------------------------------------------------------------------------------


def parts_of(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def dumped(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def signed(header: dict[str, Any], tensors: bytes) -> bytes:
    """A checkpoint whose digest is right, whatever it says: the enemy can compute one too."""
    facts = {name: value for name, value in header["__metadata__"].items() if name != "digest"}
    rest = {name: value for name, value in header.items() if name != "__metadata__"}
    return signed_text(dumped({"__metadata__": facts} | rest), tensors)


def signed_text(bare: bytes, tensors: bytes) -> bytes:
    digest = hashlib.sha256(bare + tensors).hexdigest().encode()
    opening = b'{"__metadata__":{'
    return framed(opening + b'"digest":"' + digest + b'",' + bare[len(opening) :], tensors)


def framed(header: bytes, tensors: bytes = b"") -> bytes:
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + tensors


def headers(victims: Victims, *, large: bool) -> Iterator[Case]:
    whole, tensors = parts_of(victims["last.safetensors"])
    for name, header in [*bad_headers(), *(large_headers() if large else ())]:
        yield Case(f"header {name}", "checkpoint", written(framed(header)))
    for name, length in (("of 2^63 bytes", 1 << 63), ("of 100 MB", 10**8), ("longer than the file", 10**6)):
        yield Case(f"header {name}", "checkpoint", written(struct.pack("<Q", length) + b"{}" * 100))
    for name, change in bad_tensors().items():
        entry = dict(whole["model/token_embedding.weight"])
        change(entry)
        yield Case(
            f"tensor {name}", "checkpoint", written(signed(whole | {"model/token_embedding.weight": entry}, tensors))
        )
    for place, name, value in bad_facts():
        inner = json.loads(whole["__metadata__"][place])
        facts = whole["__metadata__"] | {place: json.dumps(inner | {name: value} if name else value)}
        yield Case(
            f"{place}: {name}={str(value)[:30]}",
            "checkpoint",
            written(signed(whole | {"__metadata__": facts}, tensors)),
        )
    for case in tokenizers(victims, small=True):
        yield Case(f"inside: {case.name}", "checkpoint", _with_tokenizer(whole, tensors, case))
    rope = json.loads(whole["__metadata__"]["model"]) | {"max_seq_len": 1_000_000}
    facts = whole["__metadata__"] | {"model": json.dumps(rope)}
    yield Case("a context out of proportion", "checkpoint", written(signed(whole | {"__metadata__": facts}, tensors)))
    twice = dumped(whole | {"__metadata__": {n: v for n, v in whole["__metadata__"].items() if n != "digest"}})
    yield Case(
        "a tensor twice",
        "checkpoint",
        written(signed_text(twice[:-1] + b"," + twice.split(b"},", 2)[1] + b"}}", tensors)),
    )
    for form in ("[]", "7", '"x"', "null", '{"a":1}'):
        facts = whole["__metadata__"] | {"metrics": form, "step": "1e5"}
        yield Case(f"step and metrics {form}", "checkpoint", written(signed(whole | {"__metadata__": facts}, tensors)))
    yield Case(
        "a fact that is no text",
        "checkpoint",
        written(signed(whole | {"__metadata__": whole["__metadata__"] | {"more": 3}}, tensors)),
    )


def _with_tokenizer(whole: dict[str, Any], tensors: bytes, case: Case) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        case.make(path)
        text = path.read_bytes().decode("utf-8", "replace")
        path.write_bytes(signed(whole | {"__metadata__": whole["__metadata__"] | {"tokenizer": text}}, tensors))

    return make


# --- zips -----------------------------------------------------------------------------------------------------------


def rezipped(path: Path, pickle: bytes, **changes: bytes) -> Callable[[Path], object]:
    """The same zip with another pickle in it."""

    def make(target: Path) -> None:
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
            for entry in source.infolist():
                name = entry.filename
                archive.writestr(name, pickle if name.endswith("/data.pkl") else changes.get(name, source.read(entry)))

    return make


def zips(victims: Victims) -> Iterator[Case]:
    whole = victims["best.pt"].read_bytes()
    with zipfile.ZipFile(victims["best.pt"]) as archive:
        pickle = archive.read("archive/data.pkl")
        root, first = "archive", archive.read("archive/data/0")
    for name, entries in {
        "compressed bomb": [(f"{root}/data.pkl", pickle, 0), (f"{root}/data/0", b"\0" * 60_000_000, 8)],
        "bomb in place of the pickle": [(f"{root}/data.pkl", b"\0" * 60_000_000, 8)],
        "many entries": [(f"{root}/data/{n}", b"", 0) for n in range(120_000)],
        "names that lead elsewhere": [(f"{root}/data.pkl", pickle, 0), (f"{root}/data/../../x", b"", 0)],
        "code": [(f"{root}/data.pkl", pickle, 0), (f"{root}/code/x.py", b"import os", 0)],
        "no pickle": [(f"{root}/data/0", first, 0)],
        "two folders": [(f"{root}/data.pkl", pickle, 0), ("other/data/0", first, 0)],
    }.items():
        yield Case(f"zip: {name}", "checkpoint", _zip_of(entries))
    claim = pickle.replace(b"K" + bytes([len(first) // 4]) + b"t", b"J" + struct.pack("<i", 10**9) + b"t", 1)
    for name, content in (
        ("lying count", claim),
        ("lying count, shared", pickle.replace(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x001")),
    ):
        yield Case(f"zip: {name}", "checkpoint", rezipped(victims["best.pt"], content))
    end = whole.rindex(b"PK\x05\x06")
    for name, at in (("entries", 10), ("length of its table", 12), ("place of its table", 16)):
        yield Case(
            f"zip: lies about {name}", "checkpoint", written(whole[: end + at] + b"\xff\xff" + whole[end + at + 2 :])
        )
    center = whole.index(b"PK\x01\x02")
    for name, at in (("packed size", 20), ("size", 24), ("place", 42), ("kind", 10)):
        lie = whole[: center + at] + b"\xff\xff\xff\x7f" + whole[center + at + 4 :]
        yield Case(f"zip: an entry lies about its {name}", "checkpoint", written(lie))
    yield Case("zip: overlapping entries", "checkpoint", _overlapping(pickle))
    yield Case("zip: something before it", "checkpoint", written(b"PK\x03\x04" + b"\0" * 1000 + whole))
    yield Case("zip: two of them", "checkpoint", written(whole + whole))
    yield Case("zip: a comment", "checkpoint", written(whole[:-2] + b"\x05\x00hello"))
    yield Case("zip: nothing in it", "checkpoint", written(b"PK\x05\x06" + b"\0" * 18))
    yield Case("old form: a bare pickle", "checkpoint", lambda path: path.with_suffix(".pt").write_bytes(pickle))
    yield Case("old form: a tar", "checkpoint", _tar_of(pickle))
    yield Case("a bare pickle", "checkpoint", written(pickle))


def _zip_of(entries: list[tuple[str, bytes, int]]) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content, compression in entries:
                archive.writestr(name, content, compression)

    return make


def _overlapping(pickle: bytes) -> Callable[[Path], object]:
    """A thousand names for the same bytes."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle)
            archive.writestr("archive/data/0", b"\0" * 500_000)
            for number in range(1, 1000):
                entry = zipfile.ZipInfo(f"archive/data/{number}")
                entry.header_offset, entry.CRC = archive.getinfo("archive/data/0").header_offset, 0
                entry.file_size = entry.compress_size = 500_000
                archive.filelist.append(entry)

    return make


def _tar_of(pickle: bytes) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            for name in ("sys_info", "pickle", "storages", "tensors"):
                entry = tarfile.TarInfo(name)
                entry.size = len(pickle)
                archive.addfile(entry, io.BytesIO(pickle))

    return make


def tokenizers(victims: Victims, *, small: bool = False) -> Iterator[Case]:
    bpe, char = (json.loads(victims[name].read_text(encoding="utf-8")) for name in ("bpe.json", "char.json"))
    for name, content in bad_tokenizers(bpe, char, small=small):
        yield Case(f"tokenizer {name}", "tokenizer", written(content))


def configs(canary: str) -> Iterator[Case]:
    for name, content in bad_configs(canary):
        yield Case(f"configuration {name}", "config", written(content))
