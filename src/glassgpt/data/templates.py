"""Templates: sentences with slots, as the tables of the world spell them.

    {hero:heroes}        draw a row of the table `heroes`, remember it as `hero`, write its first form
    {hero}  {hero.she}   write again what is remembered, in its first or another form
    {:foods}  {:foods.a} draw and forget; a table of scenes unfolds in place
    {n+m}  {n-m}         the number that two remembered numbers make

No chance in here: who draws, and how a text is read back, is in `grammar`.
"""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import NamedTuple, TypeAlias

Row: TypeAlias = Mapping[str, str]  # one word in all its forms; the first form has the key ""


class Copy(NamedTuple):
    """Write a remembered row again."""

    name: str
    form: str


class Sum(NamedTuple):
    """Write the number that two remembered numbers make."""

    left: str
    sign: int
    right: str


class Draw(NamedTuple):
    """Draw a row from a table of words, or unfold a scene (which has no forms to remember)."""

    name: str
    table: str
    form: str


Part: TypeAlias = str | Copy | Sum | Draw
Template: TypeAlias = tuple[Part, ...]
Facts: TypeAlias = dict[str, Row]

_SLOT = re.compile(r"\{(?:(\w+)([+-])(\w+)|(\w*)(?::(\w+))?(?:\.(\w+))?)\}")


def parse_template(source: str) -> Template:
    """The parts of a template: `"Hi {hero}."` is `("Hi ", Copy("hero", ""), ".")`."""
    parts: list[Part] = []
    end = 0
    for slot in _SLOT.finditer(source):
        parts += [source[end : slot.start()], _slot(slot)]
        end = slot.end()
    return tuple(part for part in [*parts, source[end:]] if part != "")


def _slot(slot: re.Match[str]) -> Part:
    left, sign, right, name, table, form = slot.groups()
    if left:
        return Sum(left, 1 if sign == "+" else -1, right)
    return Draw(name, table, form or "") if table else Copy(name, form or "")


_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_VALUES = {word: value for value, word in enumerate(_WORDS)}


def add(left: str, sign: int, right: str) -> str:
    """`add("two", 1, "three") == "five"`; every sum of the grammar must stay between zero and twelve."""
    return _WORDS[_VALUES[left] + sign * _VALUES[right]]


def render(template: Iterable[Part], facts: Facts) -> str:
    """A template without draws, written out."""
    return "".join(map(partial(written, facts), template))


def written(facts: Facts, part: Part) -> str:
    """What a part that is no draw writes."""
    if isinstance(part, str):
        return part
    if isinstance(part, Copy):
        return facts[part.name][part.form]
    assert isinstance(part, Sum), "a draw has no text before it is drawn"
    return add(facts[part.left][""], part.sign, facts[part.right][""])
