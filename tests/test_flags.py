"""Flags come from the fields, in every spelling that people use."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgpt import names, settings
from glassgpt.cli import train
from glassgpt.cli.flags import unescape
from glassgpt.config import RunConfig
from glassgpt.errors import ConfigError

NOT_SETTINGS = {"DATA", "preset", "config", "resume", "overwrite", "numbered", "continue"}


def read(*words: str) -> dict[str, Any]:
    asked = train._parser().read(words)
    return {name: value for name, value in asked.items() if name not in NOT_SETTINGS}


def resolved(*words: str) -> RunConfig:
    return settings.resolve(flags=read(*words)).config


@pytest.mark.parametrize(
    "words", [["--d-model", "256"], ["--d-model=256"], ["--d_model", "256"], ["--d_model=256"], ["--n_embd=256"]]
)
def test_every_spelling_of_a_flag_sets_the_same_field(words: list[str]) -> None:
    assert resolved(*words).model.d_model == 256


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--bias"], True),
        (["--no-bias"], False),
        (["--bias", "false"], False),
        (["--bias=False"], False),
        (["--no_bias"], False),
        (["--bias", "true"], True),
    ],
)
def test_a_switch_is_understood_with_and_without_a_value(words: list[str], expected: bool) -> None:
    assert resolved(*words).model.bias is expected


def test_a_switch_does_not_swallow_the_text_behind_it() -> None:
    asked = train._parser().read(["--qk-norm", "book.txt"])
    assert asked["DATA"] == ["book.txt"]
    assert asked["qk_norm"] == "true"


def test_texts_may_stand_before_between_and_behind_flags() -> None:
    asked = train._parser().read(["a.txt", "--max-steps", "5", "b.txt", "--bias", "c.txt"])
    assert asked["DATA"] == ["a.txt", "b.txt", "c.txt"]


def test_what_stands_behind_two_dashes_is_no_flag() -> None:
    assert train._parser().read(["--max-steps", "5", "--", "--my_book.txt"])["DATA"] == ["--my_book.txt"]


def test_every_field_and_every_known_name_is_a_flag() -> None:
    flags = train._parser()._option_string_actions
    of_a_run = [name for name in settings.known_names() if names.ALIASES.get(name) not in SAMPLING_ONLY]
    missing = [name for name in of_a_run if f"--{name.replace('_', '-')}" not in flags]
    assert not missing


SAMPLING_ONLY = {"max_new_tokens", "temperature"}


def test_names_of_other_projects_arrive_as_ours() -> None:
    config = resolved(
        "--block_size", "64", "--max_iters=7", "--use_rope", "false", "--lr", "1e-3", "--dtype", "float32"
    )
    assert (config.model.max_seq_len, config.training.seq_len) == (64, 64)
    assert config.training.max_steps == 7
    assert config.model.position == "learned"
    assert config.training.learning_rate == 1e-3
    assert config.training.precision == "fp32"


def test_epochs_times_iterations_are_the_steps() -> None:
    assert resolved("--epochs", "5", "--iters_per_epoch", "100").training.max_steps == 500


def test_help_shows_every_field_with_its_description_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train._parser().read(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for _, name, info in settings.fields():
        assert f"--{name.replace('_', '-')}" in shown
        assert " ".join(str(info.description).split()) in shown
    assert "(default: 128)" in shown
    assert "--n-embd" not in shown  # known, but not listed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-stps", "5"], "unknown flag --max-stps; did you mean --max-steps?"),
        (["--max-stps=5"], "unknown flag --max-stps; did you mean --max-steps?"),
        (["--max-step", "5"], "unknown flag --max-step; did you mean"),  # no silent abbreviations
        (["--seed"], "--seed: expected one argument"),
        (["-x"], "unknown flag -x"),
    ],
)
def test_a_wrong_flag_is_named(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as problem:
        read(*words)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


@given(st.text())
def test_unescaping_undoes_escaping(text: str) -> None:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n").replace("\t", r"\t")
    assert unescape(escaped) == text


def test_a_backslash_before_anything_else_stays() -> None:
    assert unescape(r"\alpha and \n") == "\\alpha and \n"
