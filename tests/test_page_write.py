"""Write and Lesson in a real browser, as a person uses them; and their numbers are the model's."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np
import pytest

import glassgpt
from browser import Watched, open_page, what_is_missing
from glassgpt.library import LanguageModel
from glassgpt.sampling.trace import trace
from owl import log_probs_of, looks_back_most, make_run, shown
from served import Running, serving, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

playwright = pytest.importorskip("playwright.sync_api", reason=what_is_missing())
expect = playwright.expect

PROMPT, LENGTH = "The owl", 24
TEXT = "The owl flew over the sea"
Opened = Callable[..., AbstractContextManager[Watched]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "owl")
    return folder


@pytest.fixture(scope="module")
def running(runs: Path) -> Iterator[Running]:
    with serving(runs, slots=6, preload="owl") as server:
        server.desk.shelf.take("owl@last")
        yield server


@pytest.fixture(scope="module")
def lm(runs: Path) -> LanguageModel:
    return glassgpt.load(runs / "owl" / "best.safetensors", device="cpu")


@pytest.fixture
def opened(browser: Browser, running: Running) -> Opened:
    """A view of the page; when it is closed, it must have been silent, and must have asked nobody else."""

    @contextmanager
    def open_it(view: str = "write", *, dark: bool = False, phone: bool = False, **asked: Any) -> Iterator[Watched]:
        with open_page(browser, dark=dark, phone=phone) as watched:
            watched.page.goto(f"http://127.0.0.1:{running.port}/#{view}?{urlencode({'model': 'book'} | asked)}")
            yield watched
            watched.must_be_clean(f"127.0.0.1:{running.port}")

    return open_it


def write(page: Page) -> None:
    page.get_by_role("button", name="Write", exact=True).click()
    settled(page)


def settled(page: Page) -> None:
    """Nothing is being written any more, and all that was is drawn."""
    expect(page.locator(".results")).to_have_attribute("aria-busy", "false")
    assert not page.locator(".writing").count()


def tokens(page: Page) -> Locator:
    return page.locator(".tok:not([hidden])")


def text_of(page: Page) -> str:
    """As it can be copied: signs that stand for what one cannot see are no part of it."""
    return str(page.locator(".prose").first.evaluate("(prose) => prose.textContent"))


def test_each_token_shows_what_a_full_pass_of_the_model_gives_it(opened: Opened, lm: LanguageModel) -> None:
    with opened(prompt=PROMPT, max_tokens=LENGTH, seed=5) as watched:
        page = watched.page
        write(page)
        text = text_of(page)
        ids = lm.encode(text)
        assert text.startswith(PROMPT)
        assert tokens(page).count() == len(ids) == len(PROMPT) + LENGTH
        log_probs_TV = log_probs_of(lm, ids)
        for place in (1, len(PROMPT) - 1, len(PROMPT), len(PROMPT) + 5, len(ids) - 1):
            panel = page.get_by_role("dialog", name="what else could stand here")
            page.mouse.move(5, 5)
            panel.wait_for(state="hidden")
            tokens(page).nth(place).hover()
            best = np.argsort(-log_probs_TV[place - 1], kind="stable")[:8]
            share = math.exp(log_probs_TV[place - 1, ids[place]])
            expect(panel).to_contain_text(f"{shown(share)} · {-math.log2(share):.2f} bits")
            numbers = [row.inner_text() for row in panel.locator(".choice-row .number").all()][:8]
            assert numbers == [shown(math.exp(log_probs_TV[place - 1, token])) for token in best]
        own = log_probs_TV[np.arange(len(PROMPT) - 1, len(ids) - 1), ids[len(PROMPT) :]]
        assert f"{LENGTH} tokens" in page.locator(".figures").inner_text()
        assert f"{-own.mean() / math.log(2):.2f} bits per token" in page.locator(".figures").inner_text()


def test_a_chosen_token_leads_the_story_elsewhere_and_back_undoes_it(opened: Opened, lm: LanguageModel) -> None:
    with opened(prompt=PROMPT, max_tokens=LENGTH, temperature=0) as watched:
        page, at = watched.page, len(PROMPT) + 3
        bodies: list[Any] = []
        page.on("request", lambda request: bodies.append(json.loads(request.post_data)) if request.post_data else None)
        write(page)
        before = text_of(page)
        page.locator(".tok[tabindex]").focus()
        for key in [*["ArrowRight"] * (at - len(PROMPT)), "Enter"]:
            page.keyboard.press(key)
        choice = page.locator(".choice-row:not(:disabled)").nth(1)
        name = choice.locator("code").inner_text().replace("␣", " ").replace("⏎", "\n")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        settled(page)
        ids = lm.encode(before[:at] + name)
        assert bodies[-1]["prompt"] == ids, "ids, not text: exact"
        for _ in range(LENGTH):  # the slow truth: full passes, the likeliest token each time
            ids.append(int(log_probs_of(lm, ids)[-1].argmax()))
        assert text_of(page) == lm.decode(ids)
        assert page.evaluate("document.activeElement.dataset.at") == str(at), "the keyboard is where the story turned"
        assert page.locator(".tok.chosen").count() == page.locator(".branches li").count() == 1
        page.get_by_role("button", name="Back", exact=True).click()
        expect(page.locator(".tok.chosen")).to_have_count(0)
        assert text_of(page) == before


def test_two_models_write_side_by_side_and_the_address_keeps_all_of_it(opened: Opened) -> None:
    with opened() as watched:
        page = watched.page
        page.get_by_label("Prompt").fill("The <b>owl</b>")
        page.get_by_label("Compare with").select_option("owl@last")
        page.get_by_label("Samples").fill("2")
        page.get_by_label("Length").fill("9")
        page.get_by_label("Prompt").press("Control+Enter")
        settled(page)
        assert page.locator(".column h2").all_inner_texts() == ["owl", "owl@last"]
        assert page.locator(".story").count() == 4
        page.get_by_role("button", name="keep it").click()
        page.get_by_role("button", name="Write", exact=True).click()
        settled(page)
        texts = page.locator(".prose").all_inner_texts()
        page.reload()
        write(page)
        assert page.locator(".prose").all_inner_texts() == texts


def test_stop_ends_the_writing_on_the_server_too(opened: Opened, running: Running) -> None:
    cancelled = running.desk.counts["cancelled"]
    with opened(prompt=PROMPT, max_tokens=4096, samples=6) as watched:
        watched.page.get_by_role("button", name="Write", exact=True).click()
        tokens(watched.page).nth(len(PROMPT) + 3).wait_for()
        watched.page.get_by_role("button", name="Stop").click()
        settled(watched.page)
        running.until_idle()
        assert running.desk.counts["cancelled"] == cancelled + 1
        assert "stopped" in watched.page.locator(".figures").first.inner_text()
        watched.page.get_by_role("button", name="Write", exact=True).click()
        tokens(watched.page).nth(0).wait_for()
        watched.page.get_by_role("link", name="Lesson").click()
        wait_until(lambda: running.desk.counts["cancelled"] == cancelled + 2)


def test_a_prompt_that_the_model_cannot_read_is_told_in_its_column(browser: Browser, running: Running) -> None:
    with open_page(browser) as watched:
        watched.page.goto(f"http://127.0.0.1:{running.port}/#write?{urlencode({'model': 'book', 'prompt': '漢'})}")
        watched.page.get_by_role("button", name="Write", exact=True).click()
        note = watched.page.get_by_role("alert")
        note.wait_for()
        assert "never had the character" in note.inner_text()


@pytest.mark.parametrize(("dark", "phone"), [(False, True), pytest.param(True, False, marks=pytest.mark.slow)])
def test_everybody_can_use_both_views(opened: Opened, dark: bool, phone: bool) -> None:
    with opened(prompt=PROMPT, max_tokens=LENGTH, dark=dark, phone=phone) as watched:
        write(watched.page)
        tokens(watched.page).nth(9).click()
        assert watched.grave_violations() == []
        assert watched.faint_texts() == []
        assert not watched.too_wide_by
        watched.page.keyboard.press("Escape")
        watched.page.get_by_role("link", name="Lesson").click()
        watched.page.locator(".shows").get_by_text("Your model knows").wait_for()
        assert watched.grave_violations() == []
        assert watched.faint_texts() == []
        assert not watched.too_wide_by


def test_the_lesson_tells_what_the_visitors_own_model_does(opened: Opened, lm: LanguageModel) -> None:
    seen = trace(lm.model, lm.tokenizer, TEXT)
    with opened("lesson", text=TEXT) as watched:
        page, shows = watched.page, watched.page.locator(".shows")
        next_stop = page.locator(".ends .primary")
        shows.get_by_text(f"{lm.tokenizer.vocab_size} tokens").wait_for()
        assert f"has {len(TEXT)} characters and became {len(TEXT)} tokens" in shows.inner_text()
        next_stop.click()
        shows.get_by_text("surprised most").wait_for()
        most = max(seen.tokens, key=lambda token: token.bits or 0)
        assert f"{most.bits:.2f} bits" in shows.inner_text()
        assert f"{seen.mean_bits:.2f} bits per token" in shows.inner_text()
        next_stop.click()
        layer, head, share = looks_back_most(seen)
        page.get_by_role("button", name=f"layer {layer + 1}, head {head + 1}", exact=True).click()
        page.get_by_text("That is the one").wait_for()
        assert f"layer {layer + 1}, head {head + 1}: on average {shown(share)}" in shows.inner_text()
        next_stop.click()
        shows.get_by_text("After the whole text").wait_for()
        assert f"with {shown(seen.upcoming[0].probability)}" in shows.inner_text()
        next_stop.click()
        shows.get_by_text("100 % of the time at temperature 0,").wait_for()
        assert [title.inner_text() for title in page.locator(".story h3").all()] == [
            "Temperature 0", "Temperature 0.7", "Temperature 1.5"]  # fmt: skip
        assert "stop=5" in page.url
