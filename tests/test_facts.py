"""The facts of a story: what the grammar remembered is found where it stands, and a head is scored as it looks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import glassgpt
from browser import Watched, open_page
from conftest import TINY
from glassgpt.cli.main import main
from glassgpt.cli.views import Surface, facts_table
from glassgpt.config import ModelConfig
from glassgpt.data import tales
from glassgpt.data.grammar import Reader
from glassgpt.data.templates import Draw, Facts, written
from glassgpt.lab.facts import Fact, facts_of
from glassgpt.lab.following import Scores, described_facts, head_scores, mean_scores, token_span
from glassgpt.lab.page import saved_page
from glassgpt.model.gpt import GPT
from glassgpt.sampling.trace import Trace, trace
from glassgpt.text.base import Tokenizer
from glassgpt.text.bpe import BPE
from glassgpt.text.chars import CharTokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SEED = 21
SAMPLE = [tales.story(SEED, index) for index in range(120)]
LETTERS = CharTokenizer([*sorted(set("".join(SAMPLE))), "é"])


# --- what the text tells ----------------------------------------------------------------------------------------------


def remembered(story: str, scene: str = "story") -> Iterator[tuple[int, int, bool]]:
    """Where the grammar itself, reading the story, writes what it remembers: from, to, and whether it is a copy."""
    return _remembered(Reader(story), scene, {})


def _remembered(pen: Reader, scene: str, facts: Facts) -> Iterator[tuple[int, int, bool]]:
    world = tales.grammar()
    for part in world.scenes[scene][pen.pick(world.heads[scene, ""], facts)]:
        start = pen.place
        if isinstance(part, Draw) and part.table in world.scenes:
            yield from _remembered(pen, part.table, facts)
        elif isinstance(part, Draw):
            row = world.words[part.table][pen.pick(world.heads[part.table, part.form], facts)]
            pen.write(row[part.form])
            if part.name:
                facts[part.name] = row
                yield start, pen.place, False
        else:
            pen.write(written(facts, part))
            if not isinstance(part, str):
                yield start, pen.place, True


def spans(facts: list[Fact]) -> list[tuple[int, int, bool]]:
    return sorted((one.start, one.end, one.again) for fact in facts for one in fact.mentions)


def told(facts: list[Fact]) -> dict[str, list[str]]:
    return {f"{fact.kind}: {fact.value}": [one.text for one in fact.mentions] for fact in facts}


def test_of_a_story_all_that_the_grammar_remembers_is_found_where_it_stands() -> None:
    for story in SAMPLE:
        assert spans(facts_of(story)) == list(remembered(story))
        assert all(one.right and story[one.start : one.end] == one.text for f in facts_of(story) for one in f.mentions)


NOISE = (
    "Have you heard of Felix the fox and his velvet cap? Best of all he liked soup with vanilla.\n"
    "It was an afternoon in spring, and chilly. He could not sleep, because something below the well went rumble. "
    "It went rumble, rumble, rumble, and then loudly thump. At last he galloped outside with a notebook and a wooden "
    'raincoat.\nIt was only Mrs Frog, whistling in a gigantic apron. "I do that whenever I am lonely," she giggled, '
    "wiggling all ten toes. She took the notebook gratefully and never went rumble again.\n"
    '"You are a serious friend," he sang fondly. Good night, dear Felix, and dream of zigzag acorns.'
)


def test_each_fact_has_a_name_for_people_and_its_mentions_in_order() -> None:
    assert told(facts_of(NOISE)) == {
        "the hero: Felix": ["Felix", "fox", "his", "he", "He", "he", "he", "Felix"],
        "the noise: rumble": ["rumble"] * 5,
        "the gift: notebook": ["a notebook", "notebook"],
        "the friend: Mrs Frog": ["Mrs Frog", "she", "She"],
    }


def test_two_numbers_and_what_they_make_are_one_fact() -> None:
    added = next(story for story in SAMPLE if "which made" in story)
    (total,) = [fact for fact in facts_of(added) if fact.kind == "the sum"]
    first, second, made = (one.text for one in total.mentions)
    assert total.value == f"{first} + {second} = {made}".lower()
    assert [one.again for one in total.mentions] == [False, False, True]
    (rest,) = [fact for fact in facts_of(next(one for one in SAMPLE if " kept eight " in one)) if " - " in fact.value]
    assert rest.kind == "what is left"
    assert rest.value.startswith("eight - ")


def test_of_the_end_of_one_story_and_the_beginning_of_the_next_each_has_its_own_facts() -> None:
    text = SAMPLE[0][-90:] + tales.SEPARATOR + NOISE
    ours = [fact for fact in facts_of(text) if fact.mentions[0].start > 90]
    assert told(ours) == told(facts_of(NOISE))
    for fact in ours:
        assert all(text[one.start : one.end] == one.text for one in fact.mentions)


def test_of_a_story_that_breaks_off_anywhere_what_is_found_is_right_and_sentences_before_are_whole() -> None:
    whole = spans(facts_of(NOISE))
    for end in range(0, len(NOISE), 7):
        found = spans(facts_of(NOISE[:end]))
        assert set(found) <= set(whole)
        last = max(NOISE.rfind(sign, 0, end) for sign in (". ", ".\n", "? "))
        assert [one for one in whole if one[1] <= last] == [one for one in found if one[1] <= last]


def test_a_sentence_that_breaks_off_tells_what_all_that_it_may_become_agree_on() -> None:
    assert told(facts_of("So Felix gave Mrs Owl the")) == {
        "the hero: Felix": ["Felix"],
        "the friend: Mrs Owl": ["Mrs Owl"],
    }
    assert told(facts_of("She")) == {}, "the hero or the friend"


@pytest.mark.parametrize(
    "text", ["", ".", "The owl flew over the sea.", "Felix\n\nhero", "Max", "two and three made \ufffd\n" * 9]
)
def test_a_text_that_is_no_tale_has_no_facts(text: str) -> None:
    assert facts_of(text) == []


def test_a_fact_told_otherwise_is_marked_and_a_broken_sentence_is_passed_over() -> None:
    (hero, *_) = facts_of(NOISE.replace(", and chilly. He", ", and chilly. She").replace("dear Felix", "deer Felix"))
    assert [(one.text, one.right) for one in hero.mentions][4:] == [("She", False), ("he", True), ("he", True)]


def test_an_adventure_begun_twice_in_a_story_tells_of_two_things() -> None:
    kept = "He found a red kite near the pond. "
    facts = facts_of(f'{kept}"My brave old kite!" cried the baker shyly. {kept.replace("kite", "bell")}')
    assert told(facts)["the thing: kite"] == ["kite", "kite"]
    assert told(facts)["the thing: bell"] == ["bell"]


# --- from characters to tokens ----------------------------------------------------------------------------------------


@cache
def pairs() -> BPE:
    return BPE.train(SAMPLE[:20], vocab_size=300)


@pytest.mark.parametrize("tokenizer", [LETTERS, pairs()], ids=["char", "bpe"])
def test_the_tokens_of_a_mention_hold_it_and_no_fewer_would(tokenizer: Tokenizer) -> None:
    text = "é " + NOISE  # of two bytes, which are two tokens to byte pairs and one character to the story
    seen = trace(model_for(tokenizer), tokenizer, text)
    ids = [token.token_id for token in seen.tokens]
    found = [one for fact in described_facts(tokenizer, seen, text) for one in fact["mentions"]]
    assert len(found) == len([one for fact in facts_of(text) for one in fact.mentions]) > 10
    for one in found:
        assert one["text"] in tokenizer.decode(ids[one["first"] : one["last"] + 1])
        assert one["text"] not in tokenizer.decode(ids[one["first"] + 1 : one["last"] + 1])
        assert one["text"] not in tokenizer.decode(ids[one["first"] : one["last"]])


def test_a_token_that_holds_a_piece_of_a_mention_belongs_to_it() -> None:
    ends = [1, 4, 4, 9]  # the third says nothing, as a special token
    assert token_span(ends, 0, 1) == range(1)
    assert token_span(ends, 2, 5) == range(1, 4)
    assert token_span(ends, 5, 9) == range(3, 4)


def test_what_lies_before_the_window_is_left_out_and_the_rest_counts_from_its_first_token() -> None:
    whole = described_facts(LETTERS, trace(model_for(LETTERS), LETTERS, NOISE), NOISE)
    small = model_for(LETTERS, context=300)
    seen = trace(small, LETTERS, NOISE)
    ours = described_facts(LETTERS, seen, NOISE)
    places = {(fact["kind"], one["first"]) for fact in whole for one in fact["mentions"]}
    left_out = seen.tokens_left_out
    assert left_out == len(NOISE) - 300
    assert {(f["kind"], one["first"] + left_out) for f in ours for one in f["mentions"]} == {
        place for place in places if place[1] >= left_out
    }
    hero = next(fact for fact in ours if fact["kind"] == "the hero")
    assert hero["value"] == "Felix", "told before the window, and known all the same"
    longer = SAMPLE[1] + tales.SEPARATOR + NOISE
    assert described_facts(LETTERS, trace(small, LETTERS, longer), longer) == ours, "what is out of sight says nothing"


# --- what the heads do ------------------------------------------------------------------------------------------------


def even_look(T: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.tril(np.ones((T, T), dtype=np.float32)) / np.arange(1, T + 1, dtype=np.float32)[:, None]


def fixed_look(T: int, at: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    weights_TS = np.zeros((T, T), dtype=np.float32)
    weights_TS[np.arange(T), np.minimum(at, np.arange(T))] = 1
    return weights_TS


def test_a_head_that_looks_at_the_earlier_mention_scores_one_and_an_even_one_its_even_share() -> None:
    T = 20
    attention = [np.stack([even_look(T), fixed_look(T, 0)]), np.stack([fixed_look(T, 4), fixed_look(T, 15)])]
    scores = head_scores(attention, [3, 4], range(10, 13))
    assert scores is not None
    even = np.mean([2 / (position + 1) for position in (9, 10, 11)])  # the tokens 10, 11 and 12 are predicted there
    assert scores.even == pytest.approx(even)
    assert [row.tolist() for row in scores.shares] == [[pytest.approx(even), 0], [1, 0]]
    assert scores.best == (1, 0)


def test_only_the_positions_that_predict_a_mention_count() -> None:
    T = 12
    weights_TS = fixed_look(T, 0)
    weights_TS[5:8] = fixed_look(T, 2)[5:8]  # looks at token 2 from 5, 6 and 7 alone
    for mention, share in ((range(6, 9), 1.0), (range(6, 10), 3 / 4), (range(5, 6), 0.0), (range(9, 12), 0.0)):
        scores = head_scores([weights_TS[None]], [2], mention)
        assert scores is not None
        assert float(scores.shares[0][0]) == pytest.approx(share)


def test_without_anything_before_it_a_mention_has_no_score() -> None:
    attention = [even_look(6)[None]]
    assert head_scores(attention, [], range(3, 5)) is None
    assert head_scores(attention, [0], range(1)) is None
    assert head_scores(attention, [4, 5], range(4, 6)) is None


def test_the_mean_over_mentions_is_of_shares_and_of_even_shares() -> None:
    mean = mean_scores([Scores((np.array([0.2, 0.4], "f4"),), 0.1), Scores((np.array([0.6, 0.0], "f4"),), 0.3)])
    assert mean.shares[0].tolist() == [pytest.approx(0.4), pytest.approx(0.2)]
    assert mean.even == pytest.approx(0.2)


@cache
def model_for(tokenizer: Tokenizer, context: int = 1000) -> GPT:
    config = ModelConfig(vocab_size=tokenizer.vocab_size, d_model=16, n_layers=2, n_heads=2, max_seq_len=context)
    return GPT(config, seed=1).eval()


def with_attention(seen: Trace, weights_TS: np.ndarray[Any, np.dtype[np.float32]]) -> Trace:
    return Trace(**(vars(seen) | {"attention": (np.stack([even_look(len(weights_TS)), weights_TS]),)}))


def test_in_a_story_a_head_that_seeks_the_earlier_rumble_follows_the_noise_and_an_even_one_follows_nothing() -> None:
    seen = trace(model_for(LETTERS), LETTERS, NOISE)
    T = len(seen.tokens)
    facts = described_facts(LETTERS, with_attention(seen, fixed_look(T, NOISE.index("rumble"))), NOISE)
    by_kind = {fact["kind"]: fact for fact in facts}
    noise = by_kind["the noise"]
    assert noise["scored"] == 4
    assert (noise["best"]["layer"], noise["best"]["head"], noise["best"]["share"]) == (0, 1, 1)
    assert noise["best"]["follows"]
    assert noise["best"]["times_even"] == pytest.approx(1 / noise["heads"]["even"], abs=0.01)
    for kind in ("the hero", "the friend", "the gift"):
        best = by_kind[kind]["best"]
        assert (best["head"], best["follows"]) == (0, False)
        assert best["times_even"] == pytest.approx(1, abs=0.01)
    assert json.loads(json.dumps(facts)) == facts


def test_what_is_told_otherwise_is_neither_scored_nor_looked_back_at() -> None:
    text = NOISE.replace(", and chilly. He", ", and chilly. She")
    seen = trace(model_for(LETTERS), LETTERS, text)
    hero = described_facts(LETTERS, with_attention(seen, even_look(len(text))), text)[0]
    wrong = hero["mentions"][4]
    assert (wrong["right"], wrong["heads"]) == (False, None)
    position, letters = hero["mentions"][5]["first"] - 1, len("Felix" + "fox" + "his" + "he")
    expected = np.mean([letters / (position + 1), letters / (position + 2)])
    assert hero["mentions"][5]["heads"]["even"] == pytest.approx(expected, abs=1e-5)


def test_in_a_model_that_learned_nothing_no_head_follows_a_fact_of_these_stories() -> None:
    for story in SAMPLE[:6]:
        for fact in described_facts(LETTERS, trace(model_for(LETTERS), LETTERS, story), story):
            assert fact["best"] is None or not fact["best"]["follows"]


# --- where it is shown ------------------------------------------------------------------------------------------------


def test_the_table_names_facts_and_heads_and_keeps_to_the_width() -> None:
    facts = described_facts(LETTERS, trace(model_for(LETTERS), LETTERS, NOISE), NOISE)
    for width in (40, 60, 100):
        lines = list(facts_table(facts, Surface(width=width, colour=False, blocks=True)))
        assert len(lines) == 5
        assert all(len(line) <= width for line in lines)
    assert re.match(r"the noise: rumble +5 +\d+\.\d% +\d+\.\d%  layer [12], head [12]$", lines[2])


def test_inspect_shows_the_facts_of_a_model_of_tales_and_of_no_other(
    at_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = glassgpt.train("tales:20kB", out=str(tmp_path / "told"), max_steps=1, **TINY)
    page = tmp_path / "page.html"
    capsys.readouterr()
    assert main(["inspect", str(run.folder), "lived Max the mouse", "--html", str(page)]) == 0
    assert "facts of the story" not in capsys.readouterr().out, "in 16 letters no sentence is told"
    assert '"facts":[]' in page.read_text(encoding="utf-8")
    assert main(["inspect", str(run.folder), "So Max gave Mrs Owl the", "--json", "-"]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    assert [(fact["kind"], fact["value"]) for fact in facts] == [("the friend", "Mrs Owl")], "Max is out of sight"
    assert main(["inspect", "runs/book", "The owl was calm", "--json", "-"]) == 0
    assert "facts" not in json.loads(capsys.readouterr().out)


@contextmanager
def opened(browser: Browser, facts: list[dict[str, Any]], seen: Trace, file: Path, **how: Any) -> Iterator[Watched]:
    """The page in a browser; when it is closed, it must have been silent."""
    shown = {"model": {"run": "a run", "step": 3, "form": "small"}, "facts": facts} | seen.as_json()
    file.write_text(saved_page(shown), encoding="utf-8")
    with open_page(browser, **how) as watched:
        watched.page.goto(file.as_uri())
        yield watched
        watched.must_be_clean()


def test_on_the_page_one_sees_each_mention_and_each_head_and_goes_to_its_map(browser: Browser, tmp_path: Path) -> None:
    opening, rest = NOISE.split(" Best", maxsplit=1)[0], NOISE[NOISE.index(" could") : NOISE.index("loudly")]
    text = f"{opening} She{rest}"
    seen = trace(model_for(LETTERS), LETTERS, text)
    facts = described_facts(LETTERS, seen, text)
    hero, noise = facts
    with opened(browser, facts, seen, tmp_path / "page.html") as watched:
        view = watched.page.get_by_role("region", name="Facts", exact=True)
        marked = view.locator(".token.fact")
        assert marked.count() == sum(len(one["text"]) for fact in facts for one in fact["mentions"])
        assert view.locator(".token.wrong").all_inner_texts() == ["S", "h", "e"]
        assert "but then “She”" in view.locator(".facts").inner_text()
        shares = view.locator(".share")
        assert shares.all_inner_texts() == [shown(share) for row in hero["heads"]["shares"] for share in row]
        view.get_by_role("button", name="2 the noise: rumble").focus()
        watched.page.keyboard.press("Enter")
        assert view.locator(".token.chosen").count() == len("rumble") * len(noise["mentions"])
        view.get_by_role("combobox").select_option("1")
        one = noise["mentions"][2]
        assert shares.all_inner_texts() == [shown(share) for row in one["heads"]["shares"] for share in row]
        assert f"Token {one['first']} " in watched.page.locator(".pair .said").inner_text(), "where it is predicted"
        view.get_by_role("button", name="layer 2, head 1").click()
        assert watched.page.get_by_role("heading", name="Layer 2, head 1").is_visible()
        for scheme in ("light", "dark"):
            watched.page.emulate_media(color_scheme=scheme)
            assert watched.faint_texts() == []
    with opened(browser, facts, seen, tmp_path / "page.html", phone=True) as watched:
        assert watched.too_wide_by == 0


def shown(share: float) -> str:
    """As the page rounds it."""
    if share >= 0.0995:
        return f"{math.floor(share * 100 + 0.5)} %"
    return f"{share * 100:.1f} %" if share >= 0.001 else "<0.1 %"


def test_without_facts_the_page_has_no_view_of_them(browser: Browser, tmp_path: Path) -> None:
    seen = trace(model_for(LETTERS), LETTERS, "The owl")
    with opened(browser, [], seen, tmp_path / "page.html") as watched:
        assert watched.page.get_by_role("region", name="Attention", exact=True).is_visible()
        assert watched.page.get_by_role("region", name="Facts", exact=True).count() == 0
