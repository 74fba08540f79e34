"""A memory that is too small for a batch: it goes through in smaller parts, and nothing else changes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from glassgpt.checkpoint import load_checkpoint
from glassgpt.cli.main import main
from glassgpt.config import ModelConfig, TrainingConfig
from glassgpt.data import tales
from glassgpt.device import choose_machine
from glassgpt.errors import TooLargeError, is_out_of_memory
from glassgpt.model.base import Predictor
from glassgpt.model.gpt import GPT
from glassgpt.settings import resolve
from glassgpt.text.chars import CharTokenizer
from glassgpt.training.evaluate import evaluate, score_stories
from glassgpt.training.events import Event, Finished, Note, Sampled, Stepped
from glassgpt.training.loop import resume, train

RUN: dict[str, Any] = {
    "d_model": 16, "n_layers": 1, "n_heads": 2, "max_seq_len": 16, "seq_len": 16, "batch_size": 8, "dropout": 0.1,
    "threads": 1, "precision": "fp32", "device": "cpu", "max_steps": 20, "eval_every": 10, "save_every": 0,
    "sample_every": 0, "log_every": 1, "sample_prompt": "1",
}  # fmt: skip

# As CUDA, the processor, Apple's MPS and Python itself say it.
COMPLAINTS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 0 bytes free."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB). Tried to allocate 256 bytes on private pool."),
    MemoryError(),
]


@contextmanager
def room_for(
    windows: int, complaint: Exception = COMPLAINTS[0], *, training: bool = True, from_call: int = 0
) -> Iterator[None]:
    """A memory for so many windows at a time, in training or outside of it."""
    calls = 0

    def look(module: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal calls
        if isinstance(module, Predictor) and module.training == training:
            calls += 1
            if calls > from_call and len(args[0]) > windows:
                raise complaint

    hook = nn.modules.module.register_module_forward_pre_hook(look)
    try:
        yield
    finally:
        hook.remove()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "numbers.txt"
    path.write_text("".join(f"{n} and {n * n}, " for n in range(560)), encoding="utf-8")
    return path


def run(text: Path, out: Path, **choices: Any) -> list[Event]:
    return list(train(resolve(flags=RUN | {"data": str(text), "out": str(out)} | choices)))


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Stepped)]


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note) and "memory" in event.text]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_run_is_to_the_last_bit_the_one_that_was_cut_so_from_its_beginning(
    text: Path, tmp_path: Path, optimizer: str
) -> None:
    planned = run(text, tmp_path / "planned", grad_accum=4, optimizer=optimizer)
    with room_for(2):
        forced = run(text, tmp_path / "forced", optimizer=optimizer)
    assert losses(forced) == losses(planned)
    one, other = (load_checkpoint(tmp_path / name / "last.safetensors") for name in ("planned", "forced"))
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_it_is_said_once_and_written_down(text: Path, tmp_path: Path) -> None:
    with room_for(2):
        events = run(text, tmp_path / "run")
    (note,) = notes(events)
    assert note.startswith("out of memory: from here on 2 windows at a time (grad_accum=4")
    assert "grad_accum: 4  # out of memory at step 1\n" in (tmp_path / "run" / "config.yaml").read_text()
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").settings["grad_accum"] == 4


def test_a_memory_that_fills_up_later_repeats_that_step_with_the_same_windows(text: Path, tmp_path: Path) -> None:
    roomy = run(text, tmp_path / "roomy", dropout=0.0)
    with room_for(4, from_call=7):
        narrow = run(text, tmp_path / "narrow", dropout=0.0)
    assert losses(narrow)[:7] == losses(roomy)[:7]
    assert losses(narrow)[7:] == pytest.approx(losses(roomy)[7:], rel=2e-4)  # sums in another order, and bf16 in Muon
    assert "grad_accum: 2  # out of memory at step 8\n" in (tmp_path / "narrow" / "config.yaml").read_text()


def test_a_stopped_run_goes_on_as_it_was_cut(text: Path, tmp_path: Path) -> None:
    planned = run(text, tmp_path / "planned", grad_accum=4)
    events: list[Event] = []
    with room_for(2):
        for event in train(resolve(flags=RUN | {"data": str(text), "out": str(tmp_path / "run")})):
            events.append(event)
            if isinstance(event, Stepped) and event.step == 5:
                signal.raise_signal(signal.SIGTERM)
        later = list(resume(tmp_path / "run", {}))
    assert notes(later) == []
    assert losses(events) + losses(later) == losses(planned)


def test_an_odd_number_of_windows_is_cut_into_equal_parts_too(text: Path, tmp_path: Path) -> None:
    with room_for(1):
        events = run(text, tmp_path / "run", batch_size=6, max_steps=2)
    assert "1 windows at a time (grad_accum=6" in notes(events)[0]
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("complaint", COMPLAINTS, ids=["cuda", "cpu", "mps", "python"])
def test_each_way_of_saying_it_is_understood(text: Path, tmp_path: Path, complaint: Exception) -> None:
    with room_for(4, complaint):
        assert notes(run(text, tmp_path / "run", max_steps=1))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied (8x3 and 4x3)"))


def test_another_failure_is_no_reason_to_cut(text: Path, tmp_path: Path) -> None:
    with (
        room_for(4, RuntimeError("CUDA error: an illegal memory access")),
        pytest.raises(RuntimeError, match="illegal"),
    ):
        run(text, tmp_path / "run")


def test_when_not_even_one_window_fits_there_is_one_line_with_ways_out(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with room_for(0), pytest.raises(TooLargeError, match=r"not even one window .* --gradient-checkpointing"):
        run(text, tmp_path / "run")
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in RUN.items()]
    with room_for(0):
        assert main(["train", str(text), "--out", str(tmp_path / "typed"), *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith("glassgpt: out of memory: not even one window of seq_len=16 fits")
    assert said.count("\n") == 1


def test_an_evaluation_halves_its_batches_and_finds_the_same_loss() -> None:
    machine = choose_machine(TrainingConfig(precision="fp32", threads=1), "cpu")
    model = GPT(ModelConfig(vocab_size=23, d_model=16, n_layers=1, n_heads=2, max_seq_len=64), seed=3)
    ids = np.random.default_rng(0).integers(0, 23, size=999).astype(np.uint16)
    whole = evaluate(model, ids, seq_len=16, batch_size=7, machine=machine)
    for rows in (1, 2, 5):
        with room_for(rows, training=False):
            parts = evaluate(model, ids, seq_len=16, batch_size=7, machine=machine)
        assert parts.tokens == whole.tokens
        assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    with room_for(0, training=False), pytest.raises(torch.OutOfMemoryError):
        evaluate(model, ids, seq_len=16, batch_size=7, machine=machine)


def test_stories_are_scored_in_smaller_groups_with_the_same_result() -> None:
    machine = choose_machine(TrainingConfig(precision="fp32", threads=1), "cpu")
    stories = ["a cat sat. " * times for times in range(1, 8)]
    tokenizer = CharTokenizer.train([*stories, tales.SEPARATOR])
    model = GPT(ModelConfig(vocab_size=tokenizer.vocab_size, d_model=16, n_layers=1, n_heads=2, max_seq_len=64), seed=3)
    whole = score_stories(model, tokenizer, stories, context=64, batch_size=4, machine=machine)
    with room_for(1, training=False):
        parts = score_stories(model, tokenizer, stories, context=64, batch_size=4, machine=machine)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    assert parts.tokens == whole.tokens


def test_a_sample_for_which_there_is_no_room_costs_a_line_and_not_the_run(text: Path, tmp_path: Path) -> None:
    def refuse(module: nn.Module, _args: tuple[Any, ...]) -> None:
        if isinstance(module, nn.Embedding) and not torch.is_grad_enabled() and torch.is_inference_mode_enabled():
            raise COMPLAINTS[0]

    hook = nn.modules.module.register_module_forward_pre_hook(refuse)
    try:
        events = run(text, tmp_path / "run", max_steps=2)
    finally:
        hook.remove()
    assert isinstance(events[-1], Finished)
    assert [event for event in events if isinstance(event, Sampled)] == []
    assert notes(events) == ["no sample at step 2: there is not enough memory for it beside the training"]
