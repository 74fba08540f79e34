"""A run goes on from the newest state that is whole, says what was lost, and ends with the bits it would have had."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import TINY
from glassgpt import library
from glassgpt.checkpoint import load_checkpoint
from glassgpt.errors import CheckpointError, DivergenceError, RunError
from glassgpt.recovery import find_state, find_whole
from glassgpt.settings import resolve
from glassgpt.training import step as steps
from glassgpt.training.events import Event, Finished, Note, Started
from glassgpt.training.loop import resume, train

RUN: dict[str, Any] = TINY | {
    "max_steps": 12, "save_every": 4, "eval_every": 4, "log_every": 1, "sample_every": 0, "sample_prompt": "1",
}  # fmt: skip


def begin(text: Path, out: Path, **choices: Any) -> Iterator[Event]:
    return train(resolve(flags=RUN | {"data": str(text), "out": str(out)} | choices))


def notes(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Note))


def tensors(path: Path) -> dict[str, torch.Tensor]:
    checkpoint = load_checkpoint(path)
    return {**checkpoint.weights, **{f"optimizer/{name}": value for name, value in checkpoint.optimizer.items()}}


def same_bits(one: Path, other: Path) -> bool:
    mine, others = tensors(one), tensors(other)
    return mine.keys() == others.keys() and all(torch.equal(mine[name], others[name]) for name in mine)


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recovery")
    text = folder / "text.txt"
    text.write_text("".join(f"{n} and {n * n}, " for n in range(230)), encoding="utf-8")
    list(begin(text, folder / "run"))
    return folder / "run"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def test_what_was_saved_before_is_kept(run: Path) -> None:
    assert load_checkpoint(run / "last.safetensors").step == 12
    assert load_checkpoint(run / "previous.safetensors").step == 8


@pytest.mark.parametrize("how", ["damaged", "cut", "missing"])
def test_a_run_whose_last_state_is_lost_goes_on_from_the_one_before_and_says_so(
    run: Path, whole: Path, how: str
) -> None:
    last = run / "last.safetensors"
    if how == "damaged":
        damage(last)
    elif how == "cut":
        last.write_bytes(last.read_bytes()[:99])
    else:
        last.unlink()
    events = list(resume(run, {}))
    assert next(event.step for event in events if isinstance(event, Started)) == 8
    assert "last.safetensors is " in notes(events)
    assert "previous.safetensors" in notes(events)
    assert "going on from step 8" in notes(events)
    assert isinstance(events[-1], Finished)
    assert same_bits(last, whole / "last.safetensors")
    assert load_checkpoint(run / "previous.safetensors").step == 8  # a damaged file does not push a good one out


def test_a_state_that_is_named_is_that_one_or_none(run: Path, whole: Path) -> None:
    damage(run / "last.safetensors")
    with pytest.raises(CheckpointError, match=r"last\.safetensors is damaged"):
        list(resume(run / "last.safetensors", {}))
    list(resume(run / "previous.safetensors", {}))
    assert same_bits(run / "last.safetensors", whole / "last.safetensors")


def test_without_any_whole_state_it_is_refused_and_all_are_named(run: Path) -> None:
    damage(run / "last.safetensors")
    damage(run / "previous.safetensors")
    with pytest.raises(CheckpointError, match=r"last\.safetensors is damaged.*; no better: previous\.safetensors"):
        list(resume(run, {}))


def test_a_damaged_best_model_gives_way_to_the_last_with_a_word(run: Path) -> None:
    damage(run / "best.safetensors")
    found = find_whole(run)
    assert found.path == run / "last.safetensors"
    with pytest.warns(UserWarning, match=r"best\.safetensors is damaged.*last\.safetensors \(step 12\) is taken"):
        library.load(run)
    with pytest.raises(CheckpointError, match="is damaged"):
        library.load(run / "best.safetensors")


def test_what_killed_processes_left_is_swept_away(run: Path) -> None:
    (run / ".last.safetensors.99999999-0123abcd.tmp").write_bytes(b"half")
    list(resume(run, {"max_steps": 13}))
    assert not list(run.glob(".*.tmp"))


def test_who_asks_a_finished_run_for_something_is_not_told_that_it_was_done(run: Path) -> None:
    with pytest.raises(RunError, match=r"is finished, with 12 steps; eval_every=2 would change nothing"):
        list(resume(run, {"eval_every": 2}))
    with pytest.raises(RunError, match=r"max_steps=5 would change nothing"):
        list(resume(run, {"max_steps": 5}))


def test_a_log_that_was_changed_is_noticed(run: Path) -> None:
    log = run / "log.csv"
    list(resume(run, {"max_steps": 13}))
    log.write_text(log.read_text(encoding="utf-8").replace("\n3,", "\n33,", 1), encoding="utf-8")
    assert "log.csv is not what this run wrote up to step 13" in notes(list(resume(run, {"max_steps": 14})))
    assert "is not what" not in notes(list(resume(run, {"max_steps": 15})))


class Lost:
    """A trainer's backward pass that meets no number at one step, while the learning rate is high."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, at_step: int, above: float) -> None:
        self.real = steps.Trainer._gradients
        self.at_step, self.above = at_step, above
        lost = self

        def gradients(trainer: steps.Trainer, step: int, micro: int) -> torch.Tensor:
            return lost.gradients(trainer, step, micro)

        monkeypatch.setattr(steps.Trainer, "_gradients", gradients)

    def gradients(self, trainer: steps.Trainer, step: int, micro: int) -> torch.Tensor:
        loss = self.real(trainer, step, micro)
        lost = step == self.at_step and trainer.config.learning_rate > self.above
        return loss * math.nan if lost else loss


