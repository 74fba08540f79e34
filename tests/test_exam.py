"""The exam: a perfect story gets full marks, and each kind of damage costs its own."""

import dataclasses
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


def other_hero(claim: exam.Claim) -> str:
    names = [row[""] for table in ("heroes", "friends") for row in tales.grammar().words[table]]
    return another(claim.written) if claim.written in names else ""


def other_number(claim: exam.Claim) -> str:
    return "eleven" if claim.written == "ten" else "ten"


@pytest.mark.parametrize(
    ("subject", "replacement"),
    [("heroes", other_hero), ("places", lambda claim: another(claim.written))],
)
def test_another_word_in_a_later_mention_costs_its_subject_alone(
    subject: str, replacement: Callable[[exam.Claim], str]
) -> None:
    tried = 0
    for text, sentence, claim in claimed(subject):
        if (new := replacement(claim)) and text.count(sentence.text) == 1:
            damaged = text.replace(sentence.text, replace_last(sentence.text, claim.written, new))
            assert lowered(damaged) == {subject, "whole"}, damaged
            tried += 1
    assert tried > 50


def test_a_wrong_sum_costs_the_sums_alone() -> None:
    tried = 0
    for text, sentence, claim in claimed("sums"):
        if "{n+m}" in str(sentence.shape) and claim is sentence.claims[-1]:
            damaged = text.replace(sentence.text, replace_last(sentence.text, claim.written, other_number(claim)))
            assert lowered(damaged) == {"sums", "whole"}, damaged
            tried += 1
    assert tried > 10


def test_a_wrong_first_sum_is_one_fault_and_the_report_says_what_is_right() -> None:
    text = "Max found some figs. So two figs and three figs made six round figs."
    (_, sentence) = exam.mark_story(text).sentences
    assert list(sentence.faults()) == ["'six' should be 'five'"]
    assert exam.mark([text]).parsed == 0.5
    assert "no such sentence" in exam.mark_story(text).report()


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
