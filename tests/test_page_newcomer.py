"""The page with somebody who sees it for the first time: what is waited for, what went wrong and what has changed
since is said in plain words, and nothing old is left standing as if it were new."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from browser import Watched, open_page, what_is_missing
from owl import make_run
from served import Running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

playwright = pytest.importorskip("playwright.sync_api", reason=what_is_missing())
expect = playwright.expect

Opened = Callable[..., AbstractContextManager[Watched]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("newcomer") / "runs"
    folder.mkdir()
    make_run(folder / "owl")
    return folder


@pytest.fixture(scope="module")
def running(runs: Path) -> Iterator[Running]:
    with serving(runs, preload="owl") as server:
        server.desk.shelf.take("owl@last")
        yield server


@pytest.fixture
def opened(browser: Browser, running: Running) -> Opened:
    """A view of the page; when it is closed, it must have been silent, but for the errors that are expected."""

    @contextmanager
    def open_it(view: str = "write", *, refused: bool = False, **asked: Any) -> Iterator[Watched]:
        with open_page(browser) as watched:
            watched.page.goto(f"http://127.0.0.1:{running.port}/#{view}?{urlencode({'model': 'owl'} | asked)}")
            yield watched
            if refused:  # the browser itself writes each answer of 4xx on the console
                watched.said[:] = [line for line in watched.said if "status of 400" not in line]
            watched.must_be_clean(f"127.0.0.1:{running.port}")

    return open_it


def test_a_text_that_waits_for_its_model_says_so_and_is_written(opened: Opened) -> None:
    held: list[Route] = []
    with opened(prompt="The owl", max_tokens=5) as watched:
        page, said = watched.page, watched.page.locator("form .status")
        expect(page.locator(".invitation")).to_be_visible()
        page.route("**/glass/models/owl%40last", lambda route: held.append(route))  # noqa: PLW0108 - a list's own is none
        page.get_by_label("Model", exact=True).select_option("owl@last")
        expect(said).to_have_text("reading owl@last from disk…")
        page.get_by_label("Prompt").press("Control+Enter")
        expect(page.locator(".column h2")).to_have_text("owl@last")
        expect(said).to_have_text("reading owl@last from disk…")
        for route in held:
            route.continue_()
        expect(said).to_have_text("done: 1 text")
        expect(page.locator(".story")).to_have_count(1)


def test_a_setting_that_cannot_be_is_shown_wherever_it_hides(opened: Opened) -> None:
    with opened(prompt="The owl", top_p="7") as watched:
        page = watched.page
        expect(page.locator(".invitation")).to_be_visible()
        page.get_by_label("Prompt").press("Control+Enter")
        expect(page.locator("form .status.wrong")).to_contain_text("top-p: ")
        expect(page.get_by_label("top-p")).to_be_visible()


def test_a_story_can_be_reached_by_keyboard_after_its_branch_was_undone(opened: Opened) -> None:
    with opened(prompt="The owl", max_tokens=8) as watched:
        page = watched.page
        page.get_by_role("button", name="Write", exact=True).click()
        expect(page.locator("form .status")).to_have_text("done: 1 text")
        page.locator(".tok").nth(9).click()
        page.locator(".choice-row:not(:disabled)").first.click()
        expect(page.locator(".tok.chosen")).to_have_count(1)
        expect(page.locator("form .status")).to_have_text("done: 1 text")
        page.get_by_role("button", name="Back", exact=True).press("Enter")
        expect(page.locator(".tok.chosen")).to_have_count(0)
        expect(page.locator(".tok[tabindex]")).to_have_count(1)
        expect(page.locator(".tok").nth(9)).to_be_focused()


def test_a_branch_of_a_model_that_was_trained_anew_meanwhile_says_so(opened: Opened, runs: Path) -> None:
    make_run(runs / "fox")
    with opened(model="fox", prompt="The owl", max_tokens=8) as watched:
        page, note = watched.page, watched.page.locator(".story .note:visible")
        prompts: list[Any] = []
        page.on("request", lambda request: prompts.append(json.loads(request.post_data)) if request.post_data else None)
        page.get_by_role("button", name="Write", exact=True).click()
        expect(page.locator("form .status")).to_have_text("done: 1 text")
        before = page.locator(".prose").text_content()
        assert before is not None
        shutil.copy(runs / "fox" / "last.safetensors", runs / "fox" / "best.safetensors")
        for place, notes in ((9, 1), (8, 1)):
            page.locator(".tok").nth(place).click()
            page.locator(".choice-row:not(:disabled)").first.click()
            expect(page.locator(".tok.chosen")).to_have_count(1)
            expect(page.locator("form .status")).to_have_text("done: 1 text")
            expect(note).to_have_count(notes)
            expect(note).to_contain_text("fox has changed since this text was begun")
            assert isinstance(prompts[-1]["prompt"], str), "the ids were those of the old one"
        expect(page.locator(".column > .legend")).to_contain_text("step 8")
        page.get_by_role("button", name="Back", exact=True).click()
        page.get_by_role("button", name="Back", exact=True).click()
        expect(note).to_have_count(0)
        assert page.locator(".prose").text_content() == before
