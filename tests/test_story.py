"""What a run tells of itself: the figures of its own files, and of broken ones nothing but a plain refusal."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import glassgpt
from conftest import TINY, refusal
from glassgpt.checkpoint import load_checkpoint
from glassgpt.data import tales
from glassgpt.errors import GlassgptError
from glassgpt.lab import story
from glassgpt.lab.evaluations import Evaluation, Rival, remember
from glassgpt.lab.logs import read_log
from glassgpt.model.count import count_parameters
from glassgpt.runs import RunFolder
from glassgpt.settings import flat
from test_reading_order import modules_after

ALL: list[Callable[[RunFolder], Any]] = [
    story.summary_of, story.samples_of, story.settings_of, story.references_of,
    lambda folder: story.columns_of(story.log_of(folder)),
    lambda folder: story.marks_of_samples(story.samples_of(folder)),
]  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A short run on tales."""
    folder: Path = tmp_path_factory.mktemp("told") / "tales"
    small: dict[str, Any] = TINY | {"max_steps": 24, "eval_every": 12, "log_every": 4, "eval_batches": 1}
    glassgpt.train("tales:30KB", out=str(folder), **small, sample_every=15)
    return RunFolder(folder)


@pytest.fixture
def copy(told: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(told.path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def test_the_summary_is_that_of_the_log_and_the_best_checkpoint(told: RunFolder) -> None:
    summary, best = story.summary_of(told), load_checkpoint(told.best)
    assert (summary["name"], summary["step"], summary["max_steps"], summary["data"]) == ("tales", 24, 24, "tales:30KB")
    assert summary["best"]["step"] == best.step
    assert summary["best"]["val_loss"] == pytest.approx(best.metrics["best_val_loss"], rel=1e-5)
    assert summary["floor"] == pytest.approx(best.metrics["floor"], rel=1e-5)
    assert (
        summary["parameters"]
        == count_parameters(best.model_config).total
        == sum(w.numel() for w in best.weights.values())
    )
    assert "1 layer, 2 heads, width 16" in summary["form"]
    assert summary["tales"]
    assert summary["seconds"] > 0
    assert summary["tokens_per_s"] > 0
    assert abs(summary["changed"] - told.log.stat().st_mtime) < 1e-3


def test_a_run_is_going_while_it_is_held_and_its_log_grows(copy: RunFolder) -> None:
    os.utime(copy.log)
    assert not story.summary_of(copy)["going"]
    with copy.lock():
        assert story.summary_of(copy)["going"]
        then = time.time() - story.STILL_GOING_S - 1  # as a killed process leaves it
        os.utime(copy.log, (then, then))
        assert not story.summary_of(copy)["going"]


def test_columns_are_the_log_with_nothing_where_nothing_was_measured(told: RunFolder) -> None:
    log = read_log(told.log)
    columns = story.columns_of(log)
    assert tuple(columns) == story.COLUMNS
    assert columns["step"] == [4, 8, 12, 16, 20, 24]
    assert [value is None for value in columns["val_loss"]] == [step not in {12, 24} for step in columns["step"]]
    for name, values in columns.items():
        for value, measured in zip(values, log.columns[name], strict=True):
            assert (value is None and math.isnan(measured)) or value == pytest.approx(measured, rel=1e-5)


def test_large_counts_keep_all_their_digits_and_infinity_is_none(copy: RunFolder) -> None:
    head = copy.log.read_text(encoding="utf-8").splitlines()[0]
    copy.log.write_text(f"{head}\n1234567,12345678901,1.23456789,inf,nan,0.1,1e999,,,\n", encoding="utf-8")
    columns = story.columns_of(story.log_of(copy))
    row = {name: values[0] for name, values in columns.items()}
    assert row == {
        "step": 1234567, "tokens": 12345678901, "seconds": 1.23457, "train_loss": None, "val_loss": None,
        "learning_rate": 0.1, "gradient_norm": None, "tokens_per_s": None, "floor": None,
    }  # fmt: skip
    assert story.summary_of(copy)["step"] == 1234567


def test_samples_are_listed_by_step_and_marked(told: RunFolder) -> None:
    samples = story.samples_of(told)
    assert [one["step"] for one in samples] == [10, 15, 24]
    marks = story.marks_of_samples(samples)
    assert [(one["step"], one["stories"]) for one in marks] == [(10, 1), (15, 1), (24, 3)]
    perfect = [{"step": 7, "text": tales.SEPARATOR.join(tales.story(3, index) for index in range(3))}]
    (one,) = story.marks_of_samples(perfect)
    assert (one["step"], one["stories"], one["spelled"], one["whole"]) == (7, 3, 1.0, 1.0)


def test_settings_have_the_values_and_origins_of_the_checkpoint(told: RunFolder) -> None:
    checkpoint = load_checkpoint(told.last)
    rows = story.settings_of(told)
    assert {row["name"]: row["value"] for row in rows} == dict(checkpoint.settings)
    assert {row["name"]: row["origin"] for row in rows if row["origin"] != "default"} == dict(checkpoint.origins)
    assert [row["name"] for row in rows] == list(flat(glassgpt.settings.resolve().config))


def test_references_are_in_the_unit_of_the_log(copy: RunFolder) -> None:
    guess = math.log(load_checkpoint(copy.last).model_config.vocab_size or 0)
    assert [one["loss"] for one in story.references_of(copy)] == [pytest.approx(guess, rel=1e-5)]
    rivals = [Rival(name="xz, alone", nats_per_character=1.5)]
    per_token = Evaluation(step=5, loss=2.0, nats_per_character=1.0, floor=0.2, rivals=rivals, marks=None, file="x")
    remember(copy, [per_token])
    assert [(one["name"], one["loss"]) for one in story.references_of(copy)][1:] == [
        ("xz, alone", 1.5), ("the floor of all held-out stories", 0.2),
    ]  # fmt: skip
    config = copy.config.read_text(encoding="utf-8").replace('data: ["tales:30KB"]', "data: [book.txt]")
    copy.config.write_text(config, encoding="utf-8")
    assert len(story.references_of(copy)) == 1  # a token is no character there, and the log counts in tokens
    remember(copy, [per_token.model_copy(update={"loss": 1.0, "floor": None})])
    assert [one["loss"] for one in story.references_of(copy)][1:] == [1.5]


def test_of_tales_in_pairs_of_bytes_nobody_guesses_what_guessing_costs(copy: RunFolder) -> None:
    config = copy.config.read_text(encoding="utf-8").replace("tokenizer: char", "tokenizer: bpe")
    copy.config.write_text(config, encoding="utf-8")
    assert story.references_of(copy) == []


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    assert "is no run folder" in refusal(lambda: story.summary_of(RunFolder(tmp_path)))
    assert "is no run folder" in refusal(lambda: story.summary_of(RunFolder(tmp_path / "nowhere")))


def test_a_run_that_has_only_begun_tells_what_there_is(copy: RunFolder) -> None:
    copy.log.write_text(copy.log.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    copy.samples.unlink()
    summary = story.summary_of(copy)
    assert (summary["step"], summary["best"], summary["train_loss"], summary["floor"]) == (0, None, None, None)
    assert story.samples_of(copy) == []
    assert story.columns_of(story.log_of(copy))["step"] == []
    copy.log.unlink()
    assert (story.summary_of(copy)["step"], story.summary_of(copy)["changed"]) == (None, None)


def all_tell_or_refuse(folder: RunFolder) -> None:
    """Each in values that JSON takes, or in one line."""
    for tell in ALL:
        values = line = None
        try:
            values = tell(folder)
        except GlassgptError as problem:
            line = str(problem)
        assert "\n" not in (line or "")
        json.dumps(values, allow_nan=False, ensure_ascii=False).encode()


BROKEN = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\0", b"\xff\xfe", b"&a [*a]", b"- 1", b"d_model: 1e400", b"dtype: [1]", b"epochs: 3",
                     b'sample_prompt: "\\ud800"', b"data: 5", b"step,train_loss\n1e400,1\n", b"[" * 5000,
                     b"=== step 99999999999999999999 ===\n", b"=== step 1 ===\n" * 3, b"a: b: c", b"step\n"]),
)  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(["config.yaml", "log.csv", "samples.txt", "eval.json"]), content=BROKEN,
    cut=st.none() | st.floats(0, 1),
)  # fmt: skip
def test_what_is_damaged_is_left_out_or_refused_and_all_else_is_json(
    told: RunFolder, tmp_path: Path, which: str, content: bytes, cut: float | None
) -> None:
    folder = RunFolder(tmp_path / "broken")
    shutil.rmtree(folder.path, ignore_errors=True)
    shutil.copytree(told.path, folder.path, ignore=shutil.ignore_patterns("*.safetensors", "*.png"))
    broken = folder.path / which
    whole = broken.read_bytes() if broken.exists() else b""
    broken.write_bytes((b"" if cut is None else whole[: int(cut * len(whole))]) + content)
    all_tell_or_refuse(folder)


@pytest.mark.parametrize("name", ["config.yaml", "log.csv", "samples.txt", "eval.json"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_a_pipe_or_a_folder_in_place_of_a_file_keeps_nobody_waiting(copy: RunFolder, name: str) -> None:
    for make in (os.mkfifo, os.mkdir):
        (copy.path / name).unlink(missing_ok=True)
        make(copy.path / name)
        all_tell_or_refuse(copy)
    (copy.path / name).rmdir()


def test_a_name_that_is_no_text_can_be_told(copy: RunFolder) -> None:
    odd = copy.path.with_name("b\udcffd")
    try:
        copy.path.rename(odd)
    except OSError:
        pytest.skip("this system has no such names")
    assert story.summary_of(RunFolder(odd))["name"] == "b?d"
    odd.rename(copy.path)


def test_it_is_told_without_torch() -> None:
    assert "torch" not in modules_after("import glassgpt.lab.story")
