"""`make pictures`: takes the pictures of the page that the documents show, from a real server with a real browser.

They lie in docs/pictures: each view in light, in dark and on a phone. The runs on them are those in --runs, and are
trained first where they are missing, which takes some minutes. Figures of theory.md: `figures.py`.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # a clone works before it is installed
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))  # where browser.py lies

from PIL import Image

import glassgpt
from browser import launched, open_page, what_is_missing
from glassgpt.files import write_atomically

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
OUT, RUNS = ROOT / "docs" / "pictures", ROOT / "runs" / "for-pictures"
FORMS = {"light": {}, "dark": {"dark": True}, "phone": {"phone": True}}
COLOURS_KEPT = 128  # nobody sees the rest, and the file is a third
SHOWN, BESIDE, KEPT = "tales", "narrow", 240  # the default model, one of half its width, and an early step of the first
PLOT = ".js-plotly-plot .main-svg"
STORY = "Once upon a time, Felix the fox was grumpy. He slept in a boot"
TALE = (
    "Far away, beside the well, lived Rosa the rabbit. She kept six nuts in a huge teacup. While she was daydreaming, "
)
TALE += "two of them skipped away, so four stayed behind."


class Picture(NamedTuple):
    """A view: its address behind the server's, what stands there when it is drawn, and what a visitor then does."""

    address: str
    drawn: str
    then: Callable[[Page], object] = lambda page: None


def bring_up(page: Page, element: str) -> None:
    page.locator(element).first.evaluate("element => (element.closest('section') ?? element).scrollIntoView()")


def write(page: Page) -> None:
    page.locator("#prompt").press("Control+Enter")
    page.locator(".results[aria-busy=false] .prose .tok").first.wait_for()
    page.locator(".writing").first.wait_for(state="detached")


def write_and_open_a_token(page: Page) -> None:
    """What else could stand where the third word behind the prompt begins."""
    write(page)
    bring_up(page, ".story")
    written = page.locator(".prose .tok:not(.given)")
    blanks = [place for place, text in enumerate(written.all_text_contents()) if text == " "]
    written.nth(blanks[2] + 1).click()


def write_side_by_side(page: Page) -> None:
    write(page)
    bring_up(page, ".columns")


def choose_the_sum(page: Page) -> None:
    """Inside, the first letter of what is left when two of six are gone."""
    page.locator("#view-tokens ~ .strip .token").nth(TALE.index("four")).click()
    bring_up(page, "#view-tokens")


def choose_a_head(page: Page) -> None:
    """Inside, the attention of one head at the beginning of a sentence."""
    page.locator(".token").nth(STORY.index("He slept")).click()
    page.get_by_role("button", name="layer 2, head 2", exact=True).click()
    bring_up(page, "#view-attention")


def let_it_show_the_head(page: Page) -> None:
    page.get_by_role("button", name="Show me").click()
    bring_up(page, ".try")


def go_back_to_letters(page: Page) -> None:
    """In what it wrote, to the third sample: no word is right yet."""
    page.locator("#runs-step").focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    bring_up(page, "#runs-samples")


WRITING = "#write?prompt=Once upon a time,&seed=4&max_tokens=600"
LOOKING = f"#inside?model={SHOWN}&text={STORY}"
READING = f"#inside?model={SHOWN}&text={TALE}"
RUNNING = f"#runs?run={SHOWN}&run={BESIDE}"
PICTURES = {
    "write": Picture(f"{WRITING}&model={SHOWN}&samples=2", "#prompt", write_and_open_a_token),
    "side-by-side": Picture(f"{WRITING}&model={SHOWN}@{KEPT}&compare={SHOWN}", "#prompt", write_side_by_side),
    "inside": Picture(READING, "#view-embeddings", choose_the_sum),
    "attention": Picture(LOOKING, "#view-embeddings", choose_a_head),
    "facts": Picture(
        f"#inside?model={SHOWN}&text={TALE}", "#view-embeddings", lambda page: bring_up(page, "#view-facts")
    ),
    "runs": Picture(RUNNING, PLOT),
    "curves": Picture(RUNNING, PLOT, lambda page: bring_up(page, PLOT)),
    "samples": Picture(RUNNING, PLOT, go_back_to_letters),
    "lesson": Picture(f"#lesson?model={SHOWN}&stop=3&text={STORY}", ".live .map", let_it_show_the_head),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the pictures of the page.")
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"a folder with runs {SHOWN} and {BESIDE} of tales")
    parser.add_argument("--only", choices=PICTURES, help="one view alone")
    parser.add_argument("--out", type=Path, default=OUT, help="where the pictures go")
    asked = parser.parse_args()
    missing = what_is_missing()
    if missing is not None:
        sys.exit(missing)
    chosen = [asked.only] if asked.only else list(PICTURES)
    train_what_is_missing(asked.runs)
    with serving(asked.runs) as server, launched() as browser:
        for name in chosen:
            for form in FORMS:
                keep(shot(browser, server, PICTURES[name], form), asked.out / f"{name}-{form}.png")


def train_what_is_missing(runs: Path) -> None:
    for name, chosen in {SHOWN: {"keep_every": KEPT}, BESIDE: {"d_model": 64}}.items():
        if not (runs / name).is_dir():
            print(f"training {runs / name} to show", flush=True)
            glassgpt.train("tales", out=str(runs / name), **chosen)


@contextmanager
def serving(runs: Path) -> Iterator[str]:
    """`glassgpt serve` as one types it, and its address."""
    command = [sys.executable, "-m", "glassgpt", "serve", str(runs), "--port", "0", "--device", "cpu"]
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths})
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        if " at http" not in said:
            sys.exit(f"glassgpt serve {runs} did not begin")  # why stands above: it says so itself
        yield said.rpartition(" at ")[2].strip().removesuffix("/v1")
    finally:
        server.terminate()
        server.communicate(timeout=60)


def shot(browser: Browser, server: str, picture: Picture, form: str) -> bytes:
    with open_page(browser, **FORMS[form]) as watched:
        watched.page.goto(f"{server}/{picture.address}")
        watched.page.locator(picture.drawn).first.wait_for(timeout=60_000)  # plotly is large
        picture.then(watched.page)
        watched.page.mouse.move(1, 1)  # where it points at nothing
        watched.must_be_clean(server.removeprefix("http://"))
        return watched.page.screenshot()


def keep(png: bytes, path: Path) -> None:
    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS_KEPT).save(small, format="png", optimize=True)
    write_atomically(path, [small.getvalue()])
    print(f"{path}: {len(small.getvalue()) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
