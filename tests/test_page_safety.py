"""What strangers write into the page is shown and nothing more, by a real browser's word; and the key guards all of it.

The program benchmarks/page_test.py tries fifty texts at five places; here is one that holds the worst of them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browser import open_page
from glassgpt.serve.limits import Access
from served import Running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

ROOT = Path(__file__).parents[1]
WORST = (
    "\"'></script></title></textarea><img src=x onerror=top.__hit=1><svg onload=top.__hit=1>"
    '<a href="javascript:top.__hit=1"><iframe srcdoc="<script>top.__hit=1</script>"></iframe>'
)
# In place of `element.append(...children)`, by which text stays text.
TRUSTING = """
  for (const child of children)
    if (typeof child === "string") element.insertAdjacentHTML("beforeend", child);
    else element.append(child);
"""


@pytest.fixture(scope="module")
def programs() -> Iterator[Callable[[str], Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module
    for name in [name for name in sys.modules if name.partition(".")[0] in {"accidents", "page_test", "common"}]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def program(programs: Callable[[str], Any]) -> Any:
    return programs("page_test")


@pytest.fixture(scope="module")
def running(program: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Runs that are called like the text, hold it wherever text can stand, and whose models write it."""
    folder = tmp_path_factory.mktemp("strangers")
    program.make_runs(folder / "runs", [WORST])
    with serving(folder / "runs", preload=None) as server:
        yield server


@pytest.fixture
def brought(browser: Browser, program: Any, running: Running, tmp_path: Path) -> Callable[..., Any]:
    folder = Path(str(running.desk.shelf.place)).parent

    def bring(**how: Any) -> Any:
        return program.bring(browser, f"http://127.0.0.1:{running.port}", folder, WORST, **how)

    return bring


def test_fifty_injections_are_fifty_and_fit_in_a_folders_name(program: Any) -> None:
    names = {program.as_name(text) for text in program.INJECTIONS}
    assert len(names) == 50
    assert max(len(name.encode()) for name in names) < 256


def test_a_text_at_any_place_of_the_page_is_only_shown(brought: Callable[..., Any], program: Any) -> None:
    made = brought(views=2)
    assert made.wrong == {place: [] for place in program.PLACES}
    assert made.moments == 2 * len(program.PLACES) == 10


@pytest.mark.slow
def test_in_every_view_too(brought: Callable[..., Any], program: Any) -> None:
    made = brought()
    assert made.wrong == {place: [] for place in program.PLACES}
    assert made.moments > 30


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_page_that_took_text_for_markup_would_be_found_out(
    browser: Browser, program: Any, running: Running, is_guarded: bool
) -> None:
    """With the policy the browser refuses to run it, and without it does run; both are seen."""
    watch = sys.modules["accidents.page_watch"]
    url = f"http://127.0.0.1:{running.port}"

    def weakened(route: Route) -> None:
        answer = route.fetch()
        body = answer.text().replace("element.append(...children);", TRUSTING)
        headers = {name: value for name, value in answer.headers.items() if name != "content-security-policy"}
        route.fulfill(response=answer, body=body, headers=answer.headers if is_guarded else headers)

    with open_page(browser) as watched:
        watched.page.route("**/page/*.js", weakened)
        watched.page.route(f"{url}/", weakened)
        site = watch.Site(watched, server=url, name=program.as_name(WORST), other=program.PLAIN, saved=None)
        site.open("inside", model=site.name, text="The")
        site.inside()
        wrong = "\n".join(site.judge(site.name, is_shown=False))
    assert "markup: <img" in wrong
    assert "markup: <a href=" in wrong
    assert ("executed: __hit = 1" in wrong) is not is_guarded
    assert ("Content Security Policy" in wrong) is is_guarded


def test_no_path_leads_out_by_any_route_that_takes_a_name(program: Any, running: Running) -> None:
    promise = program.paths(running)
    assert promise.tried >= 40
    assert promise.failed == 0


def test_every_route_and_method_wants_the_key(program: Any, running: Running) -> None:
    with serving(str(running.desk.shelf.place), preload=None, access=Access(key=program.KEY)) as server:
        promise = program.keys(server)
        assert promise.tried > 200
        assert promise.failed == 0
        assert server.ask("GET", "/health")[0] == 200
