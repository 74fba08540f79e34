"""Good files, changed at random: blindly, or by somebody who knows the format and computes the digest anew.

`changed(name, content, rng)` gives the file's new bytes. The same dice make the same changes.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import pickletools
import random
import struct
import zipfile
from typing import Any

from accidents.hostile_cases import dumped, signed

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 64, 255, 10_000, 10**6, 2**31, 2**53, 2**63, 10**18, 10**30, 0.0, 0.5,
    -0.5, 1e-300, 1e308, float("nan"), float("inf"), "", "a", "auto", "0", "1e5", "x" * 3000, "語😀", "\ud800", "\n",
    "../../x", [], [[]], [1, 2, 3], ["a"], {}, {"a": {}}, {"a": [{"b": None}]}, [[[[[[[[1]]]]]]]], [0] * 500,
    [{}] * 200,
)  # fmt: skip
FRAGMENTS = (
    b"*a", b"&a [1]", b"[" * 40, b"{a: ", b"!!int x", b"!!python/name:os.system", b"2001-01-01", b".nan",
    b"0x" + b"f" * 400, b"'", b'"', b"- ", b"? ", b": ", b"~", b"-1", b"1e400", b"9" * 5000, b"\t", b"\x00",
    b"\xff", b"<<: {a: 1}", b"|\n  a", b"%YAML 9.9\n---\n",
)  # fmt: skip
ORDERS = (
    b"cos\nsystem\n", b"X\x05\x00\x00\x00touch\x85R", b"\x93", b"R", b"b", b"}", b"]", b"(", b"t", b"h\x00",
    b"\x81", b"o", b"0", b"2", b"\x8a\xff", b"J\xff\xff\xff\x7f", b"\x82\x01", b"Q", b".", b"\x96" + b"\xff" * 8,
)  # fmt: skip


def changed(name: str, content: bytes, rng: random.Random) -> bytes:
    ways = [blindly]
    if name.endswith(".safetensors"):
        ways += [in_header] * 3
    elif name.endswith(".pt"):
        ways += [in_pickle, in_zip, in_facts]
    elif name.endswith(".json"):
        ways += [in_json] * 2
    elif name.endswith(".yaml"):
        ways += [in_lines] * 3
    return rng.choice(ways)(content, rng)


def blindly(content: bytes, rng: random.Random) -> bytes:
    """Flipped, cut, spliced, repeated, or with something else in it."""
    spoilt = bytearray(content)
    at, length = rng.randrange(len(spoilt) or 1), rng.choice((1, 4, 8, 64, 1000))
    match rng.randrange(7):
        case 0:
            for _ in range(rng.choice((1, 1, 2, 10, 100))):
                if spoilt:
                    spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        case 1:
            del spoilt[at:]
        case 2:
            del spoilt[at : at + length]
        case 3:
            spoilt[at:at] = spoilt[rng.randrange(len(spoilt) or 1) :][:length]
        case 4:
            spoilt[at : at + length] = rng.choice((b"\0", b"\xff", b"[", b"9")) * length
        case 5:
            spoilt[at : at + 8] = struct.pack("<Q", rng.choice((0, 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)))
        case _:
            spoilt += rng.randbytes(length)
    return bytes(spoilt)


def odd(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(ODD))  # what is put in may be changed too


def in_json(content: bytes, rng: random.Random) -> bytes:
    return dumped(odd_somewhere(json.loads(content), rng))


def odd_somewhere(value: Any, rng: random.Random) -> Any:
    """The value with something in it replaced, taken out, put in, or moved."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = [value]
        while isinstance(places[-1], (dict, list)) and places[-1] and rng.random() < 0.85:
            places.append(rng.choice(list(places[-1].values() if isinstance(places[-1], dict) else places[-1])))
        homes = [place for place in places if isinstance(place, (dict, list))]
        if not homes:
            return odd(rng)
        _spoil(homes[-1], rng)
    return value


def _spoil(home: Any, rng: random.Random) -> None:
    key = rng.choice(list(home) if isinstance(home, dict) else range(len(home))) if home else None
    match rng.randrange(4):
        case 0 if key is not None:
            del home[key]
        case 1 if isinstance(home, dict):
            home[str(odd(rng))] = odd(rng)
        case 1:
            home.insert(rng.randrange(len(home) + 1), odd(rng))
        case 2 if key is not None and len(home) > 1:
            other = rng.choice(list(home) if isinstance(home, dict) else range(len(home)))
            home[key], home[other] = home[other], home[key]
        case _ if key is not None:
            old = home[key]
            near = [old - 1, old + 1, 2 * old, -old] if type(old) in {int, float} else []
            home[key] = rng.choice([*near, odd(rng), odd(rng)])


