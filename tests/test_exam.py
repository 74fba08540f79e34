"""The exam: a perfect story gets full marks, and each kind of damage costs its own."""

import dataclasses
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgpt.data import tales
from glassgpt.lab import exam

SEED = 11
SAMPLE = [tales.story(SEED, index) for index in range(150)]


def lowered(text: str) -> set[str]:
    """The marks that a story does not get in full."""
    marks = dataclasses.asdict(exam.mark([text]))
    return {name for name, share in marks.items() if name != "stories" and share is not None and share < 1}


def claimed(subject: str) -> list[tuple[str, exam.SentenceMarks, exam.Claim]]:
    """All places of the sample where something is said again."""
    stories = ((text, sentence) for text in SAMPLE for sentence in exam.mark_story(text).sentences)
    return [(text, one, claim) for text, one in stories for claim in one.claims if claim.subject == subject]


def replace_last(text: str, old: str, new: str) -> str:
    before, found, after = text.rpartition(old)
    assert found
    return before + new + after


def replace_first_word(text: str, old: str, new: str) -> str:
    changed, count = re.subn(rf"\b{old}\b", new, text, count=1)  # the "ant" of Alma, not of "elegant"
    assert count
    return changed


def another(written: str) -> str:
    """Another word of the same table, in the same form."""
    for rows in tales.grammar().values.values():
        for form in rows[0]:
            if written in (texts := [row[form] for row in rows]):
                return texts[texts.index(written) - 1]
    raise AssertionError(f"{written!r} stands in no table")


@settings(deadline=None)  # the first example compiles all shapes
@given(st.integers(0, 2**32))
def test_a_perfect_story_gets_full_marks(index: int) -> None:
    text = tales.story(SEED, index)
    assert lowered(text) == set()
    assert exam.mark_story(text).whole
    assert not any(fault for sentence in exam.mark_story(text).sentences for fault in sentence.faults())


def test_the_sample_has_something_to_mark_in_every_subject() -> None:
    marks = exam.mark(SAMPLE)
    assert (marks.heroes, marks.sums, marks.places) == (1.0, 1.0, 1.0)
    assert all(len(claimed(subject)) > 50 for subject in exam.SUBJECTS)


@pytest.mark.parametrize("text", SAMPLE[:20])
def test_a_misspelled_word_costs_spelling_and_its_sentence(text: str) -> None:
    damaged = replace_last(text, " ", " x")
    assert {"spelled", "parsed", "whole"} == lowered(damaged)


@pytest.mark.parametrize("text", SAMPLE[:20])
def test_a_broken_sentence_of_right_words_costs_only_itself(text: str) -> None:
    sentence = exam.mark_story(text).sentences[1].text
    damaged = text.replace(sentence, sentence[:-1] + " and" + sentence[-1])
    assert lowered(damaged) == {"parsed", "whole"}
    assert sum(one.shape is None for one in exam.mark_story(damaged).sentences) == 1


PRONOUNS = {"she": "he", "She": "He", "Her": "His", "he": "she", "He": "She", "his": "her", "him": "her"}


def other_pronoun(sentence: str, written: str) -> str:
    if written == "her":
        return "him" if "pleased her" in sentence else "his"
    return PRONOUNS.get(written, "")


def other_name_or_kind(sentence: str, written: str) -> str:
    return "" if other_pronoun(sentence, written) else another(written)


@pytest.mark.parametrize(
    ("subject", "replacement"),
    [
        ("heroes", other_name_or_kind),
        ("heroes", other_pronoun),
        ("places", lambda _, written: another(written)),
    ],
)
def test_another_word_in_a_later_mention_costs_its_subject_alone(
    subject: str, replacement: Callable[[str, str], str]
) -> None:
    tried = 0
    for text, sentence, claim in claimed(subject):
        if (new := replacement(sentence.text, claim.written)) and text.count(sentence.text) == 1:
            damaged = text.replace(sentence.text, replace_first_word(sentence.text, claim.written, new))
            assert lowered(damaged) == {subject, "whole"}, damaged
            tried += 1
    assert tried > 50


@pytest.mark.parametrize("wrong", ["two", "five", "ten"])
def test_a_wrong_sum_costs_the_sums_alone(wrong: str) -> None:
    sums = [(text, sentence, claim) for text, sentence, claim in claimed("sums") if claim.written != wrong]
    assert len({sentence.shape for _, sentence, _ in sums}) == 6  # four ways to add, two to take away
    for text, sentence, claim in sums:
        damaged = text.replace(sentence.text, replace_last(sentence.text, claim.written, wrong))
        assert lowered(damaged) == {"sums", "whole"}, damaged


