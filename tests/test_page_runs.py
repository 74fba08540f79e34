"""The page's view of runs as a person uses it: curves, rows that arrive, the slider, and what differs between runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from browser import Watched, open_page
from glassgpt.lab import story
from glassgpt.runs import RunFolder
from glassgpt.serve import watch
from served import Running, serving, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HEADER = "step,tokens,seconds,train_loss,val_loss,learning_rate,gradient_norm,tokens_per_s,mfu,floor\n"
NASTY = "<img src=x onerror=alert(1)>'\"&amp;" + "n" * 85
SAMPLES = (
    "=== step 1 ===\nxq zzv\n\n=== step 2 ===\nthe olw <script>alert(2)</script>\n\n=== step 4 ===\nThe owl flew.\n\n"
)
LOADING_MS = 30_000  # plotly has 5 MB, and a browser on a busy core reads it slowly
LOSS = "document.querySelector('.plot.tall')"
Opened = Callable[..., AbstractContextManager[Watched]]


@pytest.fixture(scope="module")
def place(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The newcomer's run, one that trains, and one with a name that tries to be markup."""
    runs = tmp_path_factory.mktemp("page") / "runs"
    shutil.copytree(home / "runs" / "book", runs / "book")
    for name in ("young", NASTY):
        folder = RunFolder(runs / name)
        folder.path.mkdir()
        config = (runs / "book" / "config.yaml").read_text()
        folder.config.write_text(config.replace("learning_rate: 0.01", "learning_rate: 0.005", 1))
        folder.log.write_text(HEADER + "".join(row(step) for step in range(1, 5)))
        folder.samples.write_text(SAMPLES)
    return runs


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "LOOK_S", 0.1)
        patch.setattr(watch, "SHARE", 1e6)
        with serving(place, preload=None) as server:
            yield server


@pytest.fixture
def opened(browser: Browser, running: Running) -> Opened:
    """The view in a browser, with these runs chosen; when it is closed, it must have been silent."""

    @contextmanager
    def open_it(*runs: str, **how: Any) -> Iterator[Watched]:
        with open_page(browser, **how) as watched:
            watched.page.goto(f"http://127.0.0.1:{running.port}/#runs?{urlencode([('run', name) for name in runs])}")
            watched.page.wait_for_selector(".plot.tall .scatterlayer .trace", timeout=LOADING_MS)
            yield watched
            watched.must_be_clean(f"127.0.0.1:{running.port}")

    return open_it


def row(step: int) -> str:
    val = f"{2.6 - step / 10:.1f}" if step % 2 == 0 else ""
    return f"{step},{step * 64},{step / 10},{2.5 - step / 8},{val},0.01,0.5,1000.5,,\n"


def curve(page: Page, which: int) -> dict[str, Any]:
    """What is drawn of the loss: 0 is training, 1 held-out text, of the first run that is chosen."""
    return dict(page.evaluate(f"() => {{ const {{ x, y }} = {LOSS}.data[{which}]; return {{ x, y }}; }}"))


def until(page: Page, holds: str) -> None:
    """Asked again and again from outside: the page's policy lets nothing evaluate a text inside."""
    wait_until(lambda: page.evaluate(holds))


def test_the_view_is_used_as_a_person_does(opened: Opened, place: Path) -> None:
    with opened("young") as watched:
        rows_arrive_by_the_one_request_that_is_open(watched, RunFolder(place / "young"))
        the_slider_walks_through_the_samples_by_keyboard(watched.page)
        two_runs_are_compared(watched.page)
        assert watched.faint_texts() == []
        assert watched.grave_violations() == []
        watched.page.get_by_role("button", name="write with it: book").click()
        until(watched.page, "location.hash.startsWith('#write?model=book')")


def rows_arrive_by_the_one_request_that_is_open(watched: Watched, folder: RunFolder) -> None:
    page = watched.page
    columns = story.columns_of(story.log_of(folder))
    assert curve(page, 0) == {"x": columns["step"], "y": columns["train_loss"]}
    assert curve(page, 1) == {"x": [2, 4], "y": [2.4, 2.2]}
    wait_until(lambda: page.evaluate("true") and any("/glass/follow" in url for url in watched.asked))
    asked = len(watched.asked)
    with folder.log.open("a") as file:
        file.write(row(5) + row(6))
    until(page, f"{LOSS}.data[0].x.at(-1) === 6")
    assert curve(page, 1)["y"][-1] == 2.0
    until(page, "document.body.innerText.includes('step 6 of')")
    assert len(watched.asked) == asked
    assert sum("/glass/follow" in url for url in watched.asked) == 1


def the_slider_walks_through_the_samples_by_keyboard(page: Page) -> None:
    slider = page.get_by_role("slider", name="Step")
    text = page.locator(".sample blockquote")
    assert text.text_content() == "The owl flew."
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert text.text_content() == "the olw <script>alert(2)</script>"
    assert slider.get_attribute("aria-valuetext") == "step 2"
    assert "validation loss 2.400" in page.locator(".sample h3").inner_text()
    page.keyboard.press("Home")
    assert text.text_content() == "xq zzv"


def two_runs_are_compared(page: Page) -> None:
    """Chosen by keyboard; what differs is told first, the curves are drawn as one asks, and the address keeps it."""
    page.get_by_role("checkbox", name="book").focus()
    page.keyboard.press("Space")
    until(page, f"{LOSS}.data.length === 4")
    first = page.get_by_role("region", name="what differs").locator("tbody tr")
    assert first.locator("th").all_inner_texts() == ["learning_rate"]
    assert first.locator("td").all_inner_texts() == ["0.005", "0.01"]
    assert page.locator(".sample").count() == 2
    page.get_by_label("Across").select_option("tokens")
    until(page, f"{LOSS}.data[0].x[0] === 64")
    page.get_by_label("logarithmic loss").check()
    until(page, f"{LOSS}.layout.yaxis.type === 'log'")
    assert page.url.endswith("#runs?run=young&run=book&x=tokens&log=yes")
    page.get_by_text("Loss as numbers").click()
    cells = page.get_by_role("region", name="Loss as numbers").locator("tbody tr").first.locator("td")
    cells.first.wait_for()
    assert cells.all_inner_texts()[:3] == ["young", "64", "2.375"]


def test_a_name_that_tries_to_be_markup_is_a_name_also_in_the_dark_and_on_a_phone(opened: Opened) -> None:
    with opened(NASTY, phone=True, dark=True) as watched:
        assert watched.page.locator(".run.chosen .run-name").text_content() == NASTY
        assert watched.page.locator("img:not(.brand img)").count() == 0
        assert watched.too_wide_by == 0
        assert watched.faint_texts() == []
        assert watched.grave_violations() == []
