"""Odd prompts: what can be gone on from is, whatever it looks like; what cannot is told in one line."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import glassgpt
from glassgpt.cli.main import main
from glassgpt.errors import TokenizerError
from glassgpt.sampling.reader import how_much_is_read
from glassgpt.text.bytelevel import SPECIALS
from glassgpt.text.chars import CharTokenizer
from glassgpt.text.fast import SHORT, FastBPE

LEARNED = FastBPE.train(
    ["The owl flew over the sea, and the sea was calm. «Näin», said the owl.\n" * 60], vocab_size=300
)
WARM = FastBPE(LEARNED.merges)
WARM.encode("a" * SHORT)  # from now on the engine in Rust answers

Sample = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sample(at_home: Path, capsys: pytest.CaptureFixture[str]) -> Sample:
    """What `glassgpt sample` answers: its code, what it wrote, and what it said beside."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["sample", "runs/book", "--max-new-tokens", "4", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_half_a_character_in_a_prompt_is_one_line(sample: Sample) -> None:
    for prompt in ("a\ud800b", os.fsdecode(b"a\xff")):
        code, out, said = sample("--prompt", prompt)
        assert (code, out, said.count("\n")) == (2, "", 1)
        assert "half a character" in said
        for tokenizer in (LEARNED, WARM, CharTokenizer("a")):
            with pytest.raises(TokenizerError, match="half a character"):
                tokenizer.encode(prompt)


def test_a_prompt_is_the_same_wherever_it_was_saved(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sample("--prompt", r"sea\nThe")
    assert expected[0] == 0
    for content in (b"\xef\xbb\xbfsea\nThe", b"sea\r\nThe", b"sea\rThe"):
        (tmp_path / "prompt").write_bytes(content)
        assert sample("--prompt-file", str(tmp_path / "prompt")) == expected
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert sample("--prompt", "-") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("The".encode("utf-16"), "not UTF-8"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a\0b", "is not in the"),
        ("日".encode(), "is not in the"),
    ],
)
def test_a_prompt_file_that_cannot_be_gone_on_from_is_one_line(
    sample: Sample, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "prompt").write_bytes(content)
    code, out, said = sample("--prompt-file", str(tmp_path / "prompt"))
    assert (code, out, said.count("\n")) == (2, "", 1)
    assert message in said


def test_of_a_prompt_that_is_too_long_it_is_said_how_much_is_read(sample: Sample) -> None:
    code, out, said = sample("--prompt", "The owl " * 9)
    assert code == 0
    assert out.startswith("The owl " * 9)
    assert said == "the prompt has 72 tokens, more than the 16 that the model can look at: it goes on from the last 8\n"
    assert out[72:] == sample("--prompt", "The owl ")[1][8:]  # these eight, and nothing before them
    assert sample("--prompt", "The owl The owl ")[2] == ""
    assert [how_much_is_read(n, context=16) for n in (1, 16, 17)] == [1, 16, 8]


@pytest.mark.parametrize("prompt", ["o" * 1_000_000, "\n" * 1_000_000], ids=["o", "blank"])
def test_a_million_characters_take_no_more_than_moments(at_home: Path, prompt: str) -> None:
    lm = glassgpt.load("runs/book", device="cpu")
    begun = time.process_time()
    assert len(lm.generate(prompt, max_new_tokens=2)) >= 1_000_000
    assert LEARNED.decode(LEARNED.encode(prompt)) == prompt
    assert time.process_time() - begun < 10  # it takes a half; what is quadratic would take hours


def test_an_empty_prompt_begins_as_no_prompt_does_and_blanks_are_a_prompt(
    sample: Sample,
) -> None:
    assert sample("--prompt", "") == sample()
    assert sample("--prompt", "  \n ")[1].startswith("  \n ")


def test_names_of_special_tokens_in_a_prompt_are_only_text(at_home: Path) -> None:
    prompt = "".join(SPECIALS) + "<|endoftext|>"
    for tokenizer in (LEARNED, WARM):
        ids = tokenizer.encode(prompt)
        assert max(ids) < tokenizer.begin_id
        assert tokenizer.decode(ids) == prompt
    lm = glassgpt.load("runs/book", device="cpu", unknown="skip")
    assert lm.generate(prompt, max_new_tokens=2).startswith(prompt)
