"""`glassgpt tokenizer`: make one from a text, and see what one does with words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glassgpt.cli.chosen import aside, beginning, chosen_checkpoint, chosen_text, new_file
from glassgpt.cli.flags import Parser, pick_action, whole
from glassgpt.cli.terminal import our_name, show_ids
from glassgpt.data.sources import find_source
from glassgpt.errors import ConfigError
from glassgpt.text.base import Tokenizer
from glassgpt.text.chars import Unknown
from glassgpt.text.learn import Kind, learn_tokenizer
from glassgpt.text.store import LARGEST_VOCABULARY, load_tokenizer, save_tokenizer
from glassgpt.wording import counted

USAGE = "{train | encode | decode | show} [TEXT | ID ...] [--tokenizer FILE_OR_RUN]"
EPILOG = """\
  train     make a tokenizer from --data and write it to --out
  encode    TEXT to ids
  decode    ids to text
  show      how TEXT is cut; without TEXT, the whole vocabulary

examples:
  glassgpt tokenizer train --data book.txt --vocab-size 1000
  glassgpt tokenizer train --data book.txt --kind char --out characters.json
  glassgpt tokenizer encode "Hello" --tokenizer tokenizer.json
  glassgpt tokenizer decode 20 43 50 50 53 --tokenizer runs/tales
  glassgpt tokenizer show "Once upon a time"          with the newest run's tokenizer
