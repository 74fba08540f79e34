"""A grammar whose dice can be read back from what it wrote.

One program, `play`, unfolds a story. With a `Teller` for a pen, chance picks each option and the text
grows; with a `Reader`, the text that stands there picks, because no option begins another one. So a
story has one derivation, and its probability is exact. The words and sentences are in `world`, `scenes`,
`plots` and `mishaps`; what a sentence is made of, in `templates`.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeAlias

from glassgpt.data.templates import Draw, Facts, Part, Row, Sum, Template, add, parse_template, render, written


class NotATale(ValueError):
    """The text is not a story of the grammar; `place` is the first character that no rule can explain."""

    def __init__(self, text: str, place: int) -> None:
        self.place = place
        seen = text[max(0, place - 30) : place]
        found = text[place : place + 30] or "the end of the text"
        super().__init__(f"not a tale: after {seen!r} (character {place}) no rule writes {found!r}")


class Ambiguous(AssertionError):
    """Two options fit the same text: a defect of the grammar, never of the text."""


# How an option begins, up to its first draw. Plain text where nothing remembered is in it: that is faster to compare.
Head: TypeAlias = str | Template


class Pen(Protocol):
    """What `play` needs: a hand that writes, and a choice among options known by how they begin."""

    def write(self, text: str) -> object: ...
    def pick(self, heads: Sequence[Head], facts: Facts) -> int: ...


class Teller:
    """Chance picks, and the text grows."""

    def __init__(self, dice: Callable[[], float]) -> None:
        self.dice = dice
        self.nats = 0.0
        self.pieces: list[str] = []

    def write(self, text: str) -> None:
        self.pieces.append(text)

    def pick(self, heads: Sequence[Head], facts: Facts) -> int:
        self.nats += math.log(len(heads))
        return int(self.dice() * len(heads))


class Reader:
    """The text picks, and a place moves through it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.nats = 0.0

    def write(self, text: str) -> None:
        if not self.text.startswith(text, self.place):
            raise NotATale(self.text, self.place)
        self.place += len(text)

    def pick(self, heads: Sequence[Head], facts: Facts) -> int:
        text, place = self.text, self.place
        fits = [
            option
            for option, head in enumerate(heads)
            if text.startswith(head if type(head) is str else render(head, facts), place)
        ]
        if len(fits) > 1:
            raise Ambiguous(f"{[heads[option] for option in fits]} all fit {text[place : place + 60]!r}")
        if not fits:
            raise NotATale(text, place)
        self.nats += math.log(len(heads))
        return fits[0]


class Grammar:
    """Tables of words and scenes, compiled once."""

    def __init__(self, words: Mapping[str, Sequence[Row]], scenes: Mapping[str, Sequence[str]]) -> None:
        self.words = words
        self.scenes = {name: tuple(map(parse_template, options)) for name, options in scenes.items()}
        self.values: dict[str, tuple[Row, ...]] = {}  # all rows that a remembered name may stand for
        self.heads: dict[tuple[str, str], tuple[Head, ...]] = {("story", ""): self._heads("story", "")}
        for part in self.parts():
            if isinstance(part, Draw):
                self.heads[part.table, part.form] = self._heads(part.table, part.form)
                if part.name and part.table in words:
                    self.values[part.name] = tuple(words[part.table])

    def _heads(self, table: str, form: str) -> tuple[Head, ...]:
        if table in self.scenes:
            return tuple(map(_head, self.scenes[table]))
        return tuple(row[form] for row in self.words[table])

    def parts(self) -> Iterator[Part]:
        """All parts of all templates."""
        return (part for options in self.scenes.values() for option in options for part in option)

    def play(self, scene: str, pen: Pen, facts: Facts) -> None:
        """Unfold one scene with the pen; what it draws by name goes into `facts`."""
        for part in self.scenes[scene][pen.pick(self.heads[scene, ""], facts)]:
            if type(part) is str:
                pen.write(part)
            elif type(part) is not Draw:
                pen.write(written(facts, part))
            elif part.table in self.scenes:
                self.play(part.table, pen, facts)
            else:
                row = self.words[part.table][pen.pick(self.heads[part.table, part.form], facts)]
                if part.name:
                    facts[part.name] = row
                pen.write(row[part.form])

    def clashes(self) -> Iterator[str]:
        """Pairs of options that one text might fit; a sound grammar has none.

        The proof that every story has one derivation: behind what the heads of two options share, they differ,
        whatever is remembered. (It is careful: it looks no further than the first part that is not the same.)
        """
        for (table, _), heads in self.heads.items():
            for one, other in itertools.combinations(heads, 2):
                left, right = _first_difference(one, other)
                if any(a.startswith(b) or b.startswith(a) for a in self.texts(left) for b in self.texts(right)):
                    yield f"{table}: {one} and {other}"

    def texts(self, part: Part) -> set[str]:
        """All that a part may write by itself: of a scene nothing, for its own parts tell."""
        if isinstance(part, str):
            return {part}
        if isinstance(part, Sum):
            pairs = itertools.product(self.values[part.left], self.values[part.right])
            return {add(left[""], part.sign, right[""]) for left, right in pairs}
        if isinstance(part, Draw) and part.table in self.scenes:
            return set()
        rows = self.words[part.table] if isinstance(part, Draw) else self.values[part.name]
        return {row[part.form] for row in rows}

    def tell(self, dice: Callable[[], float], scene: str = "story") -> tuple[str, float]:
        """A text, and the natural logarithm of its probability."""
        pen = Teller(dice)
        self.play(scene, pen, {})
        return "".join(pen.pieces), -pen.nats

    def read(self, text: str, scene: str = "story") -> float:
        """The natural logarithm of the probability of `text`; raises NotATale."""
        pen = Reader(text)
        self.play(scene, pen, {})
        if pen.place != len(text):
            raise NotATale(text, pen.place)
        return -pen.nats


def _head(template: Template) -> Head:
    head = tuple(itertools.takewhile(lambda part: not isinstance(part, Draw), template))
    texts = [part for part in head if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(head) else head


def _first_difference(one: Head, other: Head) -> tuple[Part, Part]:
    left, right = ((head,) if isinstance(head, str) else head for head in (one, other))
    pairs = itertools.zip_longest(left, right, fillvalue="")
    return next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
