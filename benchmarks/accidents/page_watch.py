"""A page that is watched while strangers' texts are on it: whether they are shown, and whether they are only that.

`judge` looks at one moment: what ran, became an element, opened a dialog, left the page, asked somebody else, or was
refused by the browser. Where the texts are brought is told in `page_places.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from browser import HARMLESS, Watched

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page

SHORT = 16  # letters of a text by which it is known again; a view may shorten it, or show its blanks
SHOWN = """(begin) => {
  const bare = (text) => text.replace(/[\\s\\u2028\\u2029␣⏎⇥]/g, "").replaceAll("/", "\\\\"); // as in a folder's name
  const told = [document.body.textContent, document.title];
  for (const each of document.querySelectorAll("input, textarea, [title], [aria-label]"))
    told.push(each.value ?? "", each.title ?? "", each.ariaLabel ?? "");
  return told.some((text) => bare(text).includes(bare(begin)));
}"""
MARKUP = """() => {
  const kinds = "frame, object, embed, base, meta[http-equiv=refresh], marquee, math, template, video, " +
    "audio, source, animate, set, use, foreignObject, main :is(img, script, style, link), body > img, iframe";
  const ways = new Set(["href", "src", "action", "formaction", "xlink:href", "data", "poster", "srcdoc", "background"]);
  const own = (address) => /^(#|\\/page\\/|data:,$)/.test(address);
  const bad = (element) => element.matches(kinds) || element.getAttributeNames().some((name) =>
    name.startsWith("on") || (ways.has(name) && !own(element.getAttribute(name))));
  return [...document.querySelectorAll("*")].filter(bad).map((element) => element.outerHTML.slice(0, 200));
}"""
QUIET = "() => document.querySelector('.results[aria-busy=false] .prose, .results[aria-busy=false] .note')"


@dataclass
class Site:
    """The page at a server, in a browser that tells everything; and the same text in a saved page."""

    watched: Watched
    server: str
    name: str  # of the run whose model writes the text
    other: str
    saved: Callable[[str], Path]  # a saved page; its argument is where the text stands
    moved: list[str] = field(default_factory=list)
    expects_refusals: bool = False  # of the server's: a browser tells of these on the console

    def __post_init__(self) -> None:
        self.page.on("framenavigated", self._note)

    @property
    def page(self) -> Page:
        return self.watched.page

    def open(self, view: str, **asked: Any) -> None:
        if self.page.url.startswith(self.server):
            self.page.evaluate("document.querySelector('main')?.replaceChildren()")  # what is shown then is new
        self.page.goto(f"{self.server}/#{view}?{urlencode(asked, quote_via=quote, doseq=True)}")

    def write(self) -> None:
        self.page.evaluate("document.querySelector('.results').removeAttribute('aria-busy')")
        self.page.locator("#prompt").press("Control+Enter")
        self.until_written()

    def until_written(self) -> None:
        self.page.wait_for_function(QUIET)

    def inside(self) -> None:
        self.page.locator("#view-embeddings").wait_for()

    def chart(self) -> None:
        self.page.locator(".js-plotly-plot .main-svg").first.wait_for()

    def is_shown(self, text: str) -> bool:
        from playwright.sync_api import Error

        try:
            self.page.wait_for_function(SHOWN, arg=text[:SHORT])
        except Error:
            return False
        return True

    def _note(self, frame: Frame) -> None:
        where = urlsplit(frame.url)
        if frame.parent_frame is not None or f"{where.scheme}://{where.netloc}" not in {self.server, "file://"}:
            self.moved.append(frame.url)

    def judge(self, text: str, *, is_shown: bool = True) -> list[str]:
        """What is wrong at this moment; what was told is forgotten then."""
        page, watched = self.page, self.watched
        wrong = [f"executed: __hit = {hit}" for hit in [page.evaluate("window.__hit")] if hit is not None]
        if is_shown and not self.is_shown(text):
            wrong.append("it is not shown: nothing was tried")
        wrong += [f"markup: {each}" for each in page.evaluate(MARKUP)]
        wrong += [f"dialog: {each}" for each in watched.dialogs] + [f"went to {each}" for each in self.moved]
        asked = [each for each in map(urlsplit, watched.asked) if each.scheme not in HARMLESS | {"file"}]
        wrong += [f"asked {each.geturl()}" for each in asked if each.netloc != urlsplit(self.server).netloc]
        refusal = "Failed to load resource: the server responded"
        wrong += [each for each in watched.said if not (self.expects_refusals and refusal in each)]
        for told in (watched.dialogs, watched.asked, watched.said, self.moved):
            told.clear()
        return wrong
