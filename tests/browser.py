"""A real browser for tests and pictures: the system's Chromium, driven by Playwright, and pages that are watched.

One browser for each worker (the fixture `browser` in conftest.py), one context for each page. What a page says on its
console, whom it asks and whether it opens a dialog is written down, and `must_be_clean` holds it to silence.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page

NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)  # fmt: skip
OURS = "GLASSGPT_CHROMIUM"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 812}
PATIENCE_MS = 10_000  # for one step of a test; a worker shares its core
HARMLESS = {"data", "blob", "about"}  # what lies in the page itself
LEAST_CONTRAST = 4.5  # of WCAG's level AA
GRAVE = {"serious", "critical"}  # of axe's four grades


def find_chromium() -> str | None:
    """The one that GLASSGPT_CHROMIUM names, else the first that is installed."""
    asked = os.environ.get(OURS)
    return shutil.which(asked) if asked else next(filter(None, map(shutil.which, NAMES)), None)


def what_is_missing() -> str | None:
    """Why browser tests cannot run here, and what to install."""
    if importlib.util.find_spec("playwright") is None:
        return "there is no playwright: pip install -e '.[test]'"
    if find_chromium() is None:
        return f"there is no chromium: install one (apt-get install chromium), or name it in {OURS}"
    return None


@contextmanager
def launched() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if as_root else []  # Chromium refuses to be root inside its sandbox
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        try:
            yield chromium
        finally:
            chromium.close()


@contextmanager
def driven(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Between its calls Playwright's loop counts as running, and other tests of the worker could run none of theirs."""
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)


def browser_of_a_worker() -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    """The body of a fixture: started by the first test that asks, or skipped with a reason."""
    missing = what_is_missing()
    if missing is not None:
        pytest.skip(missing)
    with launched() as chromium:
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield chromium, loop
        asyncio._set_running_loop(loop)


@dataclass
class Watched:
    """A page, and all that it said and asked for."""

    page: Page
    said: list[str] = field(default_factory=list)  # errors and warnings on the console, and errors that nobody caught
    asked: list[str] = field(default_factory=list)  # every address
    dialogs: list[str] = field(default_factory=list)
    allow_dialogs: bool = False

    def must_be_clean(self, host: str = "") -> None:
        """`host` is that of the page, with its port; of a page in a file it is empty."""
        self.page.evaluate("0")  # what has happened until now is told before the answer
        assert self.said == [], f"the console says {self.said}"
        assert self.allow_dialogs or self.dialogs == [], f"dialogs opened: {self.dialogs}"
        abroad = [each for each in map(urlsplit, self.asked) if each.scheme not in HARMLESS and each.netloc != host]
        assert abroad == [], f"others were asked: {[each.geturl() for each in abroad]}"

    @property
    def too_wide_by(self) -> int:
        """How many pixels the page itself must be moved sideways to be seen whole; 0 is right."""
        width = int(self.page.evaluate("document.documentElement.scrollWidth"))
        assert self.page.viewport_size is not None
        return max(0, width - self.page.viewport_size["width"])

    def faint_texts(self) -> list[str]:
        """Texts whose contrast to what lies behind them is too low; axe leaves out those of one letter."""
        return list(self.page.evaluate(FAINT_TEXTS, LEAST_CONTRAST))

    def grave_violations(self) -> list[str]:
        """What axe finds that keeps people out: a rule, and the elements that break it."""
        axe: Any = pytest.importorskip(
            "axe_playwright_python.sync_playwright", reason="there is no axe: pip install -e '.[test]'"
        )
        found = axe.Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {node['target']} {node['failureSummary']}"
                for each in found if each["impact"] in GRAVE for node in each["nodes"]]  # fmt: skip


@contextmanager
def open_page(
    browser: Browser,
    *,
    dark: bool = False,
    phone: bool = False,
    allow_dialogs: bool = False,
    password: str | None = None,
) -> Iterator[Watched]:
    """An empty page, of a visitor who was never here; it goes with all it stored. `password`: if a server asks."""
    context = browser.new_context(
        color_scheme="dark" if dark else "light",
        viewport=PHONE if phone else DESK,  # type: ignore[arg-type]
        is_mobile=phone,
        has_touch=phone,
        http_credentials=None if password is None else {"username": "anybody", "password": password},
        reduced_motion="reduce",  # a test looks at where things end, not at how they get there
    )
    context.set_default_timeout(PATIENCE_MS)
    try:
        watched = Watched(context.new_page(), allow_dialogs=allow_dialogs)
        _listen(watched)
        yield watched
    finally:
        context.close()


def _listen(watched: Watched) -> None:
    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            watched.said.append(f"{message.type}: {message.text}")

    def answered(dialog: Dialog) -> None:
        watched.dialogs.append(f"{dialog.type}: {dialog.message}")
        dialog.accept()

    page = watched.page
    page.on("console", heard)
    page.on("dialog", answered)
    page.on("pageerror", lambda error: watched.said.append(f"uncaught: {error}"))
    page.on("request", lambda request: watched.asked.append(request.url))
    page.on("websocket", lambda channel: watched.asked.append(channel.url))
    page.on("popup", lambda other: watched.said.append(f"another window: {other.url}"))


FAINT_TEXTS = """(least) => {
  const pixel = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data].map((value) => value / 255);
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, at) => a * value + (1 - a) * below[at]);
  const parents = (element) => element ? [...parents(element.parentElement), element] : [];
  const ground = (element) => parents(element).reduce(
    (below, each) => over(read(getComputedStyle(each).backgroundColor), below), [1, 1, 1]);
  const light = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, share, at) => {
    const value = colour[at];
    return sum + share * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  }, 0);
  const contrast = (element) => {
    const behind = ground(element);
    const [r, g, b, a] = read(getComputedStyle(element).color);
    const opacity = parents(element).reduce((product, each) => product * Number(getComputedStyle(each).opacity), 1);
    const [low, high] = [light(behind), light(over([r, g, b, a * opacity], behind))].sort((one, other) => one - other);
    return (high + 0.05) / (low + 0.05);
  };
  const speaks = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll("body *:not(svg, svg *, script, style, option)")]
    .filter((element) => speaks(element) && element.checkVisibility())
    .map((element) => [contrast(element), element])
    .filter(([found]) => found < least)
    .map(([found, element]) => `${found.toFixed(2)}: ${element.outerHTML.slice(0, 120)}`);
}"""
