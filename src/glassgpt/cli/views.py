"""A trace in characters: the text with its probabilities, small maps of attention, tables of layers.

Every view is a stream of plain lines no wider than the terminal; of long texts a view shows the part that fits and
says which. Pages for a browser are made elsewhere (`lab/page.py`); `inspect.py` puts these views in their order.
"""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from glassgpt.sampling.trace import Guess, Numbers, Told, Trace

BLOCKS, ASCII = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
NAME_WIDTH, LABEL_WIDTH = 10, 10
NARROW, WIDE = 3, 8  # a token's name in a cell of the lens: as wide as the longest, between these
MOST_ROWS = 40  # tokens in the table, unless one was asked for
SMALL_MAP = 16  # cells along a side of a small map; larger ones show the largest weight of each patch
BACKGROUNDS = ((0.5, 194), (0.2, 229), (0.05, 222), (0.01, 215), (0.0, 209))  # from expected to surprising


@dataclass(frozen=True, kw_only=True)
class Surface:
    """What is drawn on."""

    width: int
    colour: bool
    blocks: bool  # whether it can show block characters

    @property
    def shades(self) -> str:
        return BLOCKS if self.blocks else ASCII

    def shade(self, share: float) -> str:
        """The root of a share, in nine steps: of bare shares all but the largest would look like nothing."""
        return self.shades[min(8, round(8 * math.sqrt(max(0.0, share))))]

    def name(self, name: str) -> str:
        """A token, its spaces made visible; its other characters are what the stream makes of them."""
        return name.replace(" ", "␣" if self.blocks else "_") or "(nothing)"

    def fit(self, text: str, width: int) -> str:
        """Cut or padded to a width, as a terminal counts it: a Chinese character takes two places."""
        kept, used = "", 0
        for character in text:
            step = cells(character)
            if used + step > width:
                kept, used = self._with_dots(kept, width)
                break
            kept, used = kept + character, used + step
        return kept + " " * (width - used)

    def words(self, sentence: str) -> list[str]:
        """A sentence in as many lines as it takes."""
        return textwrap.wrap(sentence, self.width)

    def _with_dots(self, kept: str, width: int) -> tuple[str, int]:
        while kept and sum(map(cells, kept)) >= width:
            kept = kept[:-1]
        kept += "…" if self.blocks else "~"
        return kept, sum(map(cells, kept))


def cells(character: str) -> int:
    return 0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1


def percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 or share == 0 else "<0.1%"


def coloured_text(trace: Trace, surface: Surface) -> Iterator[str]:
    """The text itself on backgrounds of surprise; only colour can say it, so without there is nothing."""
    if not surface.colour:
        return
    pieces = []
    for token in trace.tokens:
        shown = token.name + ("\n" if token.name.endswith("⏎") else "")
        pieces.append(shown if token.probability is None else f"\033[30;48;5;{_background(token)}m{token.name}\033[0m")
        if shown != token.name and token.probability is not None:
            pieces.append("\n")
    yield "".join(pieces).rstrip("\n")
    yield ""


def _background(token: Told) -> int:
    return next(colour for least, colour in BACKGROUNDS if (token.probability or 0.0) >= least)


def token_table(trace: Trace, surface: Surface) -> Iterator[str]:
    """One line for each token: how probable it was, and what was expected."""
    first = max(0, len(trace.tokens) - MOST_ROWS)
    header = f"{'':4}  {'token':{NAME_WIDTH}} {'prob.':>6} {'bits':>6} {'rank':>5}  expected here"
    yield header[: surface.width]
    if first:
        yield from surface.words(f"(tokens {first + 1} to {len(trace.tokens)}; --position N shows any one)")
    for place, token in list(enumerate(trace.tokens, start=1))[first:]:
        name = surface.fit(surface.name(token.name), NAME_WIDTH)
        if token.probability is None or token.bits is None:
            yield f"{place:4}  {name} {'given':>6}"
            continue
        line = f"{place:4}  {name} {percent(token.probability):>6} {token.bits:6.2f} {token.rank:5}  "
        yield (line + surface.fit(_listed(token.expected, surface), max(0, surface.width - len(line) - 1))).rstrip()
    yield surface.fit(f"next  {_listed(trace.upcoming, surface)}", surface.width - 1).rstrip()


def _listed(guesses: Sequence[Guess], surface: Surface) -> str:
    return "  ".join(f"{surface.name(guess.name)} {percent(guess.probability)}" for guess in guesses)


def one_position(trace: Trace, place: int, surface: Surface) -> Iterator[str]:
    """All that was expected at one token, with bars, and what is expected behind it."""
    token = trace.tokens[place]
    if token.probability is None or token.bits is None:
        yield from surface.words(f"token {place + 1}, {surface.name(token.name)}: given, for nothing stands before it")
    else:
        facts = f"{percent(token.probability)}, {token.bits:.2f} bits, rank {token.rank}"
        yield from surface.words(f"token {place + 1}, {surface.name(token.name)}: {facts}; expected here:")
        yield from _bars(token.expected, surface)
    yield "expected behind it:"
    last = place + 1 == len(trace.tokens)
    yield from _bars(trace.upcoming if last else trace.tokens[place + 1].expected, surface)


def _bars(guesses: Sequence[Guess], surface: Surface) -> Iterator[str]:
    room = max(1, surface.width - NAME_WIDTH - 14)
    for guess in guesses:
        bar = surface.shades[-1] * round(room * guess.probability)
        name = surface.fit(surface.name(guess.name), NAME_WIDTH)
        yield f"      {name} {percent(guess.probability):>6} {bar}".rstrip()


