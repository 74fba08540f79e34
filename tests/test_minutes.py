"""`--minutes`: what is chosen fits the time and the text, and the run that follows needs no clock to be repeated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassgpt.checkpoint import load_checkpoint
from glassgpt.config import TrainingConfig
from glassgpt.errors import ConfigError
from glassgpt.settings import assemble, resolve
from glassgpt.training.deadline import Deadline
from glassgpt.training.events import Finished, Note, Started
from glassgpt.training.loop import train
from glassgpt.training.planning import dropout_for, heads_of, promise
from glassgpt.training.schedule import learning_rate_share, window_length


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def drive(
    seconds: float, pace: Mapping[int, float], growth: float = 1.0, **choices: Any
) -> tuple[TrainingConfig, float, list[float]]:
    """A run whose steps take as long as `pace` says from each step on: its last configuration, its end, its rates."""
    clock = Clock()
    deadline = Deadline(seconds, now=clock)
    config = assemble({"minutes": seconds / 60, "max_steps": 100, "decay_fraction": 0.6, "first_seq_len": 64} | choices)
    step, step_s, rates = 0, 1.0, []
    while step < config.training.max_steps:
        step_s = pace.get(step, step_s)
        changes = deadline.changes(step, config)
        config = config.but(training=config.training.but(**changes))
        rates.append(learning_rate_share(step, config.training))
        clock.time += step_s * (1.0 if window_length(step, config.training) == 64 else growth)
        step += 1
    return config.training, clock.time, rates


@given(before=st.floats(0.3, 2), after=st.floats(0.93, 1.5), seconds=st.floats(50, 500), steps=st.integers(50, 500))
def test_a_run_ends_on_time_whatever_the_pace_was_thought_to_be(
    before: float, after: float, seconds: float, steps: int
) -> None:
    planned_s = seconds / steps
    training, end, rates = drive(
        seconds, {0: before * planned_s, int(0.7 * steps): after * before * planned_s}, max_steps=steps
    )
    assert 0.94 * seconds - 3 * planned_s <= end <= seconds + 3 * planned_s * before
    assert training.minutes is None
    assert rates[-1] < 0.5  # what became slower by half when its rate was falling still ends with less than half of it


@given(before=st.floats(0.5, 2), after=st.floats(0.8, 1.3))
def test_its_last_configuration_gives_the_same_rates_with_no_clock(before: float, after: float) -> None:
    training, _, rates = drive(100, {0: before, 50: before * after})
    assert training.max_steps == len(rates)
    assert [learning_rate_share(step, training) for step in range(len(rates))] == rates


@given(growth=st.floats(1, 2), pace=st.floats(0.5, 2))
def test_windows_that_grow_are_seen_before_the_steps_are_settled(growth: float, pace: float) -> None:
    training, end, rates = drive(200, {0: pace}, growth=growth)
    assert 188 <= end <= 204
    assert rates[-1] < 0.15  # some have only fifty steps
    assert training.first_steps is not None
    assert 0.7 < training.first_steps / (training.max_steps * (1 - training.decay_fraction)) < 1


def test_a_constant_rate_and_a_single_step_end_too() -> None:
    assert drive(20, {0: 1.0}, schedule="constant")[1] == pytest.approx(20, abs=2)
    assert drive(20, {0: 100.0}, max_steps=1)[0].minutes is None


@given(slow=st.floats(5, 100), since=st.integers(0, 99))
def test_a_machine_that_is_suddenly_taken_away_still_leaves_a_run_that_needs_no_clock(slow: float, since: int) -> None:
    training, _, rates = drive(100, {0: 1.0, since: slow})
    assert training.minutes is None
    assert training.max_steps == len(rates)


def test_more_numbers_and_more_text_promise_more_and_less_each_time() -> None:
    losses = [promise(1e5 * 2**k, 1e6, 1e7) for k in range(5)]
    gains = [a - b for a, b in pairwise(losses)]
    assert gains == sorted(gains, reverse=True)
    assert all(gain > 0 for gain in gains)
    fresh, again = promise(1e5, 4e6, 1e7) - promise(1e5, 8e6, 1e7), promise(1e5, 4e6, 1e6) - promise(1e5, 8e6, 1e6)
    assert fresh > again  # reading the same again teaches less


@given(numbers=st.floats(1e3, 1e9), tokens=st.floats(1e3, 1e10), text_tokens=st.floats(1e3, 1e10))
def test_more_is_dropped_the_more_could_be_learned_by_heart(numbers: float, tokens: float, text_tokens: float) -> None:
    dropout = dropout_for(numbers, tokens, text_tokens)
    assert 0 <= dropout <= 0.4
    assert dropout_for(2 * numbers, tokens, text_tokens) >= dropout
    assert dropout_for(numbers, 2 * tokens, text_tokens) >= dropout
    assert dropout_for(numbers, tokens, 2 * text_tokens) <= dropout
    assert dropout_for(0.44e6, 3.9e6, 0.243e6) == 0.2  # what it was chosen by
    assert dropout_for(0.22e6, 5.0e6, 0.9e6) == 0


def test_a_small_text_asks_for_a_smaller_model_than_a_large_one() -> None:
    def best(text_tokens: float) -> int:
        return min(range(8), key=lambda k: promise(1e5 * 2**k, 1e12 / 2**k, text_tokens))

    assert best(1e5) < best(1e8)


def small_run(rhyme: Path, out: Path, **choices: Any) -> list[Any]:
    flags = {"data": [str(rhyme)], "out": str(out), "threads": 1, "minutes": 0.05} | choices
    return list(train(resolve(flags=flags), overwrite=True))


def test_a_real_run_says_what_it_chose_keeps_its_time_and_can_be_repeated(rhyme: Path, tmp_path: Path) -> None:
    events = small_run(rhyme, tmp_path / "run")
    started = next(event for event in events if isinstance(event, Started))
    assert any("0.05 minutes" in event.text for event in events if isinstance(event, Note))
    assert isinstance(events[-1], Finished)
    saved = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert saved.settings["minutes"] is None
    assert saved.settings["max_steps"] == saved.step == events[-1].steps
    assert saved.origins["d_model"] == "chosen for 0.05 minutes"
    assert started.config.model.token_shift == 2
    again = resolve(file=tmp_path / "run" / "config.yaml", flags={"out": str(tmp_path / "again")})
    list(train(again))
    repeated = load_checkpoint(tmp_path / "again" / "last.safetensors")
    assert all((repeated.weights[name] == weight).all() for name, weight in saved.weights.items())


def test_what_the_user_set_stays_as_it_is(rhyme: Path, tmp_path: Path) -> None:
    small_run(rhyme, tmp_path / "run", d_model=48, n_heads=3, mlp="gelu", learning_rate=0.002)
    values = load_checkpoint(tmp_path / "run" / "last.safetensors").settings
    assert (values["d_model"], values["n_heads"], values["mlp"], values["learning_rate"]) == (48, 3, "gelu", 0.002)


@pytest.mark.parametrize(
    "choices", [{"d_model": 88}, {"seq_len": 300, "max_seq_len": 300}, {"seq_len": 40}, {"n_layers": 3}], ids=str
)
def test_whatever_is_set_the_rest_is_made_to_fit(rhyme: Path, tmp_path: Path, choices: dict[str, int]) -> None:
    small_run(rhyme, tmp_path / "run", **choices, minutes=0.01)
    values = load_checkpoint(tmp_path / "run" / "last.safetensors").settings
    assert {name: values[name] for name in choices} == choices


@given(st.integers(1, 500).map(lambda pairs: 2 * pairs))
def test_heads_share_any_even_width(width: int) -> None:
    heads = heads_of(width)
    assert width % heads == 0
    assert width // heads % 2 == 0


def test_a_number_of_steps_beside_it_is_refused(rhyme: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--minutes and --max-steps both say how long the run is"):
        small_run(rhyme, tmp_path / "run", max_steps=5)
    with pytest.raises(ConfigError, match="minutes"):
        TrainingConfig(minutes=-1)
    assert math.isfinite(promise(1, 1, 1))
