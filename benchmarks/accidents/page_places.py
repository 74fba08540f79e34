"""The places of the page that a stranger's text reaches, each visited as a person would.

A place is a generator: it leads the page somewhere, and yields as soon as the text should stand there, for
`page_watch.py` to look whether it does, and whether it is only text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from accidents.page_watch import Site
from browser import open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

PATIENCE_MS = 60_000  # a busy machine is no finding
BARE = "an answer without a page"  # JSON, in which signs are escaped
Place = Callable[[Site, str], Iterator[str]]


def in_the_prompt(site: Site, text: str) -> Iterator[str]:
    site.open("write", model=site.name, max_tokens=2, prompt=text)
    site.page.locator("#prompt").wait_for()
    site.write()
    yield "Write, from the address"
    site.page.locator("#prompt").fill("")
    site.page.keyboard.insert_text(text)
    site.write()
    yield "Write, typed"
    site.open("inside", model=site.name, text=text)
    site.inside()
    yield "Inside"
    site.open("lesson", model=site.name, stop=2, text=text)
    site.page.locator(".live .token").first.wait_for()
    yield "Lesson"
    site.page.goto(site.saved("prompt").as_uri())
    yield "saved page"


def in_the_output(site: Site, text: str) -> Iterator[str]:
    site.open("write", model=site.name, max_tokens=2, prompt="The", samples=2)
    site.page.locator("#prompt").wait_for()
    site.write()
    yield "Write"
    site.page.locator(".prose .tok").last.click()
    yield "Write, what else could stand there"
    site.page.locator(".odds button:not(:disabled)").first.click()
    site.until_written()
    yield "Write, led elsewhere"
    site.page.get_by_role("button", name="Look inside").first.click()
    site.inside()
    yield "Inside, what was written"
    for stop, drawn in enumerate((".cut", ".token", ".map", ".lens", ".tok"), start=1):
        site.open("lesson", model=site.name, stop=stop)
        site.page.locator(f".live {drawn}").first.wait_for()
        yield f"Lesson, stop {stop}"
    site.open("runs", run=site.name)
    site.chart()
    yield "Runs, samples"
    site.page.goto(site.saved("output").as_uri())
    yield "saved page"


def in_an_error(site: Site, text: str) -> Iterator[str]:
    """Once as the server says it, who quotes what was asked; and as if it were the whole message."""
    site.expects_refusals = True
    page, refused = site.page, {"error": {"message": text, "type": "x", "code": "x", "param": None}}

    def refuse(route: Route) -> None:
        route.fulfill(status=400, content_type="application/json", body=json.dumps(refused))

    def end(route: Route) -> None:
        route.fulfill(content_type="text/event-stream", body=f"data: {json.dumps(refused)}\n\ndata: [DONE]\n\n")

    def ask_another(route: Route) -> None:
        route.continue_(post_data=json.dumps({"model": text, "text": text}))

    for pattern, answer, view in (
        ("**/v1/completions", refuse, "write"), ("**/v1/completions", end, "write"),
        ("**/glass/models/*", refuse, "write"), ("**/glass/inside", refuse, "inside"),
        ("**/glass/inside", ask_another, "inside"),
        ("**/glass/inside", refuse, "lesson"), ("**/glass/runs", refuse, "runs"), ("**/glass/runs/*", refuse, "runs"),
        ("**/glass/follow*", refuse, "runs"), ("**/v1/models", refuse, "inside"),
    ):  # fmt: skip
        page.route(pattern, answer)
        site.open(view, model=site.other, run=site.other, text="The", n=len(pattern))
        if view == "write":
            page.locator("#prompt").press("Control+Enter")
        yield f"{view}, {pattern} {'quotes it' if answer is ask_another else 'says it'}"
        page.unroute_all()
    for path in ("page", "glass/models", "v1/models", "glass/runs"):
        page.goto(f"{site.server}/{path}/{quote(text, safe='')}")
        yield BARE


def in_the_models_name(site: Site, text: str) -> Iterator[str]:
    site.open("write", model=site.name, compare=f"{site.name}@last", max_tokens=2, prompt="The")
    site.page.locator("#prompt").wait_for()
    site.write()
    yield "Write, compared with another"
    site.open("inside", model=site.name, text="The")
    site.inside()
    yield "Inside"
    site.open("lesson", model=site.name, text="The", stop=1)
    site.page.locator(".cut").wait_for()
    yield "Lesson"
    site.page.goto(site.saved("model").as_uri())
    yield "saved page"


def in_the_runs_name(site: Site, text: str) -> Iterator[str]:
    site.open("runs", run=[site.name, site.other])
    site.chart()
    yield "Runs, beside another"
    site.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    yield "Runs, all that can be unfolded"
    site.page.locator(".run.chosen").get_by_role("button", name="write with it").first.click()
    site.page.locator("#prompt").wait_for()
    yield "Write"


PLACES: dict[str, Place] = {
    "prompt": in_the_prompt, "output": in_the_output, "error": in_an_error, "model name": in_the_models_name,
    "run name": in_the_runs_name,
}  # fmt: skip
NAMES = {"model name", "run name"}


@dataclass
class Visit:
    """What came of one text: by place all that is wrong, which is nothing; and how many moments were looked at."""

    wrong: dict[str, list[str]]
    moments: int = 0


def visit(
    browser: Browser, text: str, name: str, *, places: Iterable[str] = PLACES, views: int | None = None, **where: Any
) -> Visit:
    """The text brought to each place, or to the first `views` of each; as a name, as a folder can be called."""
    from playwright.sync_api import Error

    made = Visit({place: [] for place in places})
    with open_page(browser) as watched:
        watched.page.set_default_timeout(PATIENCE_MS)
        site = Site(watched, name=name, **where)
        for place, wrong in made.wrong.items():
            shown = name if place in NAMES else text
            try:
                for view in islice(PLACES[place](site, shown), views):
                    wrong += [f"{view}: {each}" for each in site.judge(shown, is_shown=view != BARE)]
                    made.moments += 1
            except Error as problem:
                wrong.append(f"did not come to its end: {problem}")
            site.expects_refusals = False
    return made
