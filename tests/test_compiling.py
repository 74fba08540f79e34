"""Compiling on a processor: tried out for long runs only, decided by what that showed, and remembered."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from glassgpt.device import choose_machine
from glassgpt.files import cache_root
from glassgpt.settings import resolve
from glassgpt.training import compiling
from glassgpt.training.chosen import prepare_data
from glassgpt.training.compiling import Trial, compiled_if_it_pays
from glassgpt.training.events import Event, Note
from glassgpt.training.loop import resume, train
from glassgpt.training.parallel import ALONE, Team

RUN: dict[str, Any] = {
    "d_model": 16, "n_layers": 1, "n_heads": 2, "max_seq_len": 16, "seq_len": 16, "batch_size": 4, "threads": 1,
    "device": "cpu", "max_steps": 4, "sample_every": 0,
}  # fmt: skip


@pytest.fixture
def quick_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All runs are long ones, compiling is Python again, and nothing is known."""
    monkeypatch.setenv("GLASSGPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiling, "LONG_S", 0.0)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


@pytest.fixture
def nothing_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a model was taken to try things on")

    monkeypatch.setattr(compiling, "throw_away", refuse)


def decided(rhyme: Path, *, team: Team = ALONE, **choices: Any) -> tuple[bool, str]:
    config = resolve(flags=RUN | {"data": str(rhyme)} | choices).config
    machine = choose_machine(config.training, "cpu")
    decided = compiled_if_it_pays(config, machine, prepare_data(config, None), team, None)
    return decided.compiled, decided.why


def test_a_trial_pays_when_the_steps_win_back_the_compiler() -> None:
    trial = Trial(plain_s=0.041, compiled_s=0.035, compiling_s=30.0)
    assert trial.saved_s(10_000) == pytest.approx(30.0)
    assert trial.verdict(10_000) == "compiled (a step takes 35 ms compiled and 41 ms else)"
    assert trial.saved_s(4000) < 0
    assert trial.verdict(4000).endswith("41 ms else: that would not win back 30 s of compiling)")


def test_a_short_run_is_not_kept_waiting_by_a_measurement(rhyme: Path, nothing_to_try: None) -> None:
    assert decided(rhyme, max_steps=5000)[1].endswith("not compiled (it would not pay here)")


@pytest.mark.parametrize("choices", [{"compile": "off"}, {"minutes": 5}, {"team": Team(world_size=2)}])
def test_nothing_is_tried_where_that_is_decided_or_cannot_be_decided_alone(
    rhyme: Path, quick_compiler: None, nothing_to_try: None, choices: dict[str, Any]
) -> None:
    assert not decided(rhyme, **choices)[0]


def test_what_was_tried_is_remembered_for_this_shape_and_no_other(
    rhyme: Path, quick_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(rhyme)
    (kept,) = (cache_root() / "compiling").glob("*.json")
    kept.write_text('{"plain_s": 2.0, "compiled_s": 1.0, "compiling_s": 6.0}', encoding="utf-8")
    assert not decided(rhyme)[0]  # four steps win back 4 s
    assert decided(rhyme, max_steps=7)[0]
    monkeypatch.setattr(compiling, "throw_away", None)
    with pytest.raises(TypeError):  # it would be tried
        decided(rhyme, d_model=32)
    kept.write_text("{", encoding="utf-8")
    with pytest.raises(TypeError):
        decided(rhyme)


def test_the_decision_is_said_written_down_and_not_taken_again_on_resume(
    rhyme: Path, tmp_path: Path, quick_compiler: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trial, "saved_s", lambda *_: 1.0)
    told = notes(list(train(resolve(flags=RUN | {"data": str(rhyme), "out": str(tmp_path / "run")}))))
    assert "; compiled (a step takes " in told[0]
    assert 'compile: "on"  # chosen here' in (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8")
    monkeypatch.setattr(compiling, "throw_away", None)
    again = notes(list(resume(tmp_path / "run", {"max_steps": 6})))
    assert "; compiled as asked" in again[0]


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]
