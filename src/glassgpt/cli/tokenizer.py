"""`glassgpt tokenizer`: make one from a text, and see what one does with words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glassgpt.cli.chosen import aside, chosen_checkpoint, chosen_text
from glassgpt.cli.flags import Parser, pick_action
from glassgpt.cli.terminal import show_tokens
from glassgpt.data.sources import find_source
from glassgpt.errors import ConfigError
from glassgpt.text.base import Tokenizer
from glassgpt.text.chars import CharTokenizer
from glassgpt.text.store import load_tokenizer, save_tokenizer

USAGE = "{train | encode | decode | show} [TEXT | ID ...] [--tokenizer FILE_OR_RUN]"
EPILOG = """\
  train     make a tokenizer from --data and write it to --out
  encode    TEXT to ids
  decode    ids to text
  show      how TEXT is cut; without TEXT, the whole vocabulary

examples:
  glassgpt tokenizer train --data book.txt --out tokenizer.json
  glassgpt tokenizer encode "Hello" --tokenizer tokenizer.json
  glassgpt tokenizer decode 20 43 50 50 53 --tokenizer runs/tales
  glassgpt tokenizer show "Once upon a time"          with the newest run's tokenizer
"""


def run(argv: Sequence[str]) -> int:
    parser = Parser("tokenizer", USAGE, "Make and try tokenizers.", epilog=EPILOG)
    parser.add_argument("ACTION", help="train, encode, decode or show")
    parser.add_argument("TEXT", nargs="*", help="a text (- reads standard input), or ids to decode")
    parser.add_argument("--tokenizer", metavar="FILE", help="a tokenizer.json, a run or a checkpoint")
    parser.add_argument("--unknown", metavar="{error,skip,replace}", default="error", help="unknown characters")
    parser.add_argument("--data", metavar="TEXT", action="append", help="train: files, folders, patterns or names")
    parser.add_argument("--out", metavar="FILE", default="tokenizer.json", help="train: where to write it")
    parser.add_argument("--overwrite", action="store_true", help="train: replace a file that is there")
    asked = parser.read(argv)
    pick_action(asked["ACTION"], ACTIONS)(asked)
    return 0


def train(asked: dict[str, Any]) -> None:
    out = Path(asked["out"])
    if out.exists() and not asked["overwrite"]:
        raise ConfigError(f"{out} exists already; choose another --out, or --overwrite")
    if not (data := [*asked["TEXT"], *(asked["data"] or [])]):
        raise ConfigError("a tokenizer is made from a text; name it: glassgpt tokenizer train --data book.txt")
    tokenizer = CharTokenizer.train(find_source(data).chunks())
    save_tokenizer(tokenizer, out)
    print(
        f"{out}: {tokenizer.kind}, {tokenizer.vocab_size:,} tokens; use it with: glassgpt train ... --tokenizer {out}"
    )


def encode(asked: dict[str, Any]) -> None:
    print(*find_tokenizer(asked).encode(_text(asked)))


def decode(asked: dict[str, Any]) -> None:
    words = re.split(r"[\s,\[\]]+", _text(asked))
    wrong = next((word for word in words if word and not word.isdecimal()), None)
    if wrong is not None:
        raise ConfigError(f"{wrong!r} is no id; ids are whole numbers, such as: 20 43 50")
    print(find_tokenizer(asked).decode(int(word) for word in words if word))


def show(asked: dict[str, Any]) -> None:
    tokenizer = find_tokenizer(asked)
    if not asked["TEXT"]:
        print(f"{tokenizer.kind}, {tokenizer.vocab_size:,} tokens, digest {tokenizer.digest[:12]}")
        for token_id in range(tokenizer.vocab_size):
            print(f"{token_id:>7}  {tokenizer.token_bytes(token_id).decode('utf-8', 'backslashreplace')!r}")
        return
    text = _text(asked)
    ids = tokenizer.encode(text)
    print(show_tokens(tokenizer, text))
    print(f"{len(ids):,} tokens for {len(text):,} characters, {len(text.encode()):,} bytes")


ACTIONS = {"train": train, "encode": encode, "decode": decode, "show": show}


def _text(asked: dict[str, Any]) -> str:
    if not asked["TEXT"]:
        raise ConfigError(f"{asked['ACTION']} what? Write it behind, or - for standard input")
    return chosen_text(" ".join(asked["TEXT"]))


def find_tokenizer(asked: dict[str, Any]) -> Tokenizer:
    """Out of a tokenizer.json, or of the checkpoint that holds one."""
    unknown = asked["unknown"]
    if unknown not in {"error", "skip", "replace"}:
        raise ConfigError(f"unknown={unknown!r}: it should be error, skip or replace")
    named: str | None = asked["tokenizer"]
    if named is not None and named.endswith(".json"):
        return load_tokenizer(named, unknown=unknown)
    if named is None and Path("tokenizer.json").is_file():
        aside("the tokenizer: tokenizer.json")
        return load_tokenizer("tokenizer.json", unknown=unknown)
    from glassgpt.checkpoint import load_checkpoint

    return load_checkpoint(chosen_checkpoint(named)).tokenizer(unknown=unknown)
