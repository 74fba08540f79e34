"""The page with somebody who sees it for the first time: what is waited for, what went wrong and what has changed
since is said in plain words, and nothing old is left standing as if it were new."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

import glassgpt
from browser import Watched, open_page, what_is_missing
from glassgpt.sampling.trace import trace
from owl import log_probs_of, make_run
from served import Running, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

playwright = pytest.importorskip("playwright.sync_api", reason=what_is_missing())
expect = playwright.expect

HEADER = "step,tokens,seconds,train_loss,val_loss,learning_rate,gradient_norm,tokens_per_s,mfu,floor\n"
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


def write(page: Page) -> None:
    page.get_by_role("button", name="Write", exact=True).click()
    expect(page.locator("form .status")).to_have_text("done: 1 text")


def choose_another(page: Page, place: int) -> None:
    page.locator(".tok").nth(place).click()
    page.locator(".choice-row:not(:disabled)").first.click()
    expect(page.locator(".tok.chosen")).to_have_count(1)
    expect(page.locator("form .status")).to_have_text("done: 1 text")


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


@pytest.mark.slow
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
        write(page)
        choose_another(page, 9)
        page.get_by_role("button", name="Back", exact=True).press("Enter")
        expect(page.locator(".tok.chosen")).to_have_count(0)
        expect(page.locator(".tok[tabindex]")).to_have_count(1)
        expect(page.locator(".tok").nth(9)).to_be_focused()


def test_a_branch_of_a_model_that_was_trained_anew_meanwhile_says_so(opened: Opened, runs: Path) -> None:
    make_run(runs / "fox")
    with opened(model="fox", prompt="The owl", max_tokens=8) as watched:
        page, note = watched.page, watched.page.locator(".story .remark:visible")
        prompts: list[Any] = []
        page.on("request", lambda request: prompts.append(json.loads(request.post_data)) if request.post_data else None)
        write(page)
        before = page.locator(".prose").text_content()
        shutil.copy(runs / "fox" / "last.safetensors", runs / "fox" / "best.safetensors")
        for place in (9, 8):
            choose_another(page, place)
            expect(note).to_have_count(1)
            expect(note).to_contain_text("fox has changed since this text was begun")
            assert isinstance(prompts[-1]["prompt"], str), "the ids were those of the old one"
        expect(page.locator(".column > .legend")).to_contain_text("step 8")
        page.get_by_role("button", name="Back", exact=True).click()
        page.get_by_role("button", name="Back", exact=True).click()
        expect(note).to_have_count(0)
        assert page.locator(".prose").text_content() == before


def test_a_bookmark_to_what_is_gone_says_so(opened: Opened) -> None:
    with opened("write", compare="doomed") as watched:
        page = watched.page
        said = page.get_by_role("status")
        expect(said.filter(has_text="There is no model “doomed” to compare with.")).to_be_visible()
        page.evaluate("location.hash = '#runs?run=doomed'")
        expect(said.filter(has_text="There is no run “doomed” here, or not any more.")).to_be_visible()
        page.evaluate("location.hash = '#inside?model=doomed&text=The'")
        expect(
            said.filter(has_text="There is no model “doomed” here, or not any more: what you see is")
        ).to_be_visible()


@pytest.mark.slow
def test_a_text_that_was_refused_leaves_nothing_of_the_one_before(opened: Opened) -> None:
    with opened("inside", refused=True, text="The owl") as watched:
        page = watched.page
        expect(page.get_by_role("heading", name="Attention")).to_be_visible()
        page.get_by_label("The text it reads").fill("漢")
        page.get_by_label("The text it reads").press("Control+Enter")
        expect(page.locator(".status.wrong")).to_contain_text("never had the character")
        expect(page.get_by_role("heading", name="Attention")).to_have_count(0)


@pytest.mark.slow
def test_the_lesson_says_kindly_which_character_a_model_does_not_know(opened: Opened) -> None:
    with opened("lesson", refused=True, text="The owl") as watched:
        page = watched.page
        expect(page.locator(".shows")).to_contain_text("became 7 tokens")
        page.get_by_label("Your text").fill("Zoë")
        expect(page.locator(".shows")).to_contain_text("never had a “ë”, so it has no token for it")
        expect(page.locator(".cut")).to_have_count(0)
        page.get_by_label("Your text").fill("Zoe")
        expect(page.locator(".shows")).to_contain_text("became 3 tokens")


@pytest.mark.slow
def test_bits_worse_than_blind_guessing_are_explained_and_one_token_is_no_riddle(opened: Opened, runs: Path) -> None:
    lm = glassgpt.load(runs / "owl" / "best.safetensors", device="cpu")
    ids = lm.encode("a")
    for _ in range(12):
        ids.append(int(log_probs_of(lm, ids)[-1].argmax()))
    worse = {lm.decode(ids): False, "zq": True}
    with opened("lesson", stop="2") as watched:
        field, shows = watched.page.get_by_label("Your text"), watched.page.locator(".shows")
        for text, is_worse in worse.items():
            mean = trace(lm.model, lm.tokenizer, text).mean_bits or 0.0
            assert (mean > math.log2(lm.tokenizer.vocab_size)) is is_worse
            field.fill(text)
            expect(shows).to_contain_text(f"needs {mean:.2f} bits per token")
            assert ("worse than blind guessing" in shows.inner_text()) is is_worse
        field.fill("a")
        watched.page.locator(".stops button").nth(3).click()
        expect(shows).to_contain_text("Of its 1 answer, one after each token, 100 % was settled")
        expect(shows).not_to_contain_text("can be checked")


@pytest.mark.slow
def test_a_long_text_stays_out_of_the_address_and_what_is_not_read_is_told(opened: Opened) -> None:
    text = "The owl flew. " * 4_000
    with opened("inside", text="The owl") as watched:
        page = watched.page
        expect(page.get_by_role("heading", name="Attention")).to_be_visible()
        page.get_by_label("The text it reads").fill(text)
        page.get_by_role("button", name="Look inside", exact=True).click()
        note = page.get_by_text("The first 6,000 characters of the text are not read at all.")
        expect(note).to_contain_text("What you see are the last 64 tokens of the rest; the 49,936 before are left out.")
        page.get_by_role("button", name="Write on from here").click()
        expect(page.get_by_label("Prompt")).to_have_value(text)
        assert len(page.url) < 100


@pytest.mark.slow
def test_a_name_chooses_its_run_alone_and_time_goes_on_while_nothing_trains(opened: Opened, runs: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(runs / "owl", runs / name)
        (runs / name / "log.csv").write_text(HEADER + "1,64,0.1,2.5,2.4,0.01,0.5,1000.5,,\n")
    with opened("runs", run="first") as watched:
        page = watched.page
        page.get_by_role("checkbox", name="second").check()
        expect(page.locator(".run.chosen")).to_have_count(2)
        page.get_by_role("button", name="second", exact=True).click()
        expect(page.locator(".run.chosen .run-name")).to_have_text(["second"])
        expect(page.locator(".run.chosen .steps")).to_contain_text("just now")
        page.evaluate("() => { const now = Date.now; Date.now = () => now() + 180_000; }")
        expect(page.locator(".run.chosen .steps")).to_contain_text("3 minutes ago")


@pytest.mark.slow
def test_the_steps_of_a_run_stand_beside_it_in_their_order(opened: Opened, runs: Path) -> None:
    for step in (200, 50):
        shutil.copy(runs / "owl" / "best.safetensors", runs / "owl" / f"step-{step}.safetensors")
    with opened() as watched:
        names = watched.page.get_by_label("Model", exact=True).locator("option").all_text_contents()
        at = names.index("owl")
        assert names[at : at + 4] == ["owl", "owl@last", "owl@50", "owl@200"]
