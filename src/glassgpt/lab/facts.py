"""The facts of a story: whom it is about, what it names and counts, and each place where it tells them again.

The exam's shapes say which slot of a sentence holds the hero, the friend, a thing or a number; here each slot keeps
its place in the text. What no shape fits is passed over, so a text that is no tale has no facts. Where a model's heads
look while a fact is told again is in `following`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

import regex

from glassgpt.data import tales
from glassgpt.data.templates import Draw, Facts, Part, Sum, add
from glassgpt.lab import exam

SUMS = {1: "the sum", -1: "what is left"}
SIGNS = {1: "+", -1: "-"}


@dataclass(frozen=True, kw_only=True)
class Mention:
    """Some characters of the text that tell a fact: its name, a pronoun, a number of a sum."""

    text: str
    start: int
    end: int
    again: bool  # the grammar copies it from what the story said before, and leaves nothing to chance
    right: bool  # it agrees with what the story said before


@dataclass(kw_only=True)
class Fact:
    """Something that a story remembers; `kind` and `value` as people may read them."""

    kind: str
    value: str = ""  # nothing where only a pronoun tells of it
    mentions: list[Mention] = field(default_factory=list)


def facts_of(text: str) -> list[Fact]:
    """The facts in the order in which they come up; of several stories in a text, each has its own."""
    found: list[Fact] = []
    start = 0
    for story in text.split(tales.SEPARATOR):
        found += _Story().read(story, start, breaks_off=start + len(story) == len(text))
        start += len(story) + len(tales.SEPARATOR)
    return found


class _Story:
    """What one story has told so far."""

    def __init__(self) -> None:
        self.known: Facts = {}
        self.facts: list[Fact] = []
        self.current: dict[str, Fact] = {}  # by the name that the grammar remembers it by; a sum has two
        self.drawn: set[str] = set()

    def read(self, story: str, offset: int, *, breaks_off: bool) -> list[Fact]:
        end = 0
        for sentence in tales.sentences(story):
            start = story.index(sentence, end)
            end = start + len(sentence)
            for slot, first, last in self._slots(sentence, breaks_off=breaks_off and not story[end:].strip()):
                self._note(slot, sentence[first:last], offset + start + first)
        return [fact for fact in self.facts if any(one.right for one in fact.mentions)]

    def _slots(self, sentence: str, *, breaks_off: bool) -> list[Place]:
        best = exam.best_reading(sentence, self.known)
        if best is None:
            return _agreed(sentence) if breaks_off else []
        shape, match, _, _ = best
        return _places(shape.slots, match)

    def _note(self, slot: Part, text: str, start: int) -> None:
        """Keep what stands in a slot; what the grammar draws and forgets is no fact."""
        assert not isinstance(slot, str)
        name = slot.left if isinstance(slot, Sum) else slot.name
        if not name:
            return
        again = not isinstance(slot, Draw) or (name in exam.PEOPLE and name in self.drawn)
        if not again:
            self._begin(name)
        claim = exam.claim_of(slot, text, self.known)
        right = claim.right if claim else _may_stand(slot, text)
        fact = self._fact(name)
        fact.mentions.append(Mention(text=text, start=start, end=start + len(text), again=again, right=right))
        fact.value = self._value(name)

    def _begin(self, name: str) -> None:
        """A model may begin the same adventure twice in a story: then it is another thing."""
        if name in self.drawn:
            for one in _members(name):
                self.current.pop(one, None)
                self.known.pop(one, None)
            self.drawn -= set(_members(name))
        self.drawn.add(name)

    def _fact(self, name: str) -> Fact:
        if name not in self.current:
            total = _sum_with(name)
            self.facts.append(Fact(kind=SUMS[total.sign] if total else f"the {name}"))
            self.current |= dict.fromkeys(_members(name), self.facts[-1])
        return self.current[name]

    def _value(self, name: str) -> str:
        numbers = [self.known[one][""] for one in _members(name) if one in self.known]
        total = _sum_with(name)
        if total is None or len(numbers) < 2:
            return "".join(numbers)
        return f"{numbers[0]} {SIGNS[total.sign]} {numbers[1]} = {add(numbers[0], total.sign, numbers[1])}"


Place = tuple[Part, int, int]  # a slot, and where in the sentence it begins and ends


def _places(slots: tuple[Part, ...], match: re.Match[str] | regex.Match[str]) -> list[Place]:
    spans = ((slot, *match.span(group)) for group, slot in enumerate(slots, start=1))
    return [place for place in spans if place[1] >= 0]


def _agreed(sentence: str) -> list[Place]:
    """Of a sentence that breaks off: the slots in which all agree that it may yet become."""
    matches = [(slots, pattern.fullmatch(sentence, partial=True)) for slots, pattern in _beginnings()]
    readings = [_places(slots, match) for slots, match in matches if match]
    return [place for place in readings[0] if all(place in other for other in readings)] if readings else []


@cache
def _beginnings() -> tuple[tuple[tuple[Part, ...], regex.Pattern[str]], ...]:
    """The shapes for an engine that also knows what may yet fit."""
    return tuple((shape.slots, regex.compile(shape.pattern.pattern)) for shape in exam.shapes())


def _may_stand(slot: Part, text: str) -> bool:
    """Whether the grammar may write this here at all: the exam's shapes take a hero's name for a friend's too."""
    return isinstance(slot, Sum) or text in tales.grammar().texts(slot)


def _members(name: str) -> tuple[str, ...]:
    """The names that make one fact: two numbers and what they make are one."""
    total = _sum_with(name)
    return (total.left, total.right) if total else (name,)


def _sum_with(name: str) -> Sum | None:
    return next((one for one in exam.sums() if name in (one.left, one.right)), None)
