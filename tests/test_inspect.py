"""`glassgpt inspect` as people type it, and the page that it saves: whole in itself, and deaf to whatever it shows."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import string
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import glassgpt
from conftest import TINY
from glassgpt.cli import inspect
from glassgpt.cli.main import main
from glassgpt.cli.views import BACKGROUNDS, Surface, cells, lens_table, norm_lines, pooled, token_table, window
from glassgpt.config import ModelConfig
from glassgpt.lab.page import EXPORT, IMPORT, PAGES, RISKY, as_data, joined, saved_page
from glassgpt.model.gpt import GPT
from glassgpt.sampling.trace import Trace, trace
from glassgpt.text.chars import CharTokenizer

TEXT = "The owl was calm"  # as long as the context of the run
Typed = Callable[..., tuple[str, str]]
Described = dict[str, Any]


@pytest.fixture
def typed(at_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """What `glassgpt inspect` prints, and what it says beside."""
    monkeypatch.setenv("COLUMNS", "90")

    def type_in(*words: str) -> tuple[str, str]:
        capsys.readouterr()
        code = main(["inspect", *words])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out, said.err

    return type_in


def own_trace(text: str = TEXT) -> Trace:
    lm = glassgpt.load("runs/book", device="cpu")
    return trace(lm.model, lm.tokenizer, text)


# --- in the terminal --------------------------------------------------------------------------------------------------


def test_piped_it_shows_every_view_in_plain_lines_no_wider_than_the_terminal(typed: Typed) -> None:
    shown, said = typed(TEXT)
    assert "the newest run" in said
    assert shown.startswith("book, step 12: 16 tokens, ")
    for view in (
        "expected here",
        "layer 1, head 1   ",
        "what each layer would say",
        "the length of the tokens' vectors",
    ):
        assert view in shown
    assert "\033" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 90


def test_the_table_has_the_probability_bits_and_rank_of_each_token(typed: Typed) -> None:
    shown, _ = typed(TEXT)
    rows = [line.split() for line in shown.splitlines() if re.match(r" +\d+  ", line)]
    seen = own_trace()
    assert rows[0] == ["1", "T", "given"]
    assert len(rows) == len(TEXT)
    for row, told in zip(rows[1:], seen.tokens[1:], strict=True):
        assert told.probability is not None
        assert told.bits is not None
        assert row[2:5] == [f"{told.probability:.1%}", f"{told.bits:.2f}", str(told.rank)]


def test_one_position_one_layer_and_one_head_can_be_looked_at_closely(typed: Typed) -> None:
    shown, _ = typed("book", TEXT, "--position", "5", "--layer", "1", "--head", "2", "--top", "3")
    told = own_trace().tokens[4]
    assert f"token 5, o: {told.probability:.1%}" in shown
    assert len(shown.split("expected here:")[1].split("expected behind it:")[0].strip().splitlines()) == 3
    large = shown.split("layer 1, head 2\n")[1].split("\n\n")[0].splitlines()
    assert len(large) == 1 + len(TEXT)
    assert large[1].split() == ["1", "T", "██", "100.0%", "T"]
    only, _ = typed("book", TEXT, "--head", "1")
    assert "layer 1, head 1" in only
    assert "head 2" not in only


def test_on_a_terminal_the_text_is_coloured_by_surprise(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "wants_colour", lambda: True)
    shown, _ = typed(TEXT)
    colours = [int(colour) for colour in re.findall(r"\033\[30;48;5;(\d+)m.\033\[0m", shown)]
    shares = [told.probability for told in own_trace().tokens if told.probability is not None]  # the first is given
    assert colours == [next(colour for least, colour in BACKGROUNDS if share >= least) for share in shares]
    assert len(set(colours)) > 1


def test_a_text_beyond_the_context_is_read_at_its_end_and_it_says_so(typed: Typed) -> None:
    shown, said = typed(TEXT * 3)
    assert "the text has 48 tokens, more than the 16 that the model can look at: only the last 16 are read" in said
    assert "16 tokens" in shown.splitlines()[0]


def test_the_text_comes_from_standard_input_or_with_line_breaks_written_out(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"owl.\r\nThe")))
    piped, _ = typed("-")
    assert typed(r"owl.\nThe")[0] == piped
    assert "⏎" in piped


def test_a_bigram_model_shows_what_it_has(at_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = glassgpt.train("book.txt", architecture="bigram", out=str(tmp_path / "pairs"), max_steps=2, **TINY)
    page = tmp_path / "page.html"
    assert main(["inspect", str(run.folder), TEXT, "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert "expected here" in shown
    assert "attention" not in shown
    assert '"attention":[]' in page.read_text(encoding="utf-8")
    assert main(["inspect", str(run.folder), TEXT, "--layer", "1"]) == 2
    assert "a bigram model has no attention" in capsys.readouterr().err


def test_where_blocks_cannot_be_shown_plain_characters_stand_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    surface = inspect._surface()
    assert not surface.blocks
    assert "".join(surface.shade(share) for share in (0, 1 / 64, 1 / 4, 1)) == " .=@"
    assert (surface.name("a b"), surface.fit("abcdef", 4)) == ("a_b", "abc~")


def test_wide_characters_are_counted_as_the_terminal_counts_them() -> None:
    surface = Surface(width=80, colour=False, blocks=True)
    for text in ("猫坐在垫子", "e\u0301e\u0301e\u0301", "abc", "", "ab猫"):
        assert sum(map(cells, surface.fit(text, 4))) == 4


def test_every_view_keeps_to_the_width_and_a_long_text_is_shown_where_one_looks() -> None:
    seen = trace(odd_model(), ODD, "the cat sat on the mat " * 6, alternatives=8)
    for width in (40, 60, 100):
        surface = Surface(width=width, colour=False, blocks=True)
        for line in (*token_table(seen, surface), *lens_table(seen, 70, surface), *norm_lines(seen, 70, surface)):
            assert len(line) <= width
    assert "(tokens 99 to 138; --position N shows any one)" in token_table(seen, surface)
    assert [window(place, 10, 30) for place in (0, 9, 15, 29)] == [(0, 10), (0, 10), (6, 16), (20, 30)]
    assert window(3, 10, 5) == (0, 5)


def test_a_small_map_keeps_the_largest_weight_of_each_patch() -> None:
    weights_TS = trace(odd_model(), ODD, "the cat " * 5).attention[0][0]
    small = pooled(weights_TS)
    assert [len(row) for row in small] == list(range(1, 15))
    assert small[5][2] == weights_TS[15:18, 6:9].max()


# --- numbers for programs ---------------------------------------------------------------------------------------------


def test_json_holds_the_trace_and_alone_it_is_all_that_is_printed(typed: Typed, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    typed(TEXT, "--json", str(file))
    shown, _ = typed(TEXT, "--json", "-", "--html", str(tmp_path / "page.html"))
    assert (tmp_path / "page.html").is_file()
    assert json.loads(shown) == json.loads(file.read_text(encoding="utf-8"))
    table = json.loads(shown)
    assert table.pop("model") == {
        "run": "book", "step": 12,
        "form": "1 layer, 2 heads, width 16, MLP 64, context 32; rope, rmsnorm, swiglu, tied, no biases, QK-norm",
    }  # fmt: skip
    assert table == json.loads(json.dumps(own_trace().as_json()))


# --- the page ---------------------------------------------------------------------------------------------------------

ODD = CharTokenizer(string.printable + "猫é\u2028\u2029\u202e\u200b")
NASTY = [
    "</script><script>document.title='pwned'</script>",
    "<img src=x onerror=document.title='pwned'>",
    "<!--<script>",
    "]]><svg onload=document.title='pwned'>",
    "&lt;b&gt;&amp;",
    "{script}{trace}{style}{policy}",
    "'\"`${document.title='pwned'}\\",
    "\u2028\u2029document.title='pwned'",
    "<style>*{display:none}</style>",
    "javascript:document.title='pwned'",
]


@cache
def odd_model() -> GPT:
    config = ModelConfig(vocab_size=ODD.vocab_size, d_model=16, n_layers=2, n_heads=2, max_seq_len=160,
                         position="learned")  # fmt: skip
    return GPT(config, seed=1).eval()


def described(text: str, name: str = "a run") -> Described:
    return {"model": {"run": name, "step": 3, "form": name}} | trace(odd_model(), ODD, text).as_json()


@cache
def harmless_page() -> str:
    return saved_page(described("The cat sat."))


class Reader(HTMLParser):
    """The page as a browser takes it apart."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open, []).append(data)

    def inline(self, tag: str) -> list[str]:
        return [text for text in self.texts.get(tag, []) if text.strip()]


