"""`glassgpt data`: which texts have a name, what a text looks like, and its preparation ahead of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from glassgpt import settings
from glassgpt.cli.chosen import aside, beginning
from glassgpt.cli.flags import Parser, only, pick_action
from glassgpt.cli.terminal import announce, bytes_for_people, show_tokens
from glassgpt.config import DataConfig, RunConfig
from glassgpt.data.prepare import Prepared, prepare
from glassgpt.data.sources import list_named

USAGE = "{list | prepare | show | export} [DATA ...]"
EPILOG = """\
  list      the texts that have a name
  show      the first lines of a text, its numbers, and how the tokenizer cuts it
  prepare   make the token files now; training finds them ready
  export    write input.txt, train.pt, val.pt and vocab.pt to --out, for programs of your own
            (left out, DATA is tinyshakespeare, or tales when that cannot be fetched)

examples:
  glassgpt data list
  glassgpt data show book.txt
  glassgpt data prepare tinyshakespeare
  glassgpt data prepare hf:roneneldan/TinyStories --vocab-size 4096
  glassgpt data export
"""
FIRST_LINES, SHOWN_CHARACTERS = 8, 1000
COUNTED_CHARACTERS, COMMON = 1_000_000, 12  # the beginning tells which characters are frequent
EXPORTED = {"data": ["tinyshakespeare"], "fallback": ["tales"]}  # when no text is named


def run(argv: Sequence[str]) -> int:
    parser = Parser("data", USAGE, "Look at texts and prepare them.", epilog=EPILOG)
    parser.add_argument("ACTION", help="list, prepare, show or export")
    parser.add_argument("DATA", nargs="*", help="files, folders, patterns, or names (default: tales)")
    parser.add_argument("--out", metavar="DIR", default="data", help="export: where to write the files (default: data)")
    group = parser.add_argument_group("the text")
    names = [*DataConfig.model_fields, "vocab_size"]
    for _, name, info in settings.fields():
        if name in names:
            parser.add_field(group, name, info)
    asked = parser.read(argv)
    action: Callable[[RunConfig, Path], None] = pick_action(asked["ACTION"], ACTIONS)
    named = [*asked["DATA"], *asked.get("data", [])]
    values: dict[str, Any] = only(asked, names) | ({"data": named} if named else {})
    if action is export_text and not named:
        values = EXPORTED | values
    action(settings.resolve(flags=values).config, Path(asked["out"]).expanduser())
    return 0


def list_texts(_: RunConfig, __: Path) -> None:
    for text in list_named():
        print(f"{text.name:18} {text.size:>12}   {text.what}")
    print("\nor any file, folder or pattern of your own: glassgpt train book.txt")


def prepare_text(config: RunConfig, _: Path) -> None:
    prepared = _prepared(config)
    _print_numbers(prepared)
    print(f"lies in    {prepared.folder}")


def show_text(config: RunConfig, _: Path) -> None:
    prepared = _prepared(config)
    start = beginning(prepared.source.chunks(), COUNTED_CHARACTERS)
    for line in start[:SHOWN_CHARACTERS].splitlines()[:FIRST_LINES]:
        print(f"    {line[:110]}")
    print()
    _print_numbers(prepared)
    common = "  ".join(f"{character!r} {share:.1%}" for character, share in _shares(Counter(start)).items())
    print(f"characters {common} ...")
    first = next((line for line in start[:SHOWN_CHARACTERS].splitlines() if line.strip()), start)[:60]
    print(f"cut        {show_tokens(prepared.tokenizer, first)}")
    print(f"ids        {' '.join(map(str, prepared.tokenizer.encode(first)[:20]))} ...")


def export_text(config: RunConfig, folder: Path) -> None:
    from glassgpt.data.export import export

    prepared = _prepared(config)
    for left in export(prepared, folder):
        size = bytes_for_people(left.path.stat().st_size)
        print(f"{left.path!s:20} {size:>10}   {left.what}{' (replaced)' if left.replaced else ''}", flush=True)


ACTIONS = {"list": list_texts, "prepare": prepare_text, "show": show_text, "export": export_text}


def _prepared(config: RunConfig) -> Prepared:
    prepared = prepare(config.data, vocab_size=config.model.vocab_size, progress=announce())
    if prepared.source.note:
        aside(prepared.source.note)
    return prepared


def _shares(counts: Counter[str]) -> dict[str, float]:
    return {character: count / counts.total() for character, count in counts.most_common(COMMON)}


def _print_numbers(prepared: Prepared) -> None:
    meta = prepared.meta
    size, characters = meta.train.bytes + meta.val.bytes, meta.train.characters + meta.val.characters
    print(f"text       {prepared.source.name}: {bytes_for_people(size)}, {characters:,} characters")
    print(f"tokenizer  {prepared.tokenizer.kind}, {meta.vocab_size:,} different tokens")
    print(f"tokens     {meta.train.tokens:,} to learn from, {meta.val.tokens:,} held out")
