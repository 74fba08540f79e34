"""What the doors make of what people type: which verb, which preset."""

from __future__ import annotations

import pytest

from glassgpt.cli import doors


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words that each call hands to the command, instead of carrying them out."""
    calls: list[list[str]] = []
    monkeypatch.setattr(doors, "main", calls.append)
    return calls


@pytest.mark.parametrize(
    ("words", "preset"),
    [
        ("", "mini_gpt"),
        ("--max-steps 5", "mini_gpt"),
        ("--vocab-size 1000 --d-model 256", "tiny"),
        ("--vocab_size=1000", "tiny"),
        ("--vocab-size 600 --tokenizer bpe", "mini_gpt"),
        ("--data wikitext-103 --vocab-size 200", "mini_gpt"),
        ("book.txt --vocab-size 200", "mini_gpt"),
    ],
)
def test_training_without_a_preset_takes_the_one_whose_command_it_is(
    words: str, preset: str, called: list[list[str]]
) -> None:
    doors.train(words.split())
    assert called == [["train", "--preset", preset, "--numbered", *words.split()]]


def test_a_preset_a_file_and_a_run_to_resume_are_taken_as_they_are(called: list[list[str]]) -> None:
    doors.train(["--preset", "nano_gpt"])
    doors.train(["--config=configs/tiny.yaml", "--overwrite"])
    doors.train(["--resume", "runs/x"])
    assert called == [
        ["train", "--numbered", "--preset", "nano_gpt"],
        ["train", "--config=configs/tiny.yaml", "--overwrite"],
        ["train", "--resume", "runs/x"],
    ]


def test_words_of_the_tokenizer_s_flags_become_verbs(called: list[list[str]]) -> None:
    doors.tok(["--train", "a.txt", "--vocab-size", "300", "--out", "t.json"])
    doors.tok(["--tokenizer", "t.json", "--encode", "--strange"])
    doors.tok(["--tokenizer", "t.json", "--encode=Hello world!"])
    assert called == [
        ["tokenizer", "train", "--kind", "bpe", "--vocab-size", "300", "--out", "t.json", "--", "a.txt"],
        ["tokenizer", "encode", "--tokenizer", "t.json", "--", "--strange"],
        ["tokenizer", "encode", "--tokenizer", "t.json", "--", "Hello world!"],
    ]