SWAP = re.compile(r"Now (.+) had the (.+), and (.+) had the (.+)\.")


@pytest.mark.parametrize(
    ("order", "subject"), [(r"Now \1 had the \4, and \3 had the \2.", "places"),
                           (r"Now \3 had the \2, and \1 had the \4.", "heroes")]
)  # fmt: skip
def test_a_thing_at_the_wrong_holder_costs_its_subject_alone(order: str, subject: str) -> None:
    swaps = [text for text in SAMPLE if SWAP.search(text)]
    assert len(swaps) > 5
    assert all(lowered(SWAP.sub(order, text)) == {subject, "whole"} for text in swaps)


def test_every_sum_of_the_sample_is_marked() -> None:
    stated = re.compile(
        r"which made|that was (?:four|five|six|seven|eight|nine|ten)\.|which is|were left|stayed behind"
    )
    assert len(claimed("sums")) == sum(len(stated.findall(text)) for text in SAMPLE)


def test_a_number_changed_before_its_sum_costs_the_sums_alone() -> None:
    text = next(text for text in SAMPLE if " kept eight " in text)
    assert lowered(text.replace(" kept eight ", " kept seven ")) == {"sums", "whole"}


def test_a_wrong_sum_is_one_fault_and_the_report_says_what_is_right() -> None:
    text = "The moon was round and quiet. She put two in a red boot and three in her cap, which made six."
    (_, sentence) = exam.mark_story(text).sentences
    assert list(sentence.faults()) == ["'six' should be 'five'"]
    assert exam.mark([text]).parsed == 0.5
    assert "no such sentence" in exam.mark_story(text).report()


def test_a_hero_of_a_broken_opening_is_known_from_the_next_mention_on() -> None:
    heroes = [row[""] for row in tales.grammar().words["heroes"]]
    text = next(text for text in SAMPLE if any(text.count(name) == 3 for name in heroes))
    (hero,) = (name for name in heroes if name in text)
    broken = text.replace(hero, f"and {hero}", 1)
    assert lowered(broken) == {"parsed", "whole"}
    assert lowered(replace_last(broken, hero, another(hero))) == {"parsed", "heroes", "whole"}


def test_of_two_readings_the_one_that_fits_the_facts_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = ("This is {hero:heroes}.", "There is {friend:friends}.", "{hero.She} slept.", "{friend.She} slept.")
    monkeypatch.setattr(exam, "shapes", lambda: tuple(map(exam._shape, sources)))
    *_, he, she = exam.mark_story("This is Max. There is Mrs Owl. He slept. She slept.").sentences
    assert (he.shape, she.shape) == sources[2:]
    assert [*he.faults(), *she.faults()] == []
    *_, nobody = exam.mark_story("This is Max. There is Mr Toad. She slept.").sentences
    assert list(nobody.faults()) == ["'She' should be 'He'"]


def test_no_two_shapes_fit_a_sentence_of_the_sample() -> None:
    assert all(len(list(exam._fitting(one))) == 1 for text in SAMPLE for one in tales.sentences(text))


def test_three_hundred_stories_are_marked_in_about_a_second() -> None:
    start = time.process_time()
    exam.mark(SAMPLE * 2)
    assert time.process_time() - start < 2  # a tenth of it on a good day


def test_nothing_to_mark_is_none_and_not_a_full_mark() -> None:
    assert exam.mark([]) == exam.Marks(
        stories=0, spelled=None, parsed=None, heroes=None, sums=None, places=None, whole=None
    )
    assert exam.mark([""]).spelled is None


def test_a_story_that_stands_in_the_training_text_is_not_novel() -> None:
    training_text = tales.SEPARATOR.join(SAMPLE[:10])
    assert exam.mark(SAMPLE[:20], training_text=training_text).novel == 0.5


def test_the_report_is_a_line_for_each_mark_given() -> None:
    assert "sums that add up                  100.0%" in exam.mark(SAMPLE).report()
    assert "training" not in exam.mark(SAMPLE).report()


@settings(deadline=None)
@given(st.text(alphabet="abHMx .,!?\"\n{}'", max_size=200))
def test_any_text_can_be_marked(text: str) -> None:
    assert exam.mark([text]).stories == 1
