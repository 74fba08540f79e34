"""The page of `glassgpt inspect --html` in a real browser, as a person uses it; and its numbers are the model's."""

from __future__ import annotations

import asyncio
import json
import math
import string
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch

import glassgpt
from browser import Watched, open_page
from conftest import stirred
from glassgpt.checkpoint import Checkpoint, save_checkpoint, weights_of
from glassgpt.cli.main import main
from glassgpt.config import ModelConfig, RunConfig
from glassgpt.lab.page import saved_page
from glassgpt.library import LanguageModel
from glassgpt.model.gpt import GPT
from glassgpt.sampling.trace import Trace, trace
from glassgpt.settings import flat
from glassgpt.text.chars import CharTokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

TEXT = "The owl\nflew over the sea"
LAYERS, HEADS = 2, 3
TOKENIZER = CharTokenizer(string.printable)
LAST = len(TEXT) - 1
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
NASTY = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "<svg onload=alert(3)><iframe srcdoc='<script>parent.alert(4)</script>'>",
    "\"'><a href=javascript:alert(5) autofocus onfocus=alert(6)>",
    "{script}</style><style>*{display:none}</style><!--",
]
Opened = Callable[..., AbstractContextManager[Watched]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with all its numbers random, so that no two heads and layers are alike."""
    config = ModelConfig(vocab_size=TOKENIZER.vocab_size, d_model=24, n_layers=LAYERS, n_heads=HEADS, max_seq_len=40,
                         position="learned")  # fmt: skip
    weights = weights_of(stirred(GPT(config, seed=1), by=0.3))
    path = tmp_path_factory.mktemp("model") / "owl.safetensors"
    facts: dict[str, Any] = {"tokenizer_json": TOKENIZER.to_json(), "settings": flat(RunConfig())}
    save_checkpoint(path, Checkpoint(model_config=config, step=7, weights=weights, **facts))
    return path


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> LanguageModel:
    return glassgpt.load(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def seen(model: LanguageModel) -> Trace:
    return trace(model.model, model.tokenizer, TEXT)


@pytest.fixture(scope="module")
def file(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, made as one types it."""
    path = tmp_path_factory.mktemp("page") / "owl.html"
    typed = TEXT.replace("\n", "\\n")
    assert main(["inspect", str(checkpoint), typed, "--html", str(path), "--device", "cpu"]) == 0
    return path


@pytest.fixture
def opened(browser: Browser, file: Path) -> Opened:
    """The page in a browser; when it is closed, it must have been silent."""

    @contextmanager
    def open_it(place: Path = file, **how: Any) -> Iterator[Watched]:
        with open_page(browser, **how) as watched:
            watched.page.goto(place.as_uri())
            yield watched
            watched.must_be_clean()
            assert [url for url in watched.asked if not url.startswith("data:")] == [place.as_uri()]

    return open_it


def view(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def tokens(page: Page, name: str = "Tokens") -> Locator:
    return view(page, name).locator(".token")


# The place of the token that each view shows, read from what is drawn.
LOOKS = """() => {
  const all = (query) => [...document.querySelectorAll(query)];
  const here = (elements) => [...elements].findIndex((element) => element.classList.contains("here"));
  const named = (query) => Number(document.querySelector(query).textContent.match(/Token (\\d+)/)[1]) - 1;
  const [surprise, norms] = all(".curve").map((curve) => {
    const places = [...curve.querySelectorAll(".sense")].map((sense) => sense.getAttribute("x"));
    return places.indexOf(curve.querySelector(".band").getAttribute("x"));
  });
  const columns = new Set(all(".lens tr").map((row) => here(row.children) - 1));
  const light = all(".pair .token");
  return {
    text: here(all(".token:not(.pair .token)")), panel: named(".panel h3"), surprise, norms,
    head: named(".pair .said"), light: here(light),
    row: Math.round(parseFloat(document.querySelector(".marker").style.top) / 100 * light.length),
    lens: columns.size === 1 ? [...columns][0] : -1,
  };
}"""
NAMELESS = """() => [...document.querySelectorAll("button, canvas, svg, select, [role=region], [role=group]")]
  .filter((each) => !each.closest("[aria-hidden=true]") && !each.ariaLabel && !each.labels?.[0]?.textContent.trim())
  .map((each) => each.outerHTML.slice(0, 200))"""
STRENGTHS = """(canvas) => {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const drawn = copy.getContext("2d", { willReadFrequently: true });
  drawn.drawImage(canvas, 0, 0);
  return [...drawn.getImageData(0, 0, copy.width, copy.height).data].filter((_, place) => place % 4 === 3);
}"""


def all_look_at(page: Page, place: int) -> None:
    looks = page.evaluate(LOOKS)
    assert looks == dict.fromkeys(looks, place)
    assert len(looks) == 8


def shares_shown(share: float) -> str:
    """As the page rounds it."""
    if share >= 0.0995:
        return f"{math.floor(share * 100 + 0.5)} %"
    return f"{share * 100:.1f} %" if share >= 0.001 else "<0.1 %"


# --- as a person uses it ----------------------------------------------------------------------------------------------


def test_it_opens_from_a_file_shows_every_view_and_asks_nobody(opened: Opened) -> None:
    with opened() as watched:
        page = watched.page
        assert page.title() == page.locator("h1").inner_text() == "Inside owl.safetensors"
        headings = ["Tokens", "Surprise", "Attention", "Layers", "Norms", "Embeddings", "Positions"]
        assert page.locator("h2").all_inner_texts() == headings
        assert tokens(page).all_inner_texts() == list(TEXT.replace(" ", "␣").replace("\n", "⏎"))
        assert page.locator(".map").count() == LAYERS * HEADS
        all_look_at(page, LAST)


def test_the_pointer_moves_every_view_to_a_token_and_back_when_it_leaves(opened: Opened) -> None:
    with opened() as watched:
        page = watched.page
        tokens(page).nth(5).hover()
        all_look_at(page, 5)
        page.locator("h1").hover()
        all_look_at(page, LAST)
        tokens(page, "Attention").nth(3).click()
        page.locator("h1").hover()
        all_look_at(page, 3)
        view(page, "Layers").locator("tbody tr").nth(1).locator("td").nth(9).click()
        page.locator("h1").hover()
        all_look_at(page, 9)
        view(page, "Surprise").locator(".sense").nth(6).click(force=True)
        all_look_at(page, 6)
        large = page.locator(".large")
        side = float(large.evaluate("canvas => canvas.clientHeight"))
        large.hover(position={"x": 5, "y": side * 12.5 / len(TEXT)})
        all_look_at(page, 12)


def test_the_keyboard_alone_walks_through_the_text_and_reaches_every_view(opened: Opened) -> None:
    with opened() as watched:
        page, keys = watched.page, watched.page.keyboard
        keys.press("Tab")
        for key, place in (
            ("Home", 0),
            ("ArrowRight", 1),
            ("ArrowDown", 2),
            ("ArrowLeft", 1),
            ("End", LAST),
            ("ArrowRight", LAST),
        ):
            keys.press(key)
            all_look_at(page, place)
            assert page.evaluate("document.activeElement.className") == (
                "token given here" if place == 0 else "token here"
            )
        stops = []
        for _ in range(LAYERS * HEADS + 8):
            keys.press("Tab")
            stops.append(page.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
        assert stops[:8] == ["DIV.scroll", *["BUTTON.map"] * LAYERS * HEADS, "CANVAS.large"]
        assert stops[8:13] == ["BUTTON.token here", "DIV.scroll", "DIV.scroll", "SELECT.", "SELECT."]


def test_a_head_is_chosen_by_mouse_and_by_keyboard_and_its_rows_by_arrows(opened: Opened) -> None:
    with opened() as watched:
        page = watched.page
        title = view(page, "Attention").locator("h3")
        assert title.inner_text() == "Layer 1, head 1"
        said = view(page, "Attention").locator(".said")
        first = said.inner_text()
        page.get_by_role("button", name="layer 2, head 3").click()
        assert title.inner_text() == "Layer 2, head 3"
        assert said.inner_text() != first
        page.get_by_role("button", name="layer 1, head 2").focus()
        page.keyboard.press("Enter")
        assert title.inner_text() == "Layer 1, head 2"
        assert page.locator('.map[aria-pressed="true"]').count() == 1
        large = page.get_by_role("img", name="attention map of layer 1, head 2")
        large.focus()
        page.keyboard.press("ArrowUp")
        all_look_at(page, LAST - 1)
        page.keyboard.press("Home")
        all_look_at(page, 0)


def test_a_token_of_the_map_is_chosen_and_its_neighbours_are_told(opened: Opened, seen: Trace) -> None:
    with opened() as watched:
        embeddings = view(watched.page, "Embeddings")
        for point in (seen.embeddings.tokens[40], seen.embeddings.tokens[7]):
            embeddings.locator("select").select_option(label=point.name.replace(" ", "␣"))
            told = [f"{name.replace(' ', '␣')} ({cosine:.2f})" for name, cosine in point.near]
            assert embeddings.locator(".said").inner_text().endswith(f": {', '.join(told)}.")
            assert embeddings.locator(".dot.here").count() == 1
            assert embeddings.locator(".ties line").count() == embeddings.locator(".dot.near").count() == len(told)


# --- the numbers are the model's --------------------------------------------------------------------------------------


def test_the_numbers_that_the_page_holds_are_those_of_a_full_pass_and_of_the_trace(
    file: Path, model: LanguageModel, seen: Trace
) -> None:
    html = file.read_text(encoding="utf-8")
    held = json.loads(html.split('id="trace">')[1].split("</script>")[0])
    with torch.inference_mode():
        logits_BTV, _ = model.model(torch.tensor([model.encode(TEXT)]))
    probs_TV = logits_BTV[0].softmax(dim=-1)
    for place, token in enumerate(held["tokens"][1:]):
        assert token["probability"] == pytest.approx(float(probs_TV[place, token["token_id"]]), rel=1e-4)
        assert token["bits"] == pytest.approx(-math.log2(float(probs_TV[place, token["token_id"]])), rel=1e-4)
    for place, guess in enumerate(held["lens"][-1]):
        assert guess["token_id"] == int(probs_TV[place].argmax())
        assert guess["probability"] == pytest.approx(float(probs_TV[place].max()), rel=1e-4)
    for layer, heads in enumerate(held["attention"]):
        for head, rows in enumerate(heads):
            for place, row in enumerate(rows):
                assert sum(row) == pytest.approx(1, abs=1e-3)
                assert row == pytest.approx(seen.attention[layer][head][place, : place + 1].tolist(), abs=1e-5)


def test_what_is_displayed_of_each_token_is_its_probability_its_bits_and_its_rank(opened: Opened, seen: Trace) -> None:
    with opened() as watched:
        page = watched.page
        labels = tokens(page).evaluate_all("all => all.map((each) => each.getAttribute('aria-label'))")
        tips = view(page, "Surprise").locator("rect.surprise title").all_text_contents()
        for token, label, tip in zip(seen.tokens[1:], labels[1:], tips, strict=True):
            assert token.probability is not None
            assert f": {shares_shown(token.probability)}, {token.bits:.2f} bits, rank {token.rank}; " in label
            assert tip.endswith(f": {token.bits:.2f} bits")
        tokens(page).nth(8).click()
        for guess, row in zip(seen.tokens[8].expected, page.locator(".panel li").all_inner_texts(), strict=True):
            assert row.split("\n")[-1] == shares_shown(guess.probability)
        tokens(page).nth(LAST).click()
        behind = page.locator(".panel ol").nth(1).locator(".number").all_inner_texts()
        assert behind == [shares_shown(guess.probability) for guess in seen.upcoming]


def test_what_is_displayed_of_attention_are_the_weights_of_that_head(opened: Opened, seen: Trace) -> None:
    with opened() as watched:
        page = watched.page
        for layer, head, place in ((0, 1, 14), (1, 2, LAST)):
            page.get_by_role("button", name=f"layer {layer + 1}, head {head + 1}").click()
            tokens(page, "Attention").nth(place).click()
            weights_TS = torch.from_numpy(seen.attention[layer][head])
            best = weights_TS[place].topk(3)
            said = view(page, "Attention").locator(".said").inner_text()
            for where, weight in zip(best.indices.tolist(), best.values.tolist(), strict=True):
                assert f"{where + 1} “{seen.tokens[where].name.replace(' ', '␣')}” {shares_shown(weight)}" in said
            drawn = page.locator(".large").evaluate(STRENGTHS)
            drawn_TS = torch.tensor(drawn, dtype=torch.float32).view(len(TEXT), len(TEXT)) / 255
            assert float((drawn_TS - weights_TS.tril().sqrt()).abs().max()) < 2 / 255, "one pixel for each weight"


def test_what_is_displayed_of_the_layers_ends_with_the_models_own_prediction(opened: Opened, seen: Trace) -> None:
    with opened() as watched:
        rows = view(watched.page, "Layers").locator("tbody tr")
        assert rows.count() == LAYERS + 1
        for depth in range(LAYERS + 1):
            shown = rows.nth(depth).locator("td small").all_inner_texts()
            assert [cell.removesuffix(" ✓") for cell in shown] == [
                shares_shown(guess.probability) for guess in seen.lens[depth]
            ]
        last = rows.nth(LAYERS).locator("td")
        best = [token.expected[0] for token in seen.tokens[1:]] + [seen.upcoming[0]]
        assert last.locator("code").all_inner_texts() == [guess.name.replace(" ", "␣") for guess in best]
        assert last.locator("small").all_inner_texts()[-1] == shares_shown(best[-1].probability)


# --- for everybody ----------------------------------------------------------------------------------------------------


def test_nothing_keeps_people_out_in_light_and_in_dark(opened: Opened) -> None:
    with opened() as watched:
        tokens(watched.page).nth(4).click()  # what lies behind it is shown fainter
        assert watched.page.evaluate(NAMELESS) == []
        for scheme in SCHEMES:
            watched.page.emulate_media(color_scheme=scheme)
            assert watched.faint_texts() == []
            assert watched.grave_violations() == []


def test_on_a_phone_the_page_is_as_wide_as_the_screen(opened: Opened) -> None:
    with opened(phone=True) as watched:
        assert watched.too_wide_by == 0
        tokens(watched.page).nth(6).tap()
        all_look_at(watched.page, 6)
        assert watched.too_wide_by == 0


def test_a_page_that_is_too_wide_faint_or_speaks_would_be_found_out(browser: Browser) -> None:
    with open_page(browser, phone=True) as watched:
        watched.page.set_content(
            "<title>x</title><p style='width: 500px; color: #999'>A</p><img src='http://127.0.0.1:9/x.png'>"
        )
        assert watched.too_wide_by > 100
        assert [each[:4] for each in watched.faint_texts()] == ["2.85"]
        assert "image-alt" in "".join(watched.grave_violations())
        with pytest.raises(AssertionError, match="console says"):
            watched.must_be_clean()
        watched.said.clear()
        with pytest.raises(AssertionError, match="others were asked"):
            watched.must_be_clean()
        watched.must_be_clean("127.0.0.1:9")
        watched.page.evaluate("alert('boo')")
        with pytest.raises(AssertionError, match=r"dialogs opened: .*boo"):
            watched.must_be_clean("127.0.0.1:9")


def test_between_its_tests_the_browser_leaves_the_event_loop_to_others(browser_of_this_worker: object) -> None:
    async def answer() -> int:
        return 42

    assert asyncio.run(answer()) == 42


def test_text_and_names_that_look_like_markup_are_only_shown(
    opened: Opened, model: LanguageModel, tmp_path: Path
) -> None:
    nasty = "".join(NASTY)
    shown = {"model": {"run": nasty, "step": 7, "form": nasty}} | trace(
        model.model, model.tokenizer, nasty[-40:]
    ).as_json()
    for place, text in enumerate(NASTY):
        shown["tokens"][place]["name"] = shown["upcoming"][place]["name"] = shown["lens"][0][place]["name"] = text
        shown["embeddings"]["tokens"][place]["name"] = text
    file = tmp_path / "nasty.html"
    file.write_text(saved_page(shown), encoding="utf-8")
    with opened(file) as watched:
        page = watched.page
        for place in range(len(NASTY)):
            tokens(page).nth(place).click()
        assert page.locator("h1").inner_text() == f"Inside {nasty}"
        assert tokens(page).nth(1).inner_text() == NASTY[1].replace(" ", "␣")
        assert page.locator("img, iframe, a, main script, main style").count() == 0
        assert page.locator("section").count() == 7
        assert watched.too_wide_by == 0


def test_lines_break_between_words_and_where_the_text_does(opened: Opened) -> None:
    with opened(phone=True) as watched:
        tops = [box.bounding_box() for box in tokens(watched.page).all()]
        lines = [round(box["y"]) for box in tops if box is not None]
        assert len(lines) == len(TEXT)
        breaks = [place for place in range(1, len(TEXT)) if lines[place] > lines[place - 1]]
        assert TEXT.index("\n") + 1 in breaks
        assert all(TEXT[place - 1].isspace() for place in breaks)


def test_a_word_that_is_longer_than_the_screen_breaks_too(opened: Opened, model: LanguageModel, tmp_path: Path) -> None:
    file = tmp_path / "long.html"
    shown = {"model": {"run": "x", "step": 7, "form": "x"}} | trace(model.model, model.tokenizer, "m" * 40).as_json()
    file.write_text(saved_page(shown), encoding="utf-8")
    with opened(file, phone=True) as watched:
        assert watched.too_wide_by == 0
        right = [box["x"] + box["width"] for each in tokens(watched.page).all() if (box := each.bounding_box())]
        assert max(right) < 375
