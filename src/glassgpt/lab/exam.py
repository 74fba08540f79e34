"""The exam: how well a model knows the world of `tales`, told by what it writes.

Every sentence is held against all shapes of the grammar, and what it says against what the story said
before: the heroes, the sums, where things are and who has them. A broken sentence costs its own mark;
marking goes on behind it. The exact verdict on a whole story is `tales.log_prob`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from glassgpt.data import tales
from glassgpt.data.templates import Copy, Draw, Facts, Part, Sum, add, parse_template

SUBJECTS = ("heroes", "sums", "places")
PEOPLE = ("hero", "friend")
# A shape that fits a sentence, what this claims by it, and what the story knows behind it.
Reading: TypeAlias = "tuple[Shape, re.Match[str], tuple[Claim, ...], Facts]"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that a sentence says again, and what the story had said before."""

    subject: str
    written: str
    expected: str

    @property
    def right(self) -> bool:
        return self.written == self.expected


@dataclass(frozen=True, kw_only=True)
class SentenceMarks:
    """One sentence: the shape it has, if any, and what it claims."""

    text: str
    shape: str | None
    misspelled: tuple[str, ...]
    claims: tuple[Claim, ...]

    def faults(self) -> Iterator[str]:
        """What is wrong, each in a few words."""
        yield from (f"no such word: {word}" for word in self.misspelled)
        if self.shape is None and not self.misspelled:
            yield "no such sentence"
        yield from (f"{one.written!r} should be {one.expected!r}" for one in self.claims if not one.right)


@dataclass(frozen=True, kw_only=True)
class StoryMarks:
    """One story, sentence by sentence; `whole` when the grammar writes exactly this."""

    text: str
    sentences: tuple[SentenceMarks, ...]
    whole: bool

    def report(self) -> str:
        """The story with what is wrong behind each sentence."""
        return "\n".join("  <- ".join([one.text, *one.faults()]) for one in self.sentences)


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Shares between 0 and 1; None where there was nothing to mark."""

    stories: int
    spelled: float | None
    parsed: float | None
    heroes: float | None
    sums: float | None
    places: float | None
    whole: float | None
    novel: float | None = None

    def report(self) -> str:
        """One line for each mark."""
        lines = [
            ("words spelled right", self.spelled),
            ("sentences that parse", self.parsed),
            ("heroes that stay the same", self.heroes),
            ("sums that add up", self.sums),
            ("things where they should be", self.places),
            ("stories without a fault", self.whole),
            ("stories not in the training text", self.novel),
        ]
        shown = (f"{name:<32} {share:7.1%}" for name, share in lines if share is not None)
        return "\n".join([f"{'stories marked':<32} {self.stories:7d}", *shown])


def mark(texts: Sequence[str], *, training_text: str | None = None) -> Marks:
    """Mark stories, each without its separator; `novel` are those standing nowhere in `training_text`."""
    marked = [mark_story(text) for text in texts]
    sentences = [sentence for story in marked for sentence in story.sentences]
    claims = [claim for sentence in sentences for claim in sentence.claims]
    rights = {subject: _share(one.right for one in claims if one.subject == subject) for subject in SUBJECTS}
    return Marks(
        stories=len(texts),
        spelled=_share(word in tales.words() for text in texts for word in tales.spelling(text)),
        parsed=_share(sentence.shape is not None for sentence in sentences),
        whole=_share(story.whole for story in marked),
        novel=None if training_text is None else _share(text not in training_text for text in texts),
        **rights,
    )


def _share(verdicts: Iterable[bool]) -> float | None:
    count = Counter(verdicts)
    return count[True] / count.total() if count else None


def mark_story(text: str) -> StoryMarks:
    """Mark one story, remembering from sentence to sentence what it said."""
    facts: Facts = {}
    marked = tuple(_mark_sentence(sentence, facts) for sentence in tales.sentences(text))
    return StoryMarks(text=text, sentences=marked, whole=_is_tale(text))


def _is_tale(text: str) -> bool:
    try:
        tales.log_prob(text)
    except tales.NotATale:
        return False
    return True


def _mark_sentence(text: str, facts: Facts) -> SentenceMarks:
    misspelled = tuple(word for word in tales.spelling(text) if word not in tales.words())
    if misspelled or not (best := best_reading(text, facts)):
        return SentenceMarks(text=text, shape=None, misspelled=misspelled, claims=())
    shape, _, claims, learned = best
    facts |= learned
    return SentenceMarks(text=text, shape=shape.source, misspelled=(), claims=claims)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A sentence of the grammar with any legal word in any slot."""

    source: str
    pattern: re.Pattern[str]
    slots: tuple[Part, ...]  # one for each group of the pattern


