"""`glassgpt data`: which texts have a name, what a text looks like, and its preparation ahead of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from glassgpt import settings
from glassgpt.cli.chosen import beginning
from glassgpt.cli.flags import Parser, only, pick_action
from glassgpt.cli.terminal import announce, bytes_for_people, show_tokens
from glassgpt.config import DataConfig
from glassgpt.data.prepare import Prepared, prepare
from glassgpt.data.sources import find_source, list_named

USAGE = "{list | prepare | show} [DATA ...]"
EPILOG = """\
  list      the texts that have a name
  show      the first lines of a text, its numbers, and how the tokenizer cuts it
  prepare   make the token files now; training finds them ready

examples:
  glassgpt data list
  glassgpt data show book.txt
  glassgpt data prepare tinyshakespeare
"""
FIRST_LINES, SHOWN_CHARACTERS = 8, 1000
COUNTED_CHARACTERS, COMMON = 1_000_000, 12  # the beginning tells which characters are frequent


def run(argv: Sequence[str]) -> int:
    parser = Parser("data", USAGE, "Look at texts and prepare them.", epilog=EPILOG)
    parser.add_argument("ACTION", help="list, prepare or show")
    parser.add_argument("DATA", nargs="*", help="files, folders, patterns, or names (default: tales)")
    group = parser.add_argument_group("the text")
    for _, name, info in settings.fields():
        if name in DataConfig.model_fields:
            parser.add_field(group, name, info)
    asked = parser.read(argv)
    action: Callable[[DataConfig], None] = pick_action(asked["ACTION"], ACTIONS)
    named = [*asked["DATA"], *asked.get("data", [])]
    values: dict[str, Any] = only(asked, DataConfig.model_fields) | ({"data": named} if named else {})
    action(settings.resolve(flags=values).config.data)
    return 0


def list_texts(_: DataConfig) -> None:
    for text in list_named():
        print(f"{text.name:18} {text.size:>12}   {text.what}")
    print("\nor any file, folder or pattern of your own: glassgpt train book.txt")


def prepare_text(config: DataConfig) -> None:
    prepared = prepare(config, progress=announce())
    _print_numbers(prepared)
    print(f"lies in    {prepared.folder}")


def show_text(config: DataConfig) -> None:
    source = find_source(config.data, val_fraction=config.val_fraction)
    start = beginning(source.chunks(), COUNTED_CHARACTERS)
    for line in start[:SHOWN_CHARACTERS].splitlines()[:FIRST_LINES]:
        print(f"    {line[:110]}")
    prepared = prepare(config, progress=announce())
    print()
    _print_numbers(prepared)
    common = "  ".join(f"{character!r} {share:.1%}" for character, share in _shares(Counter(start)).items())
    print(f"characters {common} ...")
    first = next((line for line in start[:SHOWN_CHARACTERS].splitlines() if line.strip()), start)[:60]
    print(f"cut        {show_tokens(prepared.tokenizer, first)}")
    print(f"ids        {' '.join(map(str, prepared.tokenizer.encode(first)[:20]))} ...")


ACTIONS = {"list": list_texts, "prepare": prepare_text, "show": show_text}


def _shares(counts: Counter[str]) -> dict[str, float]:
    return {character: count / counts.total() for character, count in counts.most_common(COMMON)}


def _print_numbers(prepared: Prepared) -> None:
    meta = prepared.meta
    size, characters = meta.train.bytes + meta.val.bytes, meta.train.characters + meta.val.characters
    print(f"text       {prepared.source.name}: {bytes_for_people(size)}, {characters:,} characters")
    print(f"tokenizer  {prepared.tokenizer.kind}, {meta.vocab_size:,} different tokens")
    print(f"tokens     {meta.train.tokens:,} to learn from, {meta.val.tokens:,} held out")
