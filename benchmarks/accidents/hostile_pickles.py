"""What an enemy would put into the pickle of a .pt file, written order by order, as nothing of Python would write it.

Each of the first would leave a file behind, if it were ever run; the others would take all memory, or all time.
`hostile_cases.py` puts them into a file that is otherwise good.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

DEEP = 100_000


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def pickles(canary: str) -> Iterator[tuple[str, bytes]]:
    touch, write = text(f"touch {canary}"), text(f"open({canary!r}, 'w')")
    yield "os.system", b"\x80\x02cos\nsystem\n" + touch + b"\x85R."
    yield "posix.system", b"\x80\x02cposix\nsystem\n" + touch + b"\x85R."
    yield "eval", b"\x80\x02c__builtin__\neval\n" + write + b"\x85R."
    yield "exec", b"\x80\x02cbuiltins\nexec\n" + write + b"\x85R."
    yield "STACK_GLOBAL", b"\x80\x04\x8c\x02os\x8c\x06system\x93" + touch + b"\x85R."
    yield "INST", b"\x80\x02(" + touch + b"ios\nsystem\n."
    yield "OBJ", b"\x80\x02(cos\nsystem\n" + touch + b"o."
    yield "NEWOBJ", b"\x80\x02csubprocess\nPopen\n" + touch + b"\x85\x81."
    for code in (b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"):
        yield f"EXT {code[:1].hex()}", b"\x80\x02" + code + touch + b"\x85R."
    yield (
        "a chain of calls",
        b"\x80\x02c__builtin__\ngetattr\nc__builtin__\n__import__\n"
        + text("os")
        + b"\x85R"
        + text("system")
        + b"\x86R"
        + touch
        + b"\x85R.",
    )
    yield "a name with a dot", b"\x80\x02ctorch\nos.system\n" + touch + b"\x85R."
    yield "torch's own opener", b"\x80\x02ctorch.hub\nload\n" + touch + b"\x85R."
    yield "a table with items to call", b"\x80\x02ccollections\nOrderedDict\n](" + touch + b"e\x85R."
    yield "a tensor of nothing", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NNNNNNtR."
    yield "a storage of 10^12", b"\x80\x02ctorch\nFloatStorage\n\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85R."
    yield (
        "bytearray of 10^12",
        b"\x80\x02c__builtin__\nbytearray\n\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85R.",
    )
    yield "BUILD on a name", b"\x80\x02cos\nsystem\n}" + text("x") + touch + b"sb."
    yield (
        "lists in lists, doubled",
        b"\x80\x02]q\x00" + b"".join(b"](h%ch%ceq%c" % (n, n, n + 1) for n in range(60)) + b".",
    )
    yield (
        "tuples in tuples, doubled",
        b"\x80\x02)q\x00" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60)) + b".",
    )
    yield "a list in itself", b"\x80\x02]q\x00h\x00a."
    for name, order in (
        ("LONG4", b"\x8b\xff\xff\xff\x7f"),
        ("LONG1", b"\x8a\xff"),
        ("BYTEARRAY8", b"\x96" + b"\xff" * 7 + b"\x3f"),
        ("BINBYTES8", b"\x8e" + b"\xff" * 7 + b"\x3f"),
        ("BINUNICODE8", b"\x8d" + b"\xff" * 7 + b"\x3f"),
        ("BINUNICODE", b"X\xff\xff\xff\xff"),
        ("FRAME", b"\x95" + b"\xff" * 7 + b"\x3f"),
        ("LONG", b"L" + b"9" * 1_000_000 + b"L\n"),
        ("BINPUT", b"Nr\xff\xff\xff\xff"),
        ("a long number", b"\x8b" + struct.pack("<i", 2_000_000) + b"\x7f" * 2_000_000),
    ):
        yield f"{name} of any size", b"\x80\x02" + order + b"."
    yield "nothing", b""
    yield "no end", b"\x80\x02}"
    yield "an end too many", b"\x80\x02.."


def endless_pickles() -> Iterator[tuple[str, bytes]]:
    yield "one text again and again", b"\x80\x02](" + text("x" * 100_000) + b"q\x00" + b"h\x00" * 200_000 + b"e."
    yield (
        "a memo of a million",
        b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", n * 4001) for n in range(1_000_000)) + b".",
    )
    yield "a memo in order", b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", n) for n in range(1_000_000)) + b"."
    for name, order in (
        ("lists", b"]"),
        ("tables", b"}"),
        ("numbers", b"J\x01\x02\x03\x04"),
        ("marks", b"("),
        ("ones", b"K\x07"),
        ("pairs", b"K\x07K\x07\x86"),
    ):
        yield f"{name} without end", b"\x80\x02](" + order * 3_000_000 + b"e."
    yield "lists in lists, deeply", b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b"."
    yield "tuples in tuples, deeply", b"\x80\x02)" + b"\x85" * 700_000 + b"."