def small_maps(maps: Sequence[tuple[str, Numbers]], surface: Surface) -> Iterator[str]:
    """Maps side by side under their names: rows look, columns are looked at."""
    drawn = [[name, *_drawn(pooled(weights_TS), surface)] for name, weights_TS in maps]
    across = max(len(line) for lines in drawn for line in lines) + 2
    fit = max(1, (surface.width - 1) // across)
    for start in range(0, len(drawn), fit):
        row = drawn[start : start + fit]
        for lines in zip(*row, strict=True):
            yield "".join(f"{line:{across}}" for line in lines).rstrip()
        yield ""


def pooled(weights_TS: Numbers) -> list[list[float]]:
    """At most `SMALL_MAP` cells a side, each the largest weight of its patch."""
    T = len(weights_TS)
    patch = -(-T // SMALL_MAP)
    starts = range(0, T, patch)
    return [[float(weights_TS[t : t + patch, s : s + patch].max()) for s in starts if s <= t] for t in starts]


def _drawn(rows: Sequence[Sequence[float]], surface: Surface) -> list[str]:
    return ["".join(map(surface.shade, row)).ljust(len(rows)) for row in rows]


def large_map(trace: Trace, weights_TS: Numbers, place: int, surface: Surface) -> Iterator[str]:
    """One head with its tokens; each row ends in what it looks at most."""
    first, last = window(place, (surface.width - LABEL_WIDTH - NAME_WIDTH - 18) // 2, len(trace.tokens))
    names = [surface.name(token.name) for token in trace.tokens]
    if last - first < len(names):
        yield from surface.words(f"(tokens {first + 1} to {last}; --position N shows others)")
    yield " " * (LABEL_WIDTH + 5) + "".join(surface.fit(name, 2) for name in names[first:last])
    for row in range(first, last):
        shades = "".join(2 * surface.shade(float(weight)) for weight in weights_TS[row, first : row + 1])
        most = int(weights_TS[row].argmax())
        looked = f"{percent(float(weights_TS[row, most])):>6} {surface.fit(names[most], NAME_WIDTH)}".rstrip()
        yield f"{row + 1:4} {surface.fit(names[row], LABEL_WIDTH)}{shades:{2 * (last - first)}} {looked}"


def facts_table(facts: Sequence[dict[str, Any]], surface: Surface) -> Iterator[str]:
    """One line for each fact; no share where it was told once, or only by chance."""
    names = [": ".join(filter(None, (fact["kind"], fact["value"]))) for fact in facts]
    room = max(12, min(max(map(len, names)), surface.width - 56))
    yield f"{'fact':{room}} {'told':>4} {'share':>6} {'even':>6}  best head"[: surface.width]
    for name, fact in zip(names, facts, strict=True):
        line = f"{surface.fit(name, room)} {len(fact['mentions']):4}"
        if best := fact["best"]:
            line += f" {percent(best['share']):>6} {percent(fact['heads']['even']):>6}"
            line += f"  layer {best['layer'] + 1}, head {best['head'] + 1}" + (", follows" if best["follows"] else "")
        yield surface.fit(line, surface.width - 1).rstrip()


def lens_table(trace: Trace, place: int, surface: Surface) -> Iterator[str]:
    """Tokens across, layers down: what each layer would say to come next, and how sure it would be."""
    spoken = [token.name for token in trace.tokens] + [guess.name for row in trace.lens for guess in row]
    name_width = min(WIDE, max(NARROW, *map(len, spoken)))
    first, last = window(place, (surface.width - LABEL_WIDTH - 1) // (name_width + 6), len(trace.tokens))
    names = (surface.fit(surface.name(token.name), name_width + 5) for token in trace.tokens[first:last])
    yield (surface.fit("after", LABEL_WIDTH) + " ".join(names)).rstrip()
    for depth, guesses in enumerate(trace.lens):
        said = (
            surface.fit(surface.name(guess.name), name_width) + f" {guess.probability:4.0%}"
            for guess in guesses[first:last]
        )
        yield surface.fit(depth_name(depth), LABEL_WIDTH) + " ".join(said)
    if last - first < len(trace.tokens):
        yield from surface.words(f"(tokens {first + 1} to {last} of {len(trace.tokens)}; --position N shows others)")


def norm_lines(trace: Trace, place: int, surface: Surface) -> Iterator[str]:
    """The mean length behind each layer, and along the text as a row of blocks."""
    first, last = window(place, surface.width - LABEL_WIDTH - 10, len(trace.tokens))
    most = max(max(row) for row in trace.norms) or 1.0
    for depth, row in enumerate(trace.norms):
        line = "".join(surface.shades[round(8 * norm / most)] for norm in row[first:last])
        yield f"{surface.fit(depth_name(depth), LABEL_WIDTH)}{sum(row) / len(row):8.2f} {line}".rstrip()
    if last - first < len(trace.tokens):
        yield from surface.words(f"(tokens {first + 1} to {last} of {len(trace.tokens)}; the mean is that of all)")


def depth_name(depth: int) -> str:
    return "embedding" if depth == 0 else f"layer {depth}"


def window(place: int, room: int, count: int) -> tuple[int, int]:
    """Which positions are shown where not all fit: those up to `place`, and more where that leaves room."""
    room = min(max(1, room), count)
    first = min(max(0, place + 1 - room), count - room)
    return first, first + room
