"""The page as a whole, in a real browser: the ways through it, for everybody, with a key, and when the server goes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode

import pytest

import glassgpt
from browser import Watched, open_page, what_is_missing
from glassgpt.serve.limits import Access
from served import Running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason=what_is_missing())
expect = playwright.expect

TEXT = "The owl flew"  # no more than the model sees at once
DRAWN = {"write": "#prompt", "inside": "#view-embeddings", "runs": ".js-plotly-plot .main-svg", "lesson": ".live .cut"}
OTHERS = ("write", "runs", "lesson")
TITLES = {"write": "Write", "inside": "Inside", "runs": "Runs", "lesson": "Lesson"}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LOADING_MS = 30_000  # plotly has 5 MB, which a browser on a busy core reads slowly
REFUSED = "Failed to load resource: net::ERR_"  # what a browser says by itself where nobody answers
FOCUS = """() => {
  const at = document.activeElement;
  const box = at.getBoundingClientRect();
  const text = (at.ariaLabel ?? at.textContent).trim() || at.labels?.[0]?.textContent || "";
  return { text, kind: at.localName, seen: box.width > 0 && box.left >= 0 && box.right <= innerWidth };
}"""
Opened = Callable[..., AbstractContextManager[Watched]]


@pytest.fixture(scope="module")
def runs(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of them, so that they can be compared."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("book", "book-2"):
        shutil.copytree(home / "runs" / "book", folder / name)
    return folder


@pytest.fixture(scope="module")
def running(runs: Path) -> Iterator[Running]:
    with serving(runs) as server:
        yield server


@pytest.fixture
def opened(browser: Browser, running: Running) -> Opened:
    """The page in a browser; when it is closed, it must have been silent."""

    @contextmanager
    def open_it(view: str, *, asked: dict[str, Any] | None = None, **how: Any) -> Iterator[Watched]:
        with open_page(browser, **how) as watched:
            go(watched.page, running.port, view, **(asked or {}))
            yield watched
            watched.must_be_clean(f"127.0.0.1:{running.port}")

    return open_it


def go(page: Page, port: int, view: str, **asked: Any) -> None:
    page.goto(f"http://127.0.0.1:{port}/#{view}?{urlencode(asked)}")
    arrive(page, view)


def arrive(page: Page, view: str) -> None:
    """Until the view is drawn, and nothing else is."""
    expect(page).to_have_title(f"{TITLES[view]} · glassgpt")
    page.locator(DRAWN[view]).first.wait_for(timeout=LOADING_MS)
    assert page.locator("nav[aria-label=views] a[aria-current]").all_inner_texts() == [TITLES[view]]
    assert page.locator("h1").count() == page.locator("main").count() == 1


def write(page: Page) -> str:
    """What stands there when it is written."""
    page.locator(".results").evaluate("(results) => results.removeAttribute('aria-busy')")  # of what was written before
    page.get_by_role("button", name="Write", exact=True).click()
    until_written(page)
    return str(page.locator(".prose").first.evaluate("(prose) => prose.textContent"))


def until_written(page: Page) -> None:
    expect(page.locator(".results")).to_have_attribute("aria-busy", "false")
    page.locator(".prose .tok").first.wait_for()
    expect(page.locator(".writing")).to_have_count(0)  # all of it is drawn


def tab(page: Page) -> dict[str, Any]:
    page.keyboard.press("Tab")
    return dict(page.evaluate(FOCUS))


# --- ways through it --------------------------------------------------------------------------------------------------


# Runs has to read plotly each time, which takes a second or two.
@pytest.mark.parametrize("views", [("write", "lesson"), pytest.param(tuple(TITLES), marks=pytest.mark.slow)])
def test_the_keyboard_alone_reaches_every_view_and_what_is_in_it(opened: Opened, views: Sequence[str]) -> None:
    with opened("inside", asked={"text": TEXT, "model": "book"}) as watched:
        page = watched.page
        skip = tab(page)
        assert (skip["text"], skip["seen"]) == ("Skip to the view", True)
        page.keyboard.press("Enter")
        arrive(page, "inside")
        assert tab(page)["kind"] == "select"
        for view in views:
            page.evaluate("document.activeElement.blur(), document.querySelector('.skip').focus()")
            assert [tab(page)["text"] for _ in range(5)] == ["glassgpt", *TITLES.values()]
            while page.evaluate(FOCUS)["text"] != TITLES[view]:
                page.keyboard.press("Shift+Tab")
            assert page.evaluate(FOCUS)["seen"]
            page.keyboard.press("Enter")
            arrive(page, view)
            assert page.evaluate("document.activeElement.id") == "view"
            first = tab(page)
            assert first["kind"] in {"textarea", "select", "input", "button"}
            assert first["seen"]
            assert page.locator("[tabindex]:not([tabindex='0'], [tabindex='-1'])").count() == 0


def test_back_and_forward_lead_through_the_views_and_a_reload_restores_them(opened: Opened, running: Running) -> None:
    with opened("write", asked={"prompt": TEXT, "max_tokens": 7, "model": "book@last"}) as watched:
        page = watched.page
        write(page)
        for view in ("inside", "lesson"):
            page.get_by_role("link", name=TITLES[view], exact=True).click()
            arrive(page, view)
        page.go_back()
        arrive(page, "inside")
        page.go_back()
        arrive(page, "write")
        for again in (lambda: None, page.reload):
            again()
            arrive(page, "write")
            expect(page.locator("#prompt")).to_have_value(TEXT)
            expect(page.get_by_label("Length")).to_have_value("7")
            expect(page.get_by_label("Model", exact=True)).to_have_value("book@last")
        page.go_forward()
        arrive(page, "inside")
        page.get_by_label("The text it reads").fill("The sea")
        page.get_by_role("button", name="Look inside").click()
        expect(page.locator(".strip .token")).to_have_count(2 * len("The sea"))  # twice: as text, and below attention
        page.reload()
        arrive(page, "inside")
        expect(page.get_by_label("The text it reads")).to_have_value("The sea")
        go(page, running.port, "lesson", text=TEXT)
        page.get_by_role("button", name="Next").click()
        for again in (lambda: None, page.reload):
            again()
            expect(page.locator(".kicker")).to_have_text("Lesson, 2 of 5")
            expect(page.locator(".live .strip .token")).to_have_count(len(TEXT))


@pytest.mark.slow
def test_two_pages_at_once_do_not_mix_their_texts(browser: Browser, running: Running) -> None:
    with open_page(browser) as one, open_page(browser) as other:
        pages = {"The owl": one.page, "the sea": other.page}
        for prompt, page in pages.items():
            go(page, running.port, "write", prompt=prompt, max_tokens=120, seed=3)
        for page in pages.values():
            page.get_by_role("button", name="Write", exact=True).click()
        for prompt, page in pages.items():
            until_written(page)
            text = page.locator(".prose").evaluate("(prose) => prose.textContent")
            _, _, body = running.complete(prompt=prompt, max_tokens=120, seed=3, temperature=0.7, min_p=0.1)
            assert text == prompt + body["choices"][0]["text"]
        for watched in (one, other):
            watched.must_be_clean(f"127.0.0.1:{running.port}")


# --- for everybody ----------------------------------------------------------------------------------------------------


# Each view's own tests try it in use; here all stand as visitors first find them.
@pytest.mark.slow
@pytest.mark.parametrize("view", DRAWN)
def test_nothing_keeps_people_out_of_a_view_in_light_and_in_dark(opened: Opened, view: str) -> None:
    with opened(view, asked={"text": TEXT, "prompt": TEXT, "run": "book", "max_tokens": 5}) as watched:
        page = watched.page
        if view == "write":
            write(page)
            page.locator(".prose .tok").last.click()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert watched.faint_texts() == []
            assert watched.grave_violations() == []


@pytest.mark.parametrize("others", [(), pytest.param(OTHERS, marks=pytest.mark.slow)])
def test_on_a_phone_no_view_is_wider_than_the_screen(opened: Opened, others: Sequence[str]) -> None:
    with opened("inside", asked={"text": TEXT}, phone=True) as watched:
        page = watched.page
        page.locator(".strip .token").nth(4).tap()
        assert watched.too_wide_by == 0
        for view in others:
            page.get_by_role("link", name=TITLES[view], exact=True).tap()
            arrive(page, view)
            page.locator("details").evaluate_all("(all) => all.forEach((each) => { each.open = true; })")
            assert watched.too_wide_by == 0, view


# --- with a key, and without a server ---------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [("inside",), pytest.param(("inside", "runs", "lesson"), marks=pytest.mark.slow)])
def test_who_has_the_key_uses_the_page_and_who_has_not_is_asked_for_it(
    browser: Browser, runs: Path, others: Sequence[str]
) -> None:
    with serving(runs, access=Access(key="s3cret")) as server:
        host = f"127.0.0.1:{server.port}"
        with open_page(browser, password="s3cret") as watched:
            go(watched.page, server.port, "write", prompt=TEXT, max_tokens=5)
            assert write(watched.page).startswith(TEXT)
            for view in others:
                go(watched.page, server.port, view, text=TEXT)
            watched.said = [said for said in watched.said if "401" not in said]  # the question, which was answered
            watched.must_be_clean(host)
        unanswered = pytest.raises(playwright.Error, match="ERR_INVALID_AUTH_CREDENTIALS")  # the browser's own question
        with open_page(browser) as watched, unanswered:
            watched.page.goto(f"http://{host}/")
        with open_page(browser, password="guess") as watched:
            answer = watched.page.goto(f"http://{host}/")
            assert answer is not None
            assert answer.status == 401
            assert watched.page.locator("main").count() == 0


def test_a_page_whose_server_stopped_says_so_and_goes_on_with_the_next_one(browser: Browser, runs: Path) -> None:
    with open_page(browser) as watched:
        page = watched.page
        with serving(runs) as server:
            port = server.port
            go(page, port, "inside", text=TEXT, model="book")
        page.get_by_role("button", name="Look inside").click()
        expect(page.locator(".status.wrong")).to_contain_text("the server does not answer")
        page.get_by_role("link", name="Write", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("the server does not answer")
        with serving(runs, port=port):
            page.get_by_role("link", name="Inside", exact=True).click()
            arrive(page, "inside")
            page.get_by_role("link", name="Write", exact=True).click()
            arrive(page, "write")
            page.locator("#prompt").fill(TEXT)
            page.get_by_label("Length").fill("4")
            assert write(page).startswith(TEXT)
        page.get_by_role("button", name="Write", exact=True).click()
        expect(page.locator(".results")).to_contain_text("the server does not answer")
        with serving(runs, port=port):
            assert write(page).startswith(TEXT)
        watched.said = [said for said in watched.said if REFUSED not in said]
        watched.must_be_clean(f"127.0.0.1:{port}")


@pytest.mark.slow
def test_the_view_runs_waits_for_the_next_server_and_goes_on_by_itself(browser: Browser, runs: Path) -> None:
    with open_page(browser) as watched:
        page = watched.page
        with serving(runs, preload=None) as server:
            go(page, server.port, "runs", run="book")
        expect(page.locator(".status.wrong")).to_contain_text("What is shown stands still", timeout=LOADING_MS)
        with serving(runs, preload=None, port=server.port):
            expect(page.locator(".status.wrong")).to_have_count(0, timeout=LOADING_MS)
            expect(page.locator(".run .run-name")).to_have_text(["book", "book-2"])


@pytest.mark.slow
def test_a_text_whose_server_is_killed_stays_as_far_as_it_came_and_says_why(browser: Browser, runs: Path) -> None:
    command = [sys.executable, "-m", "glassgpt", "serve", str(runs), "--port", "0", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(Path(glassgpt.__file__).parents[1])}
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    with started as server, open_page(browser) as watched:
        assert server.stdout is not None
        page, port = watched.page, int(server.stdout.readline().rsplit(":", 1)[1].removesuffix("/v1\n"))
        go(page, port, "write", prompt=TEXT, max_tokens=4000)
        page.get_by_role("button", name="Write", exact=True).click()
        page.locator(".prose .tok").nth(20).wait_for()
        server.kill()
        expect(page.locator(".story .note")).to_contain_text("the server broke off in the middle")
        assert str(page.locator(".prose").inner_text()).startswith(TEXT)
        assert page.locator(".writing").count() == 0