def test_the_page_is_whole_in_itself_and_holds_the_models_numbers() -> None:
    shown = described("The cat sat.")
    page = Reader(saved_page(shown))
    data, script = page.inline("script")
    assert json.loads(data) == json.loads(json.dumps(shown))
    kinds = [attributes["type"] for tag, attributes in page.tags if tag == "script"]
    assert kinds == ["application/json", "module"]
    addresses = [value for _, attributes in page.tags for name, value in attributes.items() if name in {"src", "href"}]
    assert addresses == ["data:,"]
    assert re.findall(r"\w+://[^\s\"']+", saved_page(shown)) == ["http://www.w3.org/2000/svg"], "a name, not an address"
    assert "import" not in re.sub(r"//.*|important", "", script)
    assert "export " not in re.sub(r"//.*", "", script)


def test_a_policy_in_the_page_allows_its_own_script_and_style_and_nothing_else() -> None:
    page = Reader(harmless_page())
    (policy,) = [attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for rule, inline in (("script-src", page.inline("script")[1]), ("style-src", page.inline("style")[0])):
        assert rules[rule] == f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"


@pytest.mark.parametrize("nasty", NASTY)
def test_no_text_and_no_name_becomes_markup_or_script(nasty: str) -> None:
    shown = described(nasty, name=nasty)
    shown["tokens"][0]["name"] = shown["upcoming"][0]["name"] = nasty  # a token may be a whole word of it
    page, harmless = Reader(saved_page(shown)), Reader(harmless_page())
    assert page.tags == harmless.tags
    data, script = page.inline("script")
    assert json.loads(data) == json.loads(json.dumps(shown))
    assert script == harmless.inline("script")[1]
    assert not set("<>&\u2028\u2029") & set(data)
    assert set(as_data({"a": nasty})) & set(map(chr, RISKY)) == set()


def test_the_modules_make_elements_from_text_only_and_ask_no_network() -> None:
    for module in PAGES.glob("*.js"):
        source = module.read_text(encoding="utf-8")
        for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function",
                          "fetch(", "XMLHttpRequest", "import(", "</script", "<!--", "setTimeout("):  # fmt: skip
            assert forbidden not in source, f"{module.name}: {forbidden}"


