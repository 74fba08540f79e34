"""What the terminal can do, and numbers and tokens as people like to see them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from glassgpt.text.base import Tokenizer

TOKEN_COLOURS = (102, 103, 104, 105, 106)  # light backgrounds, one after another


def wants_colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def dim(text: str) -> str:
    return f"\033[2m{text}\033[0m" if text and wants_colour() else text


def our_name() -> str:
    """The command as it can be typed here: `make train` runs it from a .venv that is not on the PATH."""
    if shutil.which("glassgpt"):
        return "glassgpt"
    called = Path(sys.argv[0])
    if called.stem != "glassgpt":
        return f"{Path(sys.executable).name} -m glassgpt"
    inside = called.is_absolute() and called.is_relative_to(Path.cwd())
    return str(called.relative_to(Path.cwd()) if inside else called)


def announce() -> Callable[[str, float], None]:
    """Progress on one line of a terminal, rewritten; in a file it would only be noise."""

    def tell(what: str, share: float) -> None:
        if sys.stderr.isatty():
            print(f"\r{what} {share:.0%} ", end="\r\033[K" if share >= 1 else "", file=sys.stderr, flush=True)

    return tell


def bytes_for_people(count: int) -> str:
    """`bytes_for_people(4_000_000) == "4.0 MB"`."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{count} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def show_tokens(tokenizer: Tokenizer, text: str) -> str:
    """The text with its cuts: coloured on a terminal, with bars elsewhere."""
    return show_ids(tokenizer, tokenizer.encode(text))


def show_ids(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """The tokens one behind the other; special ones stand out, a piece of a character shows its bytes."""
    coloured = wants_colour()
    pieces: list[str] = []
    for place, token_id in enumerate(ids):
        name = tokenizer.name_of(token_id)
        style = "1;7" if token_id in {tokenizer.begin_id, tokenizer.end_id} else f"30;{TOKEN_COLOURS[place % 5]}"
        pieces.append(f"\033[{style}m{name}\033[0m" if coloured else name)
    return ("" if coloured else "|").join(pieces)