"""
ONLY = {
    "data": {"train"}, "out": {"train"}, "overwrite": {"train"}, "kind": {"train"}, "vocab_size": {"train"},
    "begin": {"encode", "show"}, "end": {"encode", "show"}, "tokenizer": {"encode", "decode", "show"},
}  # fmt: skip
MEASURED_CHARACTERS = 4_000_000  # enough to say how much a tokenizer compresses


def run(argv: Sequence[str]) -> int:
    parser = Parser("tokenizer", USAGE, "Make and try tokenizers.", epilog=EPILOG)
    parser.add_argument("ACTION", help="train, encode, decode or show")
    parser.add_argument("TEXT", nargs="*", help="a text (- reads standard input), or ids to decode")
    parser.add_argument("--tokenizer", metavar="FILE", help="a tokenizer.json, a run or a checkpoint")
    parser.add_argument("--unknown", metavar="{error,skip,replace}", default="error", help="unknown characters")
    parser.add_argument("--begin", action="store_true", help="encode, show: with the token before a document")
    parser.add_argument("--end", action="store_true", help="encode, show: with the token after a document")
    parser.add_argument("--data", metavar="TEXT", action="append", help="train: files, folders, patterns or names")
    parser.add_argument(
        "--kind", metavar="{bpe,char}", help="train: byte pairs, the default with --vocab-size; or char"
    )
    parser.add_argument("--vocab-size", metavar="N", help="train: how many tokens (default of bpe: 1000)")
    parser.add_argument("--out", metavar="FILE", help="train: where to write it (default: tokenizer.json)")
    parser.add_argument("--overwrite", action="store_true", help="train: replace another tokenizer that is there")
    asked = parser.read(argv)
    act = pick_action(asked["ACTION"], ACTIONS)
    for name, actions in ONLY.items():
        if asked[name] and asked["ACTION"] not in actions:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} belongs to tokenizer {' and '.join(sorted(actions))}; leave it out here")
    act(asked)
    return 0


def train(asked: dict[str, Any]) -> None:
    if not (data := [*asked["TEXT"], *(asked["data"] or [])]):
        raise ConfigError("a tokenizer is made from a text; name it: glassgpt tokenizer train --data book.txt")
    kind: Kind = asked["kind"] or ("char" if asked["vocab_size"] is None else "bpe")
    size = asked["vocab_size"]
    vocab_size = None if size is None else whole("vocab_size", size, least=1, most=LARGEST_VOCABULARY)
    out = new_file("--out", "tokenizer.json" if asked["out"] is None else asked["out"])
    if out.suffix != ".json":  # else no command would take it for a tokenizer
        raise ConfigError(f"--out {out}: a tokenizer is a file named like {out.with_suffix('.json')}")
    source = find_source(data)
    tokenizer = learn_tokenizer(source.chunks(), kind=kind, vocab_size=vocab_size, unknown=asked["unknown"])
    there = out.exists()
    if there and out.read_bytes() == tokenizer.to_json().encode("utf-8"):
        print(f"{out} is this very tokenizer already")
    elif there and not asked["overwrite"]:
        raise ConfigError(f"{out} exists already, and is another tokenizer; choose another --out, or --overwrite")
    else:
        save_tokenizer(tokenizer, out)
    start = beginning(source.chunks(), MEASURED_CHARACTERS)
    per_token = len(start) / max(1, len(tokenizer.encode_array(start)))
    why = "" if asked["kind"] else f" ({'no ' if kind == 'char' else ''}--vocab-size was given)"
    size = counted(tokenizer.vocab_size, "token")
    print(f"{out}: {size}, {per_token:.2f} characters per token of this text; {kind}{why}")
    print(f"next: {our_name()} train {' '.join(data)} --tokenizer {out}")


def encode(asked: dict[str, Any]) -> None:
    text = _text(asked)
    print(*_ids(asked, find_tokenizer(asked), text))


def decode(asked: dict[str, Any]) -> None:
    words = re.split(r"[\s,\[\]]+", _text(asked))
    wrong = next((word for word in words if word and not word.isdecimal()), None)
    if wrong is not None:
        raise ConfigError(f"{wrong!r} is no id; ids are whole numbers, such as: 20 43 50")
    print(find_tokenizer(asked).decode(int(word) for word in words if word))


def show(asked: dict[str, Any]) -> None:
    tokenizer = find_tokenizer(asked)
    if not asked["TEXT"]:
        print(f"{tokenizer.kind}, {counted(tokenizer.vocab_size, 'token')}, digest {tokenizer.digest[:12]}")
        for token_id in range(tokenizer.vocab_size):
            print(f"{token_id:>7}  '{show_ids(tokenizer, [token_id])}'")
        return
    text = _text(asked)
    ids = _ids(asked, tokenizer, text)
    print(show_ids(tokenizer, ids))
    sizes = {"character": len(text), "byte": len(text.encode())}
    print(f"{counted(len(ids), 'token')} for {', '.join(counted(size, what) for what, size in sizes.items())}")


ACTIONS = {"train": train, "encode": encode, "decode": decode, "show": show}


def _text(asked: dict[str, Any]) -> str:
    if not asked["TEXT"]:
        raise ConfigError(f"{asked['ACTION']} what? Write it behind, or - for standard input")
    return chosen_text(" ".join(asked["TEXT"]))


def _ids(asked: dict[str, Any], tokenizer: Tokenizer, text: str) -> list[int]:
    ids = tokenizer.encode(text)
    if (asked["begin"] or asked["end"]) and (tokenizer.begin_id is None or tokenizer.end_id is None):
        raise ConfigError(f"a {tokenizer.kind} tokenizer has no tokens for begin and end; leave --begin and --end out")
    before = [tokenizer.begin_id] if asked["begin"] else []
    after = [tokenizer.end_id] if asked["end"] else []
    return [token_id for token_id in (*before, *ids, *after) if token_id is not None]


def find_tokenizer(asked: dict[str, Any]) -> Tokenizer:
    """Out of a tokenizer.json, or of the checkpoint that holds one."""
    unknown: Unknown = asked["unknown"]
    named: str | None = asked["tokenizer"]
    if named is not None and named.endswith(".json"):
        return load_tokenizer(named, unknown=unknown)
    if named is None and Path("tokenizer.json").is_file():
        aside("the tokenizer: tokenizer.json")
        return load_tokenizer("tokenizer.json", unknown=unknown)
    return chosen_checkpoint(named).checkpoint.tokenizer(unknown=unknown)
