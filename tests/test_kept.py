"""Weights that are kept on the way, and the first samples: what a run leaves so that one can watch it learn."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import TINY, refusal
from glassgpt.checkpoint import load_checkpoint
from glassgpt.cli.main import main
from glassgpt.config import TrainingConfig
from glassgpt.errors import DivergenceError
from glassgpt.recovery import find_whole
from glassgpt.runs import RunFolder, find_run, reserved
from glassgpt.settings import resolve
from glassgpt.training.events import Event, Sampled, Saved, Stepped
from glassgpt.training.loop import resume, train
from glassgpt.training.metrics import COLUMNS, TIME_COLUMNS
from glassgpt.training.samplefile import samples_in
from glassgpt.training.samples import is_early
from glassgpt.training.step import Trainer

SMALL: dict[str, Any] = TINY | {
    "max_steps": 24, "eval_every": 12, "save_every": 8, "log_every": 4, "sample_every": 0, "keep_every": 5,
}  # fmt: skip


def begin(rhyme: Path, out: Path, **choices: Any) -> Iterator[Event]:
    return train(resolve(flags=SMALL | {"data": str(rhyme), "out": str(out)} | choices))


def leave_after(events: Iterator[Event], step: int) -> None:
    """As a killed process does: what it wrote stays, and nothing is saved."""
    for event in events:
        if isinstance(event, Stepped) and event.step == step:
            events.close()  # type: ignore[attr-defined]
            return


def steps_of_samples(folder: Path) -> list[int]:
    return [step for step, _ in samples_in(RunFolder(folder).samples.read_text(encoding="utf-8"))]


def log_without_times(folder: Path) -> list[list[str]]:
    keep = [place for place, name in enumerate(COLUMNS) if name not in TIME_COLUMNS]
    rows = RunFolder(folder).log.read_text(encoding="utf-8").splitlines()
    return [[row.split(",")[place] for place in keep] for row in rows]


def weights_in(folder: Path) -> dict[int, dict[str, list[float]]]:
    kept = {step: load_checkpoint(path).weights for step, path in RunFolder(folder).kept().items()}
    return {
        step: {name: tensor.flatten().tolist() for name, tensor in weights.items()} for step, weights in kept.items()
    }


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "numbers.txt"
    path.write_text("".join(f"{n} and {n * n},\n" for n in range(230)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing interrupts."""
    folder: Path = tmp_path_factory.mktemp("whole") / "run"
    events = list(begin(text, folder, sample_every=22))
    saved = [event.step for event in events if isinstance(event, Saved) and event.path.name.startswith("step-")]
    assert saved == [5, 10, 15, 20, 24]
    return folder


def test_every_so_many_steps_and_at_the_last_the_weights_are_kept_without_the_optimizer(whole: Path) -> None:
    kept = RunFolder(whole).kept()
    assert [(step, path.name) for step, path in kept.items()] == [
        (step, f"step-{step}.safetensors") for step in (5, 10, 15, 20, 24)
    ]
    for step, path in kept.items():
        checkpoint = load_checkpoint(path)
        assert (checkpoint.step, dict(checkpoint.optimizer)) == (step, {})
    last, newest = load_checkpoint(RunFolder(whole).last), load_checkpoint(kept[24])
    assert all((newest.weights[name] == tensor).all() for name, tensor in last.weights.items())


def test_who_asks_for_none_keeps_none(text: Path, tmp_path: Path) -> None:
    list(begin(text, tmp_path / "run", keep_every=0, max_steps=2))
    assert RunFolder(tmp_path / "run").kept() == {}