@cache
def shapes() -> tuple[Shape, ...]:
    return tuple(_shape(source) for source in tales.shapes())


def _shape(source: str) -> Shape:
    slots: list[Part] = []
    pattern = _pattern(source, slots)
    return Shape(source=source, pattern=re.compile(pattern), slots=tuple(slots))


def _pattern(source: str, slots: list[Part]) -> str:
    return "".join(_part_pattern(part, slots) for part in parse_template(source))


def _part_pattern(part: Part, slots: list[Part]) -> str:
    if isinstance(part, str):
        return re.escape(part)
    if isinstance(part, Draw) and part.table in tales.WORLD:
        return "(?:" + "|".join(_pattern(phrase, slots) for phrase in tales.WORLD[part.table]) + ")"
    slots.append(part)
    longest_first = sorted(_texts(part), key=len, reverse=True)
    return "(" + "|".join(map(re.escape, longest_first)) + ")"


def _texts(slot: Draw | Copy | Sum) -> set[str]:
    """What may stand in a slot, right or wrong: where something is told again, all of its subject."""
    world = tales.grammar()
    if isinstance(slot, Draw):
        return world.texts(slot)
    subject, form = ("sums", "") if isinstance(slot, Sum) else (_subject(slot.name), slot.form)
    told = {row[form] for name, rows in world.values.items() if _subject(name) == subject for row in rows}
    return told.union(*map(world.texts, sums())) if subject == "sums" else told


def _fitting(text: str) -> Iterator[tuple[Shape, re.Match[str]]]:
    for shape in shapes():
        if match := shape.pattern.fullmatch(text):
            yield shape, match


def best_reading(text: str, facts: Facts) -> "Reading | None":
    """Where two shapes fit, as "She slept." might for hero and for friend, the one that agrees best is meant."""
    readings = (_read(shape, match, facts) for shape, match in _fitting(text))
    return min(readings, key=lambda reading: sum(not claim.right for claim in reading[2]), default=None)


def _read(shape: Shape, match: re.Match[str], facts: Facts) -> Reading:
    known = dict(facts)
    said = [(slot, text) for slot, text in zip(shape.slots, match.groups(), strict=True) if text is not None]
    claims = [claim for slot, text in said if (claim := claim_of(slot, text, known))]
    return shape, match, tuple(claims), known


def claim_of(slot: Part, text: str, known: Facts) -> Claim | None:
    """Compare a slot with what is known; what is new becomes known."""
    if isinstance(slot, Sum):
        if slot.left not in known or slot.right not in known:
            return None
        total = add(known[slot.left][""], slot.sign, known[slot.right][""])
        return Claim(subject="sums", written=text, expected=total)
    assert not isinstance(slot, str)
    if not slot.name:
        return None
    told_again = not isinstance(slot, Draw) or slot.name in PEOPLE
    if told_again and slot.name in known:
        return Claim(subject=_subject(slot.name), written=text, expected=known[slot.name][slot.form])
    rows = [row for row in tales.grammar().values[slot.name] if row[slot.form] == text]
    if len(rows) == 1:  # "she" alone does not tell who
        known[slot.name] = rows[0]
    return None


def _subject(name: str) -> str:
    if name in PEOPLE:
        return "heroes"
    return "sums" if any(name in (one.left, one.right) for one in sums()) else "places"


@cache
def sums() -> tuple[Sum, ...]:
    return tuple(part for part in tales.grammar().parts() if isinstance(part, Sum))