def test_the_modules_joined_name_each_thing_once_and_import_what_is_there() -> None:
    script = joined("saved.js")
    names = re.findall(r"^(?:function|const|let|class) (\w+)", script, re.MULTILINE)
    assert len(names) == len(set(names)), "they share one room in a saved page"
    for module in PAGES.glob("*.js"):
        source = module.read_text(encoding="utf-8")
        assert f"\n{EXPORT.sub('', IMPORT.sub('', source)).strip()}" in f"\n{script}", (
            f"{module.name} is not part of it"
        )
        imports = re.findall(r'^import \{([^}]*)\} from "\./(\w+\.js)";$', source, re.MULTILINE)
        assert len(imports) == source.count("import ")
        for taken, giver in imports:
            offered = re.findall(r"^export (?:function|const) (\w+)", (PAGES / giver).read_text("utf-8"), re.MULTILINE)
            assert {name.strip() for name in taken.split(",")} <= set(offered), (module.name, giver)


def test_every_view_of_the_page_tells_in_words_what_to_look_for() -> None:
    explanations = re.findall(r"const ABOUT_\w+ =((?:\s*\"[^\"]*\"\s*\+?)+);", joined("saved.js"))
    assert len(explanations) == 8
    for explanation in explanations:
        assert "Look for " in explanation


def test_the_html_flag_saves_the_page_and_says_how_to_open_it(typed: Typed, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "look.html"
    _, said = typed(TEXT, "--html", str(file))
    assert f"open {file} in a browser" in said
    page = file.read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    assert str(Path.cwd()) not in page, "a page is shown to others"
    assert json.loads(Reader(page).inline("script")[0])["mean_bits"] > 0


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no chromium on this machine")
@pytest.mark.parametrize("nasty", ["".join(NASTY)])
def test_in_a_browser_every_view_is_drawn_and_nothing_of_the_text_is_executed(nasty: str, tmp_path: Path) -> None:
    text = "The cat sat."
    shown = described(text, name=nasty)
    shown["tokens"][3]["name"] = nasty
    (tmp_path / "page.html").write_text(saved_page(shown), encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
         f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()],
        capture_output=True, encoding="utf-8", timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    page = Reader(done.stdout)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("section") == 7
    assert tags.count("canvas") == 1 + 2 * 2
    assert not {"img", "iframe", "object"} & set(tags)
    assert tags.count("script") == 2
    assert tags.count("style") == 1
    title = "".join(page.texts["title"])
    assert title.startswith("Inside </script>")
    assert sum(
        attributes.get("class", "") in {"token", "token here"} for tag, attributes in page.tags if tag == "button"
    )