def test_a_loss_that_is_no_number_changes_nothing_and_says_what_to_do(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Lost(monkeypatch, at_step=9, above=0)
    with pytest.raises(DivergenceError, match=r"step 10: loss=nan.*learning_rate=0\.01, precision=fp32.*--on-diverg"):
        list(begin(whole.parent / "text.txt", tmp_path / "run"))
    assert same_bits(tmp_path / "run" / "last.safetensors", whole / "previous.safetensors")


@pytest.mark.parametrize("at_step", [1, 9])
def test_a_run_may_go_back_and_on_at_lower_rates(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: int
) -> None:
    text, out = whole.parent / "text.txt", tmp_path / "run"
    Lost(monkeypatch, at_step=at_step, above=0.004)
    events = list(begin(text, out, on_divergence="back"))
    back = 8 if at_step == 9 else 0
    assert f"back to step {back}, and on from there with learning_rate=0.005" in notes(events)
    assert "learning_rate=0.0025" in notes(events)
    assert isinstance(events[-1], Finished)
    saved = load_checkpoint(out / "last.safetensors")
    assert saved.settings["learning_rate"] == 0.0025
    assert saved.origins["learning_rate"] == "halved where the training diverged"
    log = [line.split(",")[0] for line in (out / "log.csv").read_text(encoding="utf-8").splitlines()]
    assert log == ["step", *map(str, range(1, 13))]


def test_going_back_ends_when_it_is_not_the_rate(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Lost(monkeypatch, at_step=3, above=0)
    with pytest.raises(DivergenceError):
        list(begin(whole.parent / "text.txt", tmp_path / "run", on_divergence="back"))
    assert find_state(tmp_path / "run").checkpoint.step == 0


def test_a_run_that_went_back_and_is_resumed_ends_with_the_same_bits(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = whole.parent / "text.txt"
    Lost(monkeypatch, at_step=9, above=0.004)
    list(begin(text, tmp_path / "one", on_divergence="back"))
    events: Any = begin(text, tmp_path / "two", on_divergence="back")
    for event in events:
        if isinstance(event, Note) and "back to step" in event.text:
            break
    events.close()
    list(resume(tmp_path / "two", {}))
    assert same_bits(tmp_path / "one" / "last.safetensors", tmp_path / "two" / "last.safetensors")


def test_weights_that_are_no_numbers_are_not_saved(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = steps.Trainer.take_step

    def overflowing(trainer: steps.Trainer, step: int) -> steps.StepResult:
        result = real(trainer, step)
        if step == 7:
            with torch.no_grad():
                next(trainer.model.parameters())[0, 0] = math.inf
        return result

    monkeypatch.setattr(steps.Trainer, "take_step", overflowing)
    with pytest.raises(DivergenceError, match=r"after step 8: "):
        list(begin(whole.parent / "text.txt", tmp_path / "run", eval_every=100))
    assert find_state(tmp_path / "run").checkpoint.step == 4


def test_another_tokenizer_is_told_from_another_text(tmp_path: Path) -> None:
    text, own = tmp_path / "text.txt", tmp_path / "own.json"
    text.write_text("".join(f"{n} and {n * n}, " for n in range(230)), encoding="utf-8")
    list(begin(text, tmp_path / "run", tokenizer=str(own)))
    before = own.read_bytes()
    own.unlink()
    assert "own.json was missing, and is written again" in notes(list(resume(tmp_path / "run", {"max_steps": 13})))
    assert own.read_bytes() == before
    content = json.loads(before)
    vocabulary = content["model"]["vocab"]
    vocabulary["0"], vocabulary["1"] = vocabulary["1"], vocabulary["0"]
    own.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(RunError, match=r"its tokenizer is not the one that this run began with \(digest \w+ now, \w+"):
        list(resume(tmp_path / "run", {"max_steps": 14}))


def test_circumstances_that_change_the_last_digits_are_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    then = torch.__version__
    monkeypatch.setattr(torch, "__version__", "1.2.3")
    told = notes(list(resume(run, {"max_steps": 13, "save_every": 5})))
    assert f"torch was {then} and is now 1.2.3" in told
    assert "save_every was 4 and is now 5" in told