def in_header(content: bytes, rng: random.Random) -> bytes:
    """A checkpoint with another header, and its digest computed anew, so that what lies behind is reached."""
    end = 8 + int.from_bytes(content[:8], "little")
    header, tensors = json.loads(content[8:end]), content[end:]
    facts = header["__metadata__"]
    match rng.randrange(4):
        case 0:
            header = odd_somewhere(header, rng)
            if not isinstance(header.get("__metadata__"), dict):
                return blindly(content, rng)
        case 1:
            tensors = blindly(tensors, rng)
        case _:
            place = rng.choice(("model", "settings", "metrics", "origins", "tokenizer", "step"))
            inner = odd(rng) if place == "step" else odd_somewhere(json.loads(facts[place]), rng)
            facts[place] = dumped(inner).decode("utf-8", "replace")
    return signed(header, tensors)


def in_pickle(content: bytes, rng: random.Random) -> bytes:
    """Order by order: left out, doubled, moved, given another argument, or one of the enemy's put between."""
    pickle = _entry(content, "data.pkl")
    starts = [place for _, _, place in pickletools.genops(pickle) if place is not None]
    orders = [pickle[start:end] for start, end in zip(starts, [*starts[1:], len(pickle)], strict=True)]
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(orders))
        match rng.randrange(5):
            case 0:
                del orders[at]
            case 1:
                orders.insert(at, orders[rng.randrange(len(orders))])
            case 2:
                other = rng.randrange(len(orders))
                orders[at], orders[other] = orders[other], orders[at]
            case 3:
                orders.insert(at, rng.choice(ORDERS))
            case _:
                orders[at] = orders[at][:1] + blindly(orders[at][1:], rng)
    return _rezipped(content, {"data.pkl": b"".join(orders)})


def in_facts(content: bytes, rng: random.Random) -> bytes:
    """As PyTorch itself would save it with other values, under a digest of those."""
    import torch

    from glassgpt.checkpoint import _digest

    saved = torch.load(io.BytesIO(content), weights_only=True)
    place = rng.choice(("model", "settings", "metrics", "origins", "tokenizer", "step"))
    if place == "tokenizer":
        saved[place] = dumped(odd_somewhere(json.loads(saved[place]), rng)).decode("utf-8", "replace")
    else:
        saved[place] = odd_somewhere(saved[place], rng)
    facts = {n: saved[n] for n in ("format", "tokenizer", "model", "step", "settings", "origins", "metrics")}
    metadata = {n: v if isinstance(v, str) else dumped(v).decode("utf-8", "replace") for n, v in facts.items()}
    tensors = {f"model/{n}": t for n, t in saved["weights"].items()}
    tensors |= {f"optimizer/{n}": t for n, t in saved["optimizer"].items()}
    file = io.BytesIO()
    try:
        saved["digest"] = _digest(metadata, {name: tensors[name] for name in sorted(tensors)})
        torch.save(saved, file)
    except UnicodeEncodeError:  # half a character
        return blindly(content, rng)
    return file.getvalue()


def in_zip(content: bytes, rng: random.Random) -> bytes:
    """Fields of the zip's own: in the table, at its end, or what an entry is called and holds."""
    if rng.random() < 0.4:
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
        name = rng.choice(names).split("/", 1)[1]
        return _rezipped(content, {name: blindly(_entry(content, name), rng)}, compression=rng.choice((0, 0, 8)))
    spoilt, table = bytearray(content), content.index(b"PK\x01\x02")
    heads = [at for at in range(table, len(content) - 4) if content[at : at + 2] == b"PK"]
    at = rng.choice(heads) + rng.randrange(4, 46)
    field = struct.pack("<I", rng.choice((0, 1, 255, 65_535, 2**31, 2**32 - 1, len(content), rng.randrange(2**32))))
    size = rng.choice((1, 2, 4))
    spoilt[at : at + size] = field[:size]
    return bytes(spoilt)


def _entry(content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(next(entry for entry in archive.namelist() if entry.endswith("/" + name)))


def _rezipped(content: bytes, changes: dict[str, bytes], compression: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(file, "w", compression) as archive:
        for entry in source.infolist():
            archive.writestr(entry.filename, changes.get(entry.filename.split("/", 1)[1], source.read(entry)))
    return file.getvalue()


def in_lines(content: bytes, rng: random.Random) -> bytes:
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    name = lines[at].partition(b":")[0]
    match rng.randrange(4):
        case 0:
            lines[at] = name + b": " + rng.choice(FRAGMENTS)
        case 1:
            lines.insert(at, rng.choice(lines))
        case 2:
            lines[at] = name + b": " + dumped(odd(rng))
        case _:
            lines[at] = b" " * rng.randrange(4) + lines[at] + rng.choice(FRAGMENTS)
    return b"\n".join(lines)


def meta_signed(content: bytes, rng: random.Random) -> bytes:
    """meta.json with other values, laid out and signed as ours."""
    meta = odd_somewhere({n: v for n, v in json.loads(content).items() if n != "digest"}, rng)
    body = json.dumps(meta, indent=1).encode()
    digest = hashlib.sha256(body).hexdigest().encode()
    return body.removesuffix(b"}").rstrip() + b',\n "digest": "' + digest + b'"\n}\n'
