"""A sweep tries what it was asked to try, counts each trial once, and leaves what its reader needs."""

from __future__ import annotations

import csv
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from glassgpt import settings
from glassgpt.cli.main import main
from glassgpt.config import RunConfig
from glassgpt.errors import ConfigError, MissingExtraError, RunError
from glassgpt.lab.plan import Plan, default_file, read_plan
from glassgpt.lab.search import read_space
from glassgpt.lab.space import Range
from glassgpt.lab.sweep import Closed, During, Ended, Result, SweepEvent, go, sweep
from glassgpt.lab.sweep_plot import ceiling
from glassgpt.lab.trial import Measure
from glassgpt.lab.trials import TrialRecord
from glassgpt.training.chosen import prepare_data
from glassgpt.training.events import Finished, Stepped
from glassgpt.training.loop import train

BASE: dict[str, Any] = {
    "n_layer": 1, "n_embd": 16, "n_head": 2, "block_size": 8, "batch_size": 4, "max_iters": 12, "eval_every": 4,
    "eval_batches": 2, "save_every": 4, "sample_every": 0, "log_every": 2, "threads": 1, "device": "cpu",
    "precision": "fp32", "optimizer": "adamw",
}  # fmt: skip
SEARCH: dict[str, Any] = {"lr": {"low": "1e-3", "high": 0.1, "log": True}, "dropout": [0.0, 0.1]}


def write_sweep(path: Path, text: Path, **changes: Any) -> Path:
    base = BASE | {"data": str(text)} | changes.pop("base", {})
    whole = {"base": base, "search": SEARCH, "trials": 3, "out": str(path.parent / "sweep")} | changes
    path.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path, rhyme: Path) -> Path:
    return write_sweep(tmp_path / "my.yaml", rhyme)


def plan_of(path: Path, **budget: Any) -> Plan:
    return read_plan(path, budget=budget, flags={})


