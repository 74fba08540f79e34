"""The page with people who do not wait: quick changes of mind, keys that lead past the menu, many texts one after
the other. What was asked for before must neither break what comes after nor stay for ever."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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

HEADER = "step,tokens,seconds,train_loss,val_loss,learning_rate,gradient_norm,tokens_per_s,mfu,floor\n"
# Who listens to something that outlives every view.
COUNT_LISTENERS = """
  window.listening = 0;
  const { addEventListener, removeEventListener } = MediaQueryList.prototype;
  MediaQueryList.prototype.addEventListener = function (...told) {
    window.listening += 1;
    return addEventListener.apply(this, told);
  };
  MediaQueryList.prototype.removeEventListener = function (...told) {
    window.listening -= 1;
    return removeEventListener.apply(this, told);
  };
"""
Opened = Callable[..., AbstractContextManager[Watched]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    runs = tmp_path_factory.mktemp("hasty") / "runs"
    runs.mkdir()
    make_run(runs / "owl")
    for name in ("first", "second", "third"):
        shutil.copytree(runs / "owl", runs / name)
        (runs / name / ".owner").write_text("1")
        (runs / name / "samples.txt").write_text("=== step 1 ===\nThe owl\n\n")
        (runs / name / "log.csv").write_text(HEADER + "1,64,0.1,2.5,2.4,0.01,0.5,1000.5,,\n")
    with serving(runs, preload="owl") as server:
        yield server


@pytest.fixture
def opened(browser: Browser, running: Running) -> Opened:
    """A view of the page; when it is closed, it must have been silent."""

    @contextmanager
    def open_it(view: str, **asked: Any) -> Iterator[Watched]:
        with open_page(browser) as watched:
            watched.page.add_init_script(COUNT_LISTENERS)
            watched.page.goto(f"http://127.0.0.1:{running.port}/#{view}?{urlencode(asked)}")
            yield watched
            watched.must_be_clean(f"127.0.0.1:{running.port}")

    return open_it


def test_the_way_past_the_menu_leads_to_the_view_that_is_shown(opened: Opened) -> None:
    with opened("inside", model="owl", text="The owl") as watched:
        page = watched.page
        expect(page.get_by_role("heading", name="Attention")).to_be_visible()
        page.get_by_role("link", name="Skip to the view").focus()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        expect(page.get_by_role("heading", name="Attention")).to_be_visible()
        assert page.evaluate("location.hash").startswith("#inside?")


def test_a_run_that_is_still_asked_for_waits_and_breaks_nothing(opened: Opened) -> None:
    held: list[Route] = []
    with opened("runs", run="third") as watched:
        page = watched.page
        expect(page.get_by_role("checkbox", name="third")).to_be_checked()
        page.route("**/glass/runs/first", lambda route: held.append(route))  # noqa: PLW0108 - a list's own is none
        page.get_by_role("checkbox", name="first").check()
        page.get_by_role("checkbox", name="second").check()
        expect(page.locator(".sample")).to_have_count(2)  # third and second
        page.get_by_role("checkbox", name="second").uncheck()
        expect(page.locator(".sample")).to_have_count(1)
        held[0].continue_()
        expect(page.locator(".sample")).to_have_count(2)


def test_texts_that_were_looked_at_are_let_go(opened: Opened) -> None:
    with opened("inside", model="owl", text="The owl") as watched:
        page = watched.page
        expect(page.get_by_text("owl, step 7")).to_be_visible()
        before = page.evaluate("listening")
        for text in ("The sea", "The river", "The fox"):
            page.get_by_label("The text it reads").fill(text)
            with page.expect_response("**/glass/inside"):
                page.get_by_role("button", name="Look inside", exact=True).click()
            expect(page.get_by_text("owl, step 7")).to_be_visible()
        assert page.evaluate("listening") == before


def test_who_has_gone_on_keeps_the_address_of_where_they_are(opened: Opened) -> None:
    held: list[Route] = []
    with opened("inside", model="owl", text="The owl") as watched:
        page = watched.page
        expect(page.get_by_text("owl, step 7")).to_be_visible()
        page.route("**/glass/models/owl", lambda route: held.append(route))  # noqa: PLW0108 - a list's own is none
        page.get_by_role("link", name="Write", exact=True).click()
        page.get_by_role("button", name="Write", exact=True).click()
        page.get_by_role("link", name="Runs", exact=True).click()
        expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
        address = page.evaluate("location.hash")
        held[0].continue_()
        page.wait_for_timeout(300)
        assert "max_tokens" not in address
        assert page.evaluate("location.hash").startswith("#runs")
        assert "model=" not in page.evaluate("location.hash")


def test_texts_that_were_refused_are_not_called_done(opened: Opened) -> None:
    with opened("lesson", model="owl", stop="4", text="The owl") as watched:
        page = watched.page
        expect(page.get_by_role("heading", name="Layers")).to_have_count(2)
        page.route("**/v1/completions", lambda route: route.fulfill(status=200, body="data: [DONE]\n\n"))
        page.get_by_role("button", name="Next: Sampling").click()
        expect(page.locator(".three .note:visible")).to_have_count(3)
        expect(page.locator(".lesson-text .status")).to_have_text("")


def test_how_long_a_run_still_takes_is_told_only_where_its_end_is_known(opened: Opened) -> None:
    with opened("runs", run="first") as watched:
        card = watched.page.locator(".run", has=watched.page.get_by_role("checkbox", name="first"))
        expect(card).to_contain_text("training")
        expect(card.locator(".steps")).to_contain_text("step 1 · ")
        expect(card.locator(".steps")).not_to_contain_text("left")
