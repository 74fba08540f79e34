"""`glassgpt inspect`: read a text with the model open, and show what happens inside."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt.cli.chosen import aside, chosen_checkpoint, chosen_text, new_file
from glassgpt.cli.flags import Parser, unescape, whole
from glassgpt.cli.terminal import wants_colour
from glassgpt.errors import ConfigError, RunError
from glassgpt.files import write_text
from glassgpt.model.count import form_of
from glassgpt.runs import RunFolder, find_run
from glassgpt.wording import counted

if TYPE_CHECKING:
    from glassgpt.cli.views import Surface
    from glassgpt.recovery import Found
    from glassgpt.sampling.trace import Numbers, Trace

USAGE = "[RUN] TEXT [--layer N] [--head N] [--position N] [--json FILE] [--html FILE]"
EPILOG = r"""
examples:
  glassgpt inspect "The owl flew over the sea."       the newest run reads it
  glassgpt inspect runs/book "The owl" --layer 1 --head 2
  glassgpt inspect runs/book "The owl" --position 3   what was expected there
  glassgpt inspect "The owl" --html owl.html          a page that opens without any server
  glassgpt inspect - --json owl.json < owl.txt        all of it, for programs

Layers, heads and positions count from 1. A text that is longer than the model's context is read at its end.
"""
MOST_ALTERNATIVES = 1000
LONGEST_NAME = 200  # what is longer is a text; systems refuse to look for such a file
MAP_LEGEND = "attention: rows look, columns are looked at ({full} all, {quarter} a quarter, {little} a sixteenth)"

FACTS_LEGEND = (
    "facts of the story: the share of its attention that the best head gives to a fact's earlier mentions, where the "
    "model predicts the next; and what an even look would give them"
)
LENS_LEGEND = "what each layer would say to come next, if the model ended there (the last row is its prediction)"
NORMS_LEGEND = "the length of the tokens' vectors behind each layer: the mean, and along the text"


def run(argv: Sequence[str]) -> int:
    asked = _parser().read(argv)
    run_name, text = _run_and_text(asked["RUN"], asked["TEXT"])
    top = whole("--top", asked["top"], least=1, most=MOST_ALTERNATIVES)
    for flag in ("json", "html"):
        if asked[flag] is not None and (flag, asked[flag]) != ("json", "-"):
            new_file(f"--{flag}", asked[flag])
    if asked["json"] is not None and asked["json"] == asked["html"]:
        raise ConfigError(f"--json and --html both name {asked['json']}; give each a file of its own")
    found = chosen_checkpoint(run_name)
    from glassgpt.lab.following import described_facts
    from glassgpt.library import ready
    from glassgpt.sampling.trace import trace

    lm = ready(found.checkpoint, device=asked["device"], unknown=asked["unknown"])
    seen = trace(lm.model, lm.tokenizer, text, alternatives=top)
    if seen.tokens_left_out:
        aside(f"the text has {len(seen.tokens) + seen.tokens_left_out:,} tokens, more than the {len(seen.tokens):,} "
              f"that the model can look at: only the last {len(seen.tokens):,} are read")  # fmt: skip
    chosen = _chosen(asked, seen)
    facts = described_facts(lm.tokenizer, seen, text) if lm.tells_tales else None
    shown = _described(found, seen, facts) if asked["json"] or asked["html"] else {}
    views = views_of(found, seen, facts or [], chosen=chosen, surface=_surface())
    for line in [json.dumps(shown)] if asked["json"] == "-" else views:
        print(line)
    _save(asked, shown)
    return 0


def _parser() -> Parser:
    parser = Parser("inspect", USAGE, "Look inside a model while it reads a text.", epilog=EPILOG)
    parser.add_argument("RUN", nargs="?", help="a run folder or a checkpoint file; left out, the newest run")
    parser.add_argument("TEXT", nargs="?", help=r"what it reads, with \n for a line break; - reads standard input")
    parser.add_argument("--layer", metavar="N", help="only this layer's attention (default: all, as small maps)")
    parser.add_argument("--head", metavar="N", help="only this head; with --layer, its map is large")
    parser.add_argument("--position", metavar="N", help="what was expected at this token; tables end there")
    parser.add_argument("--top", metavar="N", default="5", help="how many alternatives (5)")
    parser.add_argument("--json", metavar="FILE", help="also all numbers, for programs; - prints them alone")
    parser.add_argument("--html", metavar="FILE", help="also a page that opens without any server")
    parser.add_argument("--unknown", metavar="{error,skip,replace}", default="error", help="unknown characters")
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    return parser


def _run_and_text(first: str | None, second: str | None) -> tuple[str | None, str]:
    """One word alone is the text, unless a run is called so: then it is the text that was forgotten."""
    if first is None:
        raise ConfigError('TEXT is missing: what the model should read, such as "Once upon a time"')
    if second is None and _is_run(first):
        raise ConfigError(f'TEXT is missing: {first} is a run; what should it read? Such as: inspect {first} "The"')
    if second is None and len(first) <= LONGEST_NAME and first.isprintable() and Path(first).is_file():
        raise ConfigError(f"{first} is a file, and TEXT is what the model reads; of a file: inspect - < {first}")
    run, text = (None, first) if second is None else (first, second)
    return run, chosen_text("-").replace("\r\n", "\n").replace("\r", "\n") if text == "-" else unescape(text)


def _is_run(word: str) -> bool:
    if len(word) > LONGEST_NAME or not word.isprintable():
        return False
    try:
        path = find_run(word)
    except RunError:
        return False
    return path.is_dir() or path.suffix in {".safetensors", ".pt"}


def _chosen(asked: dict[str, Any], seen: Trace) -> dict[str, int | None]:
    """What --layer, --head and --position name, counted from 0."""
    limits = {
        "layer": len(seen.attention),
        "head": len(seen.attention[0]) if seen.attention else 0,
        "position": len(seen.tokens),
    }
    chosen: dict[str, int | None] = dict.fromkeys(limits)
    for name, most in limits.items():
        if asked[name] is not None and most == 0:
            raise ConfigError(f"--{name} {asked[name]}: a bigram model has no attention; leave it out")
        if asked[name] is not None:
            chosen[name] = whole(f"--{name}", asked[name], least=1, most=most) - 1
    return chosen


def _surface() -> Surface:
    from glassgpt.cli.views import BLOCKS, Surface

    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
        blocks = True
    except (UnicodeEncodeError, LookupError):
        blocks = False
    return Surface(width=max(40, shutil.get_terminal_size((100, 24)).columns), colour=wants_colour(), blocks=blocks)


def views_of(
    found: Found, seen: Trace, facts: Sequence[dict[str, Any]], *, chosen: dict[str, int | None], surface: Surface
) -> Iterator[str]:
    from glassgpt.cli import views

    place = len(seen.tokens) - 1 if chosen["position"] is None else chosen["position"]
    average = "" if seen.mean_bits is None else f", {seen.mean_bits:.2f} bits each on average"
    name = f"{run_name_of(found.path)}, step {found.checkpoint.step:,}"
    yield from surface.words(f"{name}: {counted(len(seen.tokens), 'token')}{average}")
    yield ""
    yield from views.coloured_text(seen, surface)
    if chosen["position"] is None:
        yield from views.token_table(seen, surface)
    else:
        yield from views.one_position(seen, place, surface)
    if not seen.attention:
        return
    yield ""
    legend = MAP_LEGEND.format(full=surface.shade(1), quarter=surface.shade(1 / 4), little=surface.shade(1 / 16))
    yield from surface.words(legend)
    yield ""
    maps = list(_maps(seen, chosen))
    if len(maps) == 1:
        yield maps[0][0]
        yield from views.large_map(seen, maps[0][1], place, surface)
        yield ""
    else:
        for layer in dict.fromkeys(name.split(",")[0] for name, _ in maps):  # a new line of maps for each layer
            yield from views.small_maps([each for each in maps if each[0].startswith(f"{layer},")], surface)
    if facts:
        yield from surface.words(FACTS_LEGEND)
        yield from views.facts_table(facts, surface)
        yield ""
    yield from surface.words(LENS_LEGEND)
    yield from views.lens_table(seen, place, surface)
    yield ""
    yield from surface.words(NORMS_LEGEND)
    yield from views.norm_lines(seen, place, surface)


def _maps(seen: Trace, chosen: dict[str, int | None]) -> Iterator[tuple[str, Numbers]]:
    for layer, weights_HTS in enumerate(seen.attention):
        for head, weights_TS in enumerate(weights_HTS):
            if chosen["layer"] in {None, layer} and chosen["head"] in {None, head}:
                yield f"layer {layer + 1}, head {head + 1}", weights_TS


def _save(asked: dict[str, Any], shown: dict[str, Any]) -> None:
    if asked["json"] not in {None, "-"}:
        write_text(Path(asked["json"]), json.dumps(shown) + "\n")
        aside(f"all numbers are in {asked['json']}")
    if asked["html"] is not None:
        from glassgpt.lab.page import saved_page

        write_text(Path(asked["html"]), saved_page(shown))
        aside(f"open {asked['html']} in a browser; it needs nothing else")


def _described(found: Found, seen: Trace, facts: Sequence[dict[str, Any]] | None) -> dict[str, Any]:
    """The trace, and whose it is: names only, for a page is shown to others, and a path tells of a machine."""
    config = found.checkpoint.model_config
    model = {"run": run_name_of(found.path), "step": found.checkpoint.step, "form": form_of(config)}
    return {"model": model} | seen.as_json() | ({} if facts is None else {"facts": facts})


def run_name_of(file: Path) -> str:
    folder = file.resolve().parent
    return folder.name if RunFolder(folder).is_run() else file.name