def last(events: Iterator[SweepEvent]) -> Closed:
    *_, closed = events
    assert isinstance(closed, Closed)
    return closed


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ({"learning_rat": [1, 2]}, "unknown setting 'learning_rat'; did you mean learning_rate?"),
        ({"lr": {"low": 1, "high": 0.1}}, "low=1.0 is above high=0.1"),
        ({"lr": {"low": 0, "high": 0.1, "log": True}}, "low=0.0 has no logarithm"),
        ({"lr": {"low": -1, "high": 0.1}}, "-1.0 is impossible: it should be greater than 0"),
        ({"lr": {"low": 0.1}}, "has no high"),
        ({"lr": {"low": "much", "high": 1}}, "low='much' is no number"),
        ({"lr": {"low": 0.1, "hihg": 1}}, "unknown word 'hihg'; did you mean high?"),
        ({"lr": 0.1}, "leaves no choice"),
        ({"n_layers": {"low": 1, "high": 2.5}}, "high=2.5 is no whole number"),
        ({"n_layers": {"low": 1, "high": 3, "step": 4}}, "step=4 does not fit"),
        ({"n_layers": {"low": 1, "high": 9, "step": 2, "log": True}}, "a step and log"),
        ({"n_layers": [1, 0]}, "0 is impossible"),
        ({"n_layers": [1, 2, 1]}, "names a value twice"),
        ({"n_layers": []}, "should be a list of values"),
        ({"n_layers": [[1, 2]]}, "no single value"),
        ({"n_layers": {"choices": [1], "low": 1}}, "take one way"),
        ({"mlp": ["gelu", "relu"]}, "'relu' is impossible"),
        ({"mlp": {"low": 1, "high": 2}}, "it has no range"),
        ({"data": ["a.txt", "b.txt"]}, "losses on different texts do not compare"),
        ({"out": ["a", "b"]}, "does not change the loss"),
        ({"epochs": [1, 2]}, "search max_steps"),
        ({"block_size": [8, 16], "seq_len": [8, 16]}, "sets seq_len twice, as block_size and as seq_len"),
        ({}, "should name at least one setting"),
        ([1], "should name at least one setting"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused_in_words(search: Any, words: str) -> None:
    with pytest.raises(ConfigError) as problem:
        read_space(search, place="my.yaml")
    assert words in str(problem.value)
    assert "my.yaml" in str(problem.value)


@given(
    low=st.integers(1, 50), more=st.integers(0, 50), step=st.none() | st.integers(1, 7), seed=st.integers(0, 99),
    log=st.booleans(),
)  # fmt: skip
def test_every_value_drawn_from_a_range_lies_in_it(low: int, more: int, step: int | None, seed: int, log: bool) -> None:
    import random

    whole = Range(name="n_layers", low=low, high=low + more, step=None if log else step, log=log, whole=True)
    value = whole.draw(random.Random(seed))
    assert isinstance(value, int)
    assert low <= value <= low + more
    assert log or step is None or (value - low) % step == 0


def test_names_are_anybodys_and_one_name_may_set_two_settings() -> None:
    space = read_space({"n_embd": [16, 32], "block_size": [8, 16], "use_rope": [True, False]}, place="x")
    assert space.fields == {"d_model", "max_seq_len", "seq_len", "position"}
    config = space.config({"d_model": 32, "block_size": 16, "use_rope": False}, RunConfig())
    assert (config.model.d_model, config.model.max_seq_len, config.training.seq_len) == (32, 16, 16)
    assert config.model.position == "learned"


def test_a_width_for_each_head_fits_any_number_of_heads() -> None:
    both = read_space({"d_model": [16, 20], "n_heads": [2, 3, 4]}, place="x")
    share, why = both.possible_share(RunConfig())
    assert share < 1
    assert "does not split into n_heads" in why
    heads = read_space({"head_width": [8, 16], "n_heads": [2, 3, 4]}, place="x")
    assert heads.possible_share(RunConfig())[0] == 1
    assert heads.config({"head_width": 16, "n_heads": 3}, RunConfig()).model.d_model == 48


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trails": 3}, "unknown key 'trails'; did you mean trials?"),
        ({"learning_rate": 3}, "unknown key 'learning_rate'; settings belong under base:"),
        ({"trials": 0}, "trials=0: it should be a whole number, 1 or more"),
        ({"pruning": "hard"}, "pruning='hard'"),
        ({"base": {"n_embed": 3}}, "unknown setting 'n_embed'"),
        ({"base": {"preset": "min_gpt"}}, "did you mean mini_gpt?"),
        ({"search": {"n_heads": [3, 5]}}, "no combination of the search is possible: d_model=16 does not split"),
    ],
)
def test_a_sweep_that_cannot_be_meant_is_refused_and_leaves_nothing(
    changes: dict[str, Any], words: str, tmp_path: Path, rhyme: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sweep(tmp_path / "my.yaml", rhyme, **changes)
    assert main(["sweep", "--config", str(path)]) == 2
    problem = capsys.readouterr().err
    assert words in problem
    assert problem.count("\n") == 1
    assert not (tmp_path / "sweep").exists()


def test_a_setting_that_is_searched_cannot_be_given_too(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"learning_rate is searched by .*my.yaml; leave --learning-rate out"):
        read_plan(file, budget={}, flags={"lr": 0.1})


def test_the_default_sweep_is_a_dozen_small_trials_that_all_fit() -> None:
    plan = read_plan(default_file(), budget={}, flags={"data": "tales:20KB"})
    assert plan.budget.trials == 12
    assert plan.space.possible_share(plan.base.config)[0] == 1
    assert default_file().read_text(encoding="utf-8").startswith("# ")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A whole sweep of three trials, done from Python."""
    folder = tmp_path_factory.mktemp("swept")
    text = folder / "text.txt"
    text.write_text("".join(f"{number} little mice sat down to spin.\n" for number in range(90)), encoding="utf-8")
    events: list[SweepEvent] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLASSGPT_CACHE", str(folder / "cache"))
        result = sweep(write_sweep(folder / "my.yaml", text), on_event=events.append)
    assert [event.record.number for event in events if isinstance(event, Ended)] == [0, 1, 2]
    return result


def test_a_sweep_counts_its_trials_and_finds_the_best(swept: Result) -> None:
    assert [trial.state for trial in swept.trials] == ["finished"] * 3
    assert swept.best_value == min(trial.value for trial in swept.trials if trial.value is not None)
    assert swept.settings in [trial.params for trial in swept.trials]
    assert swept.unit == "nats per token"


def test_each_trial_is_a_run_of_its_own_with_the_same_seed(swept: Result) -> None:
    for trial in swept.trials:
        folder = swept.folder / f"trial-{trial.number:03}"
        config = settings.read_yaml(folder / "config.yaml")
        assert config["seed"] == 1
        assert config["learning_rate"] == trial.params["learning_rate"]
        assert (folder / "best.safetensors").is_file()


def test_the_table_of_trials_says_exactly_what_was_tried(swept: Result) -> None:
    rows = list(csv.DictReader((swept.folder / "trials.csv").read_text(encoding="utf-8").splitlines()))
    assert [int(row["number"]) for row in rows] == [0, 1, 2]
    for row, trial in zip(rows, swept.trials, strict=True):
        assert float(row["learning_rate"]) == trial.params["learning_rate"]
        assert float(row["value"]) == pytest.approx(trial.value, abs=1e-6)
        assert (row["state"], row["steps"]) == ("finished", "12")


def test_the_best_configuration_trained_again_reaches_the_same_loss(swept: Result) -> None:
    file = swept.folder / "best.yaml"
    chosen = settings.resolve(file=file)
    assert chosen.config.out == str(swept.folder) + "-best"
    finished = list(train(chosen, overwrite=True))[-1]
    assert isinstance(finished, Finished)
    assert finished.best_val_loss == swept.best_value


def test_the_same_command_again_has_nothing_to_do(swept: Result) -> None:
    again = sweep(swept.folder.parent / "my.yaml")
    assert again.trials == swept.trials


def test_another_search_in_the_same_folder_is_refused_with_what_differs(swept: Result, tmp_path: Path) -> None:
    text = swept.folder.parent / "text.txt"
    before = (swept.folder / "sweep.journal").read_bytes()
    other = write_sweep(tmp_path / "other.yaml", text, search=SEARCH | {"dropout": [0.0, 0.2]}, out=str(swept.folder))
    with pytest.raises(
        RunError, match=r"search: dropout was \{choices: \[0.0, 0.1\]\} and is now \{choices: \[0.0, 0.2"
    ):
        sweep(other)
    other = write_sweep(tmp_path / "other.yaml", text, base={"n_layer": 2}, out=str(swept.folder))
    with pytest.raises(RunError, match="n_layers was 1 and is now 2; choose another --out"):
        sweep(other)
    assert (swept.folder / "sweep.journal").read_bytes() == before


def test_a_report_makes_the_same_files_again_without_a_trial(swept: Result, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["trials.csv", "best.yaml", "history.png", "importance.png", "parallel.png"]
    before = {name: (swept.folder / name).read_bytes() for name in names}
    for name in names:
        (swept.folder / name).unlink()
    assert main(["sweep", "--out", str(swept.folder), "--report"]) == 0
    assert {name: (swept.folder / name).read_bytes() for name in names} == before
    said = capsys.readouterr().out
    assert "3 of 3 trials are done: 3 finished" in said
    assert f"train --config {swept.folder}/best.yaml --max-steps 120" in said


def test_trials_of_a_lost_journal_are_not_written_over(swept: Result, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds trials of another sweep"):
        sweep(swept.folder.parent / "my.yaml", storage=str(tmp_path / "new.journal"))


def test_a_report_of_no_sweep_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--config", str(file), "--report"]) == 2
    assert "there is no sweep in" in capsys.readouterr().err


def test_impossible_and_diverging_trials_are_counted_with_their_reason(tmp_path: Path, rhyme: Path) -> None:
    search = {"n_heads": [2, 3], "lr": [0.01, 1e30]}
    result = sweep(write_sweep(tmp_path / "my.yaml", rhyme, search=search, trials=6, base={"max_iters": 4}))
    assert len(result.trials) == 6
    for trial in result.trials:
        if trial.params["n_heads"] == 3:
            assert (trial.state, trial.value) == ("failed", None)
            assert "does not split into n_heads=3" in trial.why
        elif trial.params["learning_rate"] == 1e30:
            assert trial.state == "failed"
            assert trial.why
        else:
            assert trial.state == "finished"
    assert {"finished", "failed"} == {trial.state for trial in result.trials}


def interrupting(events: Iterator[SweepEvent], at_step: int) -> Iterator[SweepEvent]:
    """Ctrl-C once, in the middle of the first trial."""
    done = False
    for event in events:
        if isinstance(event, During) and isinstance(event.event, Stepped) and event.event.step == at_step and not done:
            done = True
            os.kill(os.getpid(), signal.SIGINT)
        yield event


@pytest.mark.parametrize("at_step", [6, 12])  # in the middle, and too late to stop the trial itself
def test_ctrl_c_leaves_a_trial_that_is_gone_on_with(file: Path, at_step: int) -> None:
    whole = last(go(replace_out(file, "whole", trials=1)))
    closed = last(interrupting(go(plan_of(file, trials=1)), at_step))
    assert closed.left == "SIGINT"
    assert len(closed.records) == 1
    assert closed.records[0].is_done == (at_step == 12)
    closed = last(go(plan_of(file, trials=1)))
    assert [record.state for record in closed.records] == ["finished"]
    assert closed.records[0].value == whole.records[0].value


def replace_out(file: Path, name: str, **budget: Any) -> Plan:
    return read_plan(file, budget=budget | {"out": str(file.parent / name)}, flags={})


def test_when_time_is_up_no_trial_is_begun_and_a_running_one_is_kept(file: Path) -> None:
    plan = plan_of(file, trials=1)
    late = replace(plan, budget=plan.budget.but(minutes=1e-9))
    closed = last(go(late))
    assert (closed.left, closed.records) == ("time is up", waiting_only(closed.records))
    assert [record.state for record in last(go(plan)).records] == ["finished"]


def waiting_only(records: list[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.state == "waiting"]


def test_a_trial_that_is_running_when_time_is_up_saves_and_waits(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks: Callable[[], float] = time.monotonic
    plan = replace(plan_of(file, trials=1), budget=plan_of(file, trials=1).budget.but(minutes=60.0))
    for event in go(plan):
        if isinstance(event, During) and isinstance(event.event, Stepped):
            monkeypatch.setattr(time, "monotonic", lambda: ticks() + 3600)
        closed = event
    monkeypatch.undo()
    assert isinstance(closed, Closed)
    assert (closed.left, closed.left_number) == ("time is up", 0)
    assert (plan.folder / "trial-000" / "last.safetensors").is_file()
    assert last(go(plan_of(file, trials=1))).records[0].steps == 12


def test_trials_that_do_not_share_their_tokens_are_compared_in_bits_per_byte(tmp_path: Path, rhyme: Path) -> None:
    search = {"tokenizer": ["char", "bpe"], "vocab_size": [None, 300]}
    plan = plan_of(write_sweep(tmp_path / "my.yaml", rhyme, search=search))
    prepared = prepare_data(plan.base.config, None)
    measure = Measure.of(plan, prepared)
    assert measure.unit == "bits per byte"
    assert measure.batches(plan.base.config, plan.base.config) == 0  # the whole held-out text
    # A text of one byte for each character: a loss of ln 2 for each is one bit for each byte.
    assert measure.scale(plan.base.config) * math.log(2) == pytest.approx(1.0)


def test_trials_with_other_batches_are_measured_on_as_much_text(file: Path) -> None:
    plan = plan_of(file)
    measure = Measure(unit="nats per token")
    larger = plan.base.config.but(training=plan.base.config.training.but(batch_size=2, seq_len=4))
    assert measure.batches(plan.base.config, plan.base.config) == 2
    assert measure.batches(larger, plan.base.config) == 8


def test_one_lost_trial_does_not_press_a_picture_flat() -> None:
    assert ceiling([2.0, 2.1, 2.2, 2.3, 900.0]) < 3
    assert ceiling([2.0, 2.1, 2.2]) == 2.2
    assert ceiling([2.0]) == 2.0


def test_a_missing_optuna_is_said_in_one_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'glassgpt\[sweep\]'"):
        sweep(file)


def test_under_torchrun_a_sweep_says_how_it_shares_its_trials(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="needs no torchrun"):
        sweep(file)
