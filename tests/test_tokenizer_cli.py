"""`glassgpt tokenizer`, typed as people type it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from glassgpt.cli import terminal
from glassgpt.cli.main import main
from glassgpt.cli.terminal import show_ids, show_tokens
from glassgpt.text.chars import CharTokenizer
from glassgpt.text.fast import FastBPE
from glassgpt.text.store import load_tokenizer

TEXT = "The owl's sea, the sea's owl; they'll see 1234 owls. Näin sanoi pöllö.\n" * 3
Typed = Callable[..., str]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """What `glassgpt tokenizer ...` prints in a folder with a book; of a refusal, the one line."""
    monkeypatch.chdir(tmp_path)
    Path("book.txt").write_text(TEXT, encoding="utf-8")

    def type_in(*words: str) -> str:
        capsys.readouterr()
        code = main(["tokenizer", *words])
        said = capsys.readouterr()
        if code == 0:
            return said.out
        assert (code, said.out, said.err.count("\n")) == (2, "", 1), said
        return said.err

    return type_in


def test_bpe_is_trained_where_a_size_is_given_and_used_by_every_verb(typed: Typed) -> None:
    said = typed("train", "--data", "book.txt", "--vocab-size", "290")
    assert said.startswith("tokenizer.json: 290 tokens, ")
    assert "characters per token of this text; bpe (--vocab-size was given)\n" in said
    assert "train book.txt --tokenizer tokenizer.json\n" in said
    ids = typed("encode", "Näin, owl!", "--tokenizer", "tokenizer.json").split()
    assert len(ids) < len("Näin, owl!")
    assert typed("decode", *ids) == "Näin, owl!\n"
    assert typed("decode", f"[{', '.join(ids)}]") == "Näin, owl!\n"
    assert typed("encode", "Näin, owl!", "--begin", "--end").split() == ["288", *ids, "289"]
    assert typed("decode", "288", *ids, "289") == "Näin, owl!\n"


def test_characters_are_trained_otherwise_and_on_wish(typed: Typed) -> None:
    assert "; char (no --vocab-size was given)\n" in typed("train", "book.txt")
    assert "; bpe\n" in typed("train", "book.txt", "--kind", "bpe", "--vocab-size", "260", "--out", "b.json")
    assert "--unknown replace" in typed("train", "book.txt", "--kind", "char", "--vocab-size", "9", "--out", "c.json")
    said = typed("train", "book.txt", "--kind", "char", "--vocab-size", "9", "--unknown", "replace", "--out", "c.json")
    assert said.startswith("c.json: 9 tokens, 1.00 characters per token of this text; char\n")


def test_training_again_changes_nothing_and_another_needs_a_word(typed: Typed) -> None:
    typed("train", "book.txt", "--vocab-size", "290")
    before = Path("tokenizer.json").stat().st_mtime_ns
    assert "tokenizer.json is this very tokenizer already" in typed("train", "book.txt", "--vocab-size", "290")
    assert Path("tokenizer.json").stat().st_mtime_ns == before
    assert "exists already, and is another tokenizer" in typed("train", "book.txt", "--vocab-size", "289")
    assert "289 tokens" in typed("train", "book.txt", "--vocab-size", "289", "--overwrite")
    assert load_tokenizer("tokenizer.json").vocab_size == 289


def test_mistakes_are_one_line(typed: Typed) -> None:
    assert "did you mean bpe?" in typed("train", "book.txt", "--kind", "bpee")
    assert "--vocab-size 258 or more" in typed("train", "book.txt", "--vocab-size", "100")
    assert "the text is too small for vocab_size=5000" in typed("train", "book.txt", "--vocab-size", "5000")
    assert "vocab_size='many': it should be a whole number, 1 or more" in typed(
        "train", "book.txt", "--vocab-size", "many"
    )
    assert "named like out.json" in typed("train", "book.txt", "--out", "out").replace("\\", "/")
    assert "--vocab-size belongs to tokenizer train" in typed("encode", "a", "--vocab-size", "290")
    assert "--end belongs to tokenizer encode and show" in typed("decode", "1", "--end")
    typed("train", "book.txt")
    assert "a char tokenizer has no tokens for begin and end" in typed(
        "encode", "a", "--end", "--tokenizer", "tokenizer.json"
    )


def test_show_cuts_a_text_and_lists_a_vocabulary(typed: Typed) -> None:
    typed("train", "book.txt", "--vocab-size", "290")
    shown = typed("show", "owl's\tö日\n<|end|>", "--begin")
    assert shown.startswith("<|begin|>|o|wl|'s|⇥|ö|\\xe6|\\x97|\\xa5|⏎|<|||")
    lines = typed("show").splitlines()
    assert lines[0].startswith("bpe, 290 tokens, digest ")
    assert [lines[1 + 10], lines[1 + 0xE6], lines[-1]] == ["     10  '⏎'", "    230  '\\xe6'", "    289  '<|end|>'"]


def test_colours_alternate_and_special_tokens_stand_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "wants_colour", lambda: True)
    tokenizer = FastBPE([(104, 105)])
    assert show_tokens(tokenizer, "hi!") == "\033[30;102mhi\033[0m\033[30;103m!\033[0m"
    assert show_ids(tokenizer, [tokenizer.end_id]) == "\033[1;7m<|end|>\033[0m"
    assert "\033[2J" not in show_tokens(CharTokenizer("\033[2J"), "\033[2J")  # a text never commands the terminal
