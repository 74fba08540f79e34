"""What the page keeps of a text while it is written: pieces of characters, stops, branches and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from browser import open_page
from served import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

# A story, and `say(text, ...)`: a piece of the stream for each token, as the server sends it.
BEGIN = """async (more) => {
  const { branch, figures, goBack, hear, makeStory, shownPart, textOfStory } = await import("/page/story.js");
  const story = makeStory({ model: "m", label: "", settings: { stop: "\\n\\n" }, seed: 1, opening: null });
  const say = (names, { text = names.join(""), finish = null, odds = [["x", -1]] } = {}) => hear(story, {
    text, finish_reason: finish, logprobs: { tokens: names, token_ids: names.map((name) => name.charCodeAt(0)),
      token_logprobs: names.map(() => -Math.LN2), top_logprobs: names.map(() => Object.fromEntries(odds)),
      top_token_ids: names.map(() => odds.map((_, place) => place)) } });
"""


@pytest.fixture
def told(browser: Browser, home: Path) -> Iterator[Callable[[str], Any]]:
    with serving(home / "runs", preload=None) as server, open_page(browser) as watched:
        watched.page.goto(f"http://127.0.0.1:{server.port}/page/icon.svg")
        yield lambda body: watched.page.evaluate(BEGIN + body + "}")


def test_a_character_appears_with_its_last_piece_and_a_broken_one_as_a_sign(told: Callable[[str], Any]) -> None:
    texts = told(r"""
      say(["a"]); say(["bytes:\\xe2\\x80"]); say(["bytes:\\x94"]); say(["bytes:\\xe2"]); say(["b"]);
      return story.tokens.map((token) => token.text);""")
    assert texts == ["a", "", "—", "", "\ufffdb"]


def test_a_stop_that_the_server_met_is_no_part_of_the_text(told: Callable[[str], Any]) -> None:
    assert told(r"""
      say(["a"]); say(["b."]); say(["\n"], { text: "" }); say(["\nC"], { text: "", finish: "stop" });
      return [textOfStory(story), story.finish, shownPart(story, story.tokens.at(-1))];""") == ["ab.", "stop", ""]


def test_a_stop_that_began_before_a_branch_ends_the_text_there(told: Callable[[str], Any]) -> None:
    assert told(r"""
      say(["a"]); say(["b"]); say(["c"]);
      branch(story, 2, { id: 1, name: "\n", logprob: -1 }); story.feed = "still coming";
      say(["\n"]);
      return [textOfStory(story), story.finish, story.feed];""") == ["ab", "stop", None]


def test_each_way_back_is_the_story_as_it_was(told: Callable[[str], Any]) -> None:
    kept = told(r"""
      const kept = [];
      const keep = () => kept.push([textOfStory(story), story.finish, figures(story).count]);
      say(["A"]); "bcdef".split("").forEach((name) => say([name])); story.finish = "length"; keep();
      kept.push(branch(story, 3, { id: 120, name: "x", logprob: -1 })); say(["y"]); story.finish = "length"; keep();
      branch(story, 1, { id: 122, name: "z", logprob: -1 }); keep();
      goBack(story); keep(); goBack(story); keep();
      branch(story, 3, { id: 120, name: "x", logprob: -1 }); branch(story, 1, { id: 122, name: "z", logprob: -1 });
      goBack(story, 0); keep();
      return [kept, story.branches.length];""")
    first, second = ["Abcdef", "length", 5], ["Abcxy", "length", 4]
    assert kept == [[first, [65, 98, 99, 120], second, ["Az", None, 1], second, first, first], 0]


def test_names_that_are_digits_keep_their_own_probabilities_and_ids(told: Callable[[str], Any]) -> None:
    """A browser would put them before all others."""
    assert told(r"""
      say(["a"], { odds: [["b", -1], ["7", -2], ["c", -3], ["2", -4]] });
      return story.tokens[0].odds.map(({ id, name, logprob }) => [id, name, logprob]);
    """) == [[0, "b", -1], [1, "7", -2], [2, "c", -3], [3, "2", -4]]


def test_a_chosen_token_is_not_counted_among_the_models_own_surprises(told: Callable[[str], Any]) -> None:
    assert told(r"""
      say(["a"]); say(["b"]); say(["c"]);
      branch(story, 2, { id: 1, name: "x", logprob: -20 });
      return figures(story).mean;""") == pytest.approx(1)
