"""Files from strangers, opened with care: ordinary ones only, no larger than they may be, and JSON that stays small.

Two bytes of JSON can become a hundred in memory (`[[],[],...`), so what the values would cost is reckoned from the
text, quickly, before any of them is made. What the values mean is for others: `text/store.py` and `checkpoint.py`
for JSON, `yamlfile.py` for YAML.
"""

from __future__ import annotations

import errno
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MOST_COST = 60 << 20  # bytes of memory: a vocabulary of 128,000 tokens needs two thirds of it
MOST_DEPTH = 64  # our own files nest six deep
BLOCK = 1 << 18
QUOTE = ord('"')
# What CPython takes for each: an object, its place in the one around it, and the room that grows in advance.
LIST, TABLE, TEXT, PLACE = 96, 240, 56, 48
HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")


class NotJsonError(ValueError):
    """Why not, in a few words."""


def open_ordinary(path: Path) -> BinaryIO:
    """Open for reading. A pipe would wait for ever, and a device never ends."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, and no file", str(path))
    return path.open("rb")


def read_limited(path: Path, most_bytes: int) -> bytes:
    """The whole file; an OSError, before anything is read, when it is larger than any that is meant."""
    with open_ordinary(path) as file:
        content = file.read(most_bytes + 1) if (size := path.stat().st_size) <= most_bytes else b""
    if max(size, len(content)) > most_bytes:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, and {most_bytes:,} are the most", str(path))
    return content


def parse(content: bytes, *, allow_nan: bool = False) -> Any:
    """The values; a NotJsonError when there are none, or when they would take too much memory."""
    cost, depth = reckon(content)
    if depth > MOST_DEPTH:
        raise NotJsonError("nested too deeply")
    if cost > MOST_COST:
        raise NotJsonError(f"its values could take {cost >> 20:,} MiB of memory, and {MOST_COST >> 20} are the most")
    hooks: dict[str, Any] = {} if allow_nan else {"parse_constant": _refuse_nan}
    try:
        value = json.loads(content.decode(), object_pairs_hook=_each_name_once, **hooks)
        if HALF_CHARACTER.search(content):
            json.dumps(value, ensure_ascii=False).encode()
    except NotJsonError:
        raise
    except UnicodeDecodeError as problem:
        raise NotJsonError(f"not UTF-8 at byte {problem.start}") from None
    except UnicodeEncodeError:
        raise NotJsonError("it holds half a character (a lone surrogate)") from None
    except json.JSONDecodeError as problem:
        raise NotJsonError(f"not JSON at line {problem.lineno} ({problem.msg})") from None
    except ValueError:  # of thousands of digits
        raise NotJsonError("it holds a number that is too long") from None
    return value


def reckon(content: bytes) -> tuple[int, int]:
    """How many bytes of memory the values would take, at most, and how deeply they nest."""
    counts, held, level, deepest = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64), 0, 0
    for outside, every in _outside_of_texts(content):
        counts += np.bincount(outside, minlength=256)
        held += np.bincount(every, minlength=256)
        steps = np.isin(outside, (ord("["), ord("{"))).astype(np.int32) - np.isin(outside, (ord("]"), ord("}")))
        levels = level + np.cumsum(steps)
        deepest, level = max(deepest, int(levels.max(initial=0))), int(levels[-1]) if len(levels) else level
    characters = len(content) - int(held[0x80:0xC0].sum())
    width = 4 if held[0xF0:].any() else 2 if held[0xC4:].any() else 1  # of the one widest character, for all
    in_texts = characters - int(counts.sum())
    cost = width * characters + (4 if b"\\u" in content else width) * in_texts
    cost += LIST * int(counts[ord("[")]) + TABLE * int(counts[ord("{")]) + TEXT * (int(counts[QUOTE]))
    return cost + PLACE * int(counts[ord(",")]), deepest


def _outside_of_texts(content: bytes) -> Iterator[tuple[Any, Any]]:
    """Block after block: the bytes that stand in no quotes (of the quotes, the closing ones), and all of them."""
    start, inside = 0, 0
    while start < len(content):
        block = content[start : start + BLOCK]
        if (len(block) - len(block.rstrip(b"\\"))) % 2:  # what is escaped belongs to it
            block = content[start : start + len(block) + 1]
        start += len(block)
        codes = np.frombuffer(block.replace(b"\\\\", b"__").replace(b'\\"', b"__"), dtype=np.uint8)
        quoted = (np.cumsum(codes == QUOTE, dtype=np.uint8) + np.uint8(inside)) & 1  # 256 is even: it may overflow
        inside = int(quoted[-1])
        yield codes[quoted == 0], codes


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise NotJsonError(f"{twice[:40]!r} stands there twice")
    return table


def _refuse_nan(name: str) -> None:
    raise NotJsonError(f"{name} is no number")