@pytest.mark.parametrize("step", [4, 12, 20])
def test_a_killed_run_keeps_the_same_when_it_goes_on(text: Path, whole: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "run"
    leave_after(begin(text, folder, sample_every=22), step)
    list(resume(folder, {}))
    assert weights_in(folder) == weights_in(whole)
    assert RunFolder(folder).samples.read_bytes() == RunFolder(whole).samples.read_bytes()


def test_a_resumed_run_forgets_what_was_kept_after_the_step_it_goes_on_from(text: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    leave_after(begin(text, folder), 20)
    assert list(RunFolder(folder).kept()) == [5, 10, 15]  # and the state is that of step 16
    shutil.copy(RunFolder(folder).kept_at(15), RunFolder(folder).kept_at(17))
    list(resume(folder, {"keep_every": 0}))
    assert list(RunFolder(folder).kept()) == [5, 10, 15]


def test_back_from_a_divergence_the_kept_weights_after_that_step_are_forgotten(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = Trainer.take_step
    seen: list[list[int]] = []

    def diverges_once(self: Trainer, step: int) -> Any:
        if step == 18 and not seen:
            seen.append(list(RunFolder(tmp_path / "run").kept()))
            raise DivergenceError("a loss that is no number")
        if step == 16 and seen:
            seen.append(list(RunFolder(tmp_path / "run").kept()))
        return take_step(self, step)

    monkeypatch.setattr(Trainer, "take_step", diverges_once)
    list(begin(text, tmp_path / "run", on_divergence="back", keep_every=17, save_every=16))
    assert seen == [[17], []]
    assert list(RunFolder(tmp_path / "run").kept()) == [17, 24]


def test_overwriting_removes_what_the_old_run_kept_and_nothing_else(whole: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(whole, folder.path)
    folder.evaluations.write_text("{}", encoding="utf-8")
    others = ["step-x.safetensors", "step-007.safetensors", "step-5.txt", "mine-5.safetensors"]
    for name in others:
        (folder.path / name).write_bytes(b"somebody's")
    with reserved(folder.path, overwrite=True):
        assert folder.kept() == {}
        assert {path.name for path in folder.path.iterdir() if path.name[0] != "."} == set(others)


def test_a_folder_in_which_only_kept_weights_are_left_is_not_taken_for_an_empty_one(
    whole: Path, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    shutil.copy(RunFolder(whole).kept_at(5), folder.path)
    shutil.copy(RunFolder(whole).kept_at(20), folder.path)
    assert "--overwrite" in refusal(lambda: reserved(folder.path).__enter__())
    assert find_whole(folder.path).path == folder.kept_at(20)


def test_a_step_of_a_run_is_named_by_its_file_or_by_its_number(whole: Path, tmp_path: Path) -> None:
    assert find_run(f"{whole}@15") == find_run(whole / "step-15.safetensors") == RunFolder(whole).kept()[15]
    assert refusal(lambda: find_run(f"{whole}@16")).endswith("keeps no step 16: it keeps 5, 10, 15, 20, 24")
    assert "there is no run" in refusal(lambda: find_run(f"{whole}@last"))
    bare = tmp_path / "bare@7"
    shutil.copytree(whole, bare, ignore=shutil.ignore_patterns("step-*"))
    assert find_run(str(bare)) == bare
    assert "--keep-every N" in refusal(lambda: find_run(f"{bare}@5"))


def test_verbs_take_a_kept_step(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", f"{whole}@10"]) == 0
    assert main(["sample", f"{whole}/step-10.safetensors", "--max-new-tokens", "3"]) == 0
    assert "step        10 of 24" in capsys.readouterr().out
    assert main(["train", "--resume", f"{whole}/step-10.safetensors"]) == 2
    assert "cannot be resumed" in capsys.readouterr().err


def test_early_samples_double_from_ten_up_to_the_first_regular_one() -> None:
    def early(**choices: Any) -> list[int]:
        return [step for step in range(2000) if is_early(step, TrainingConfig(**choices))]

    assert early() == [10, 20, 40, 80, 160]
    assert early(sample_every=1000) == [10, 20, 40, 80, 160, 320, 640]
    assert early(sample_every=40, max_steps=20) == [10]
    assert early(sample_every=0) == early(sample_every=10) == []


def test_early_samples_are_written_and_change_neither_a_loss_nor_what_is_told(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_them = list(begin(text, tmp_path / "with", sample_every=23))
    monkeypatch.setattr("glassgpt.training.desk.is_early", lambda *_: False)
    without = list(begin(text, tmp_path / "without", sample_every=23))
    assert steps_of_samples(tmp_path / "with") == [10, 20, 23, 24]
    assert steps_of_samples(tmp_path / "without") == [23, 24]
    assert log_without_times(tmp_path / "with") == log_without_times(tmp_path / "without")
    assert weights_in(tmp_path / "with") == weights_in(tmp_path / "without")
    assert [type(event) for event in with_them] == [type(event) for event in without]
    assert [event for event in with_them if isinstance(event, Sampled)] == [
        event for event in without if isinstance(event, Sampled)
    ]


def test_samples_are_read_back_as_they_were_written() -> None:
    content = "=== step 10 ===\n\n\n=== step 20 ===\none\n\ntwo\n\n=== step 30 ===\n=== step x ===\n\n"
    assert samples_in(content) == [(10, ""), (20, "one\n\ntwo"), (30, "=== step x ===")]
    assert samples_in("before\n=== step 5 ===\nhalf a sam") == [(5, "half a sam")]
    assert samples_in("") == []
