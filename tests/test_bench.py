"""The benchmark: figures that can be believed, a table for people, one line for programs, and an end in time."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from glassgpt.checkpoint import load_checkpoint
from glassgpt.cli.bench import load_subject
from glassgpt.cli.main import main
from glassgpt.cli.profile import profiled
from glassgpt.config import ModelConfig, TrainingConfig
from glassgpt.device import choose_machine
from glassgpt.errors import ConfigError
from glassgpt.lab.bench import MachinePeak, Subject, attention_shape, machine_peak, measure_training, measure_writing
from glassgpt.lab.forms import FORMS, Shape, measure_compiled, measure_forms
from glassgpt.lab.profile import profile, save_every_for
from glassgpt.lab.stopwatch import peak_memory, time_calls
from glassgpt.lab.work import PARTS, work
from glassgpt.model.build import build
from glassgpt.model.count import flops_per_token

CPU = torch.device("cpu")
SHAPE = Shape(heads=2, head_width=4, tokens=16, contexts=(8, 16), device="cpu", precision="fp32", threads=1)
LITTLE = 0.01  # seconds


@pytest.fixture
def subject() -> Subject:
    config = ModelConfig(vocab_size=11, n_layers=1, d_model=8, n_heads=2, max_seq_len=16)
    training = TrainingConfig(batch_size=4, grad_accum=2, seq_len=8, precision="fp32", threads=1)
    return Subject(model=build(config, seed=1), training=training, machine=choose_machine(training, "cpu"))


def bench(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[list[str], dict[str, Any]]:
    assert main(["bench", "--seconds", str(LITTLE), *flags]) == 0
    *table, last = capsys.readouterr().out.rstrip("\n").split("\n")
    report: dict[str, Any] = json.loads(last)
    return table, report


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)


@pytest.mark.usefixtures("no_compiler", "at_home")
def test_a_runs_model_is_measured_as_a_table_and_one_last_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    table, report = bench(capsys, "runs/book", "--json", str(file))
    assert json.loads(file.read_text(encoding="utf-8")) == report
    assert max(map(len, table)) <= 80
    assert report["parameters"] == sum(
        tensor.numel() for tensor in load_checkpoint(Path("runs/book/best.safetensors")).weights.values()
    )
    assert report["origin"].startswith("runs/book, step ")
    assert (report["batch_size"], report["seq_len"], report["precision"]) == (4, 16, "fp32")
    figures = [
        report["peak"]["flops_per_s"], report["training"]["tokens_per_s"], report["training"]["mfu"],
        report["writing"]["first_token_ms"], report["writing"]["tokens_per_s"],
        report["writing"]["tokens_per_s_together"], *(row["both_ms"] for row in report["attention"]),
    ]  # fmt: skip
    assert all(0 < figure < math.inf for figure in figures)
    assert [(row["form"], row["context"]) for row in report["attention"]] == [
        (form, context) for form in FORMS for context in (16, 32, 64)
    ]
    assert report["not_compiled"] == "no C++ compiler here (g++, clang++, c++, cl)"
    assert "skipped: no C++ compiler" in "\n".join(table)


@pytest.mark.usefixtures("at_home")
def test_without_a_run_the_default_model_has_random_weights_and_a_preset_its_own_shape() -> None:
    nothing = dict.fromkeys(("RUN", "model", "preset", "tokenizer", "precision"))
    origin, subject = load_subject(nothing | {"device": "cpu"})
    assert origin == "the default model, with random weights"
    assert subject.model.config == ModelConfig(vocab_size=96)
    origin, subject = load_subject(nothing | {"device": "cpu", "preset": "micro_gpt"})
    assert (origin, subject.model.config.d_model) == ("the preset micro_gpt, with random weights", 10)


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["runs/book", "--preset", "micro_gpt"], "more than one model is named"),
        (["runs/book", "--model", "runs/book"], "more than one model is named"),
        (["runs/bok"], "there is no run or checkpoint runs/bok; did you mean runs/book?"),
        (["--preset", "micro"], "unknown preset 'micro'"),
        (["--seconds", "0"], "--seconds 0: give a number above zero"),
        (["--seconds", "long"], "--seconds long: give a number"),
        (["--device", "toaster"], "device='toaster' is no device"),
        (["--device", "cpu", "--precision", "fp16"], "precision=fp16 needs an accelerator"),
        (["--tokenizer", "nowhere.json"], 'cannot read the tokenizer "nowhere.json"'),
        (["runs/book", "--tokenizer", "other.json"], "is not the tokenizer that the model was trained with"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    from glassgpt.text.chars import CharTokenizer

    other = tmp_path / "other.json"
    other.write_text(CharTokenizer("abc").to_json(), encoding="utf-8")
    assert main(["bench", *(str(other) if flag == other.name else flag for flag in flags)]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_model_is_as_it_was_behind_its_measuring(subject: Subject) -> None:
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    measure_training(subject, MachinePeak(flops_per_s=1e9, source=""), seconds=LITTLE)
    measure_writing(subject, seconds=LITTLE)
    assert all(torch.equal(before[name], tensor) for name, tensor in subject.model.state_dict().items())
    assert all(parameter.grad is None for parameter in subject.model.parameters())


def test_the_share_of_the_peak_follows_from_the_other_figures(subject: Subject) -> None:
    speed = measure_training(subject, MachinePeak(flops_per_s=1e9, source=""), seconds=LITTLE)
    assert speed.tokens_per_step == 32
    assert speed.tokens_per_s == pytest.approx(1000 * 32 / speed.step_ms)
    assert speed.mfu == pytest.approx(speed.tokens_per_s * speed.flops_per_token / 1e9)


def test_a_machine_without_a_data_sheet_is_measured_and_says_so(subject: Subject) -> None:
    peak = machine_peak(subject.machine, seconds=LITTLE)
    assert peak.flops_per_s > 1e8
    assert peak.source == "measured: a 1024 x 1024 matrix product in fp32"


def test_a_model_without_attention_has_no_forms_of_it(subject: Subject) -> None:
    bigram = build(ModelConfig(architecture="bigram", vocab_size=11, max_seq_len=16))
    assert attention_shape(replace(subject, model=bigram)) is None
    assert measure_writing(replace(subject, model=bigram), seconds=LITTLE).tokens_per_s > 0


def test_all_forms_are_measured_at_all_contexts() -> None:
    rows = list(measure_forms(SHAPE, seconds=LITTLE))
    assert [(row.form, row.context) for row in rows] == [(form, context) for form in FORMS for context in (8, 16)]
    assert all(0 < row.forward_ms < math.inf for row in rows)


def test_the_forms_give_equal_numbers() -> None:
    q, k, v = torch.randn(3, 2, 2, 7, 4, generator=torch.Generator().manual_seed(1))
    truth = FORMS["by hand"](q, k, v)
    for form in FORMS.values():
        torch.testing.assert_close(form(q, k, v), truth)


def test_a_compiler_that_takes_too_long_is_ended() -> None:
    begin = time.perf_counter()
    rows, reason = measure_compiled(SHAPE, seconds=LITTLE, limit_s=0.2)
    assert (rows, reason) == ([], "compiling took more than 0 s")
    assert time.perf_counter() - begin < 10  # a busy machine


@pytest.mark.slow
def test_compiled_attention_is_measured_at_all_contexts() -> None:
    rows, reason = measure_compiled(SHAPE, seconds=LITTLE, limit_s=300)
    assert reason is None
    assert [(row.form, row.context) for row in rows] == [("compiled", 8), ("compiled", 16)]


@pytest.mark.slow
def test_a_compiler_that_fails_gives_its_reason() -> None:
    rows, reason = measure_compiled(replace(SHAPE, precision="fp99"), seconds=LITTLE, limit_s=60)
    assert (rows, reason) == ([], "KeyError: 'fp99'")


def test_the_first_call_is_not_counted_and_the_median_is_taken() -> None:
    naps = iter([0.05, 0.001, 0.002, 0.03])
    timing = time_calls(lambda: time.sleep(next(naps)), seconds=0, device=CPU, least=3)
    assert timing.repetitions == 1  # the first alone took longer than there was
    naps = iter([0.0, 0.001, 0.03, 0.001])
    timing = time_calls(lambda: time.sleep(next(naps)), seconds=0.01, device=CPU, least=3)
    assert timing.repetitions in {2, 3}
    assert timing.fastest_s <= timing.median_s < 0.04


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is that of the whole process")
def test_peak_memory_is_that_of_the_block() -> None:
    with peak_memory(CPU) as large:
        torch.ones(64 << 20, dtype=torch.uint8).sum()
    with peak_memory(CPU) as small:
        torch.ones(1 << 10, dtype=torch.uint8).sum()
    assert large.size_bytes is not None
    assert small.size_bytes is not None
    assert large.size_bytes - small.size_bytes > 48 << 20


def test_the_parts_of_a_step_add_up_to_it_and_the_model_is_as_before(subject: Subject) -> None:
    before = {name: tensor.clone() for name, tensor in subject.model.state_dict().items()}
    seen = profile(subject, seconds=LITTLE)
    assert sum(seen.parts.values()) == pytest.approx(seen.marked_s)
    assert {part for part, _ in seen.parts} == set(PARTS)
    there_and_back = {"embedding", "attention", "mlp", "norms, shifts", "head, loss"}
    assert {part for part, way in seen.parts if way == "backward"} - {"the rest"} == there_and_back
    assert all(0 < seconds < math.inf for seconds in seen.parts.values())
    assert all(torch.equal(before[name], tensor) for name, tensor in subject.model.state_dict().items())


@pytest.mark.parametrize("changes", [{}, {"n_kv_heads": 1, "mlp": "swiglu"}, {"tie_weights": False, "mlp": "gelu"}])
def test_the_work_of_all_parts_is_that_of_the_model(changes: dict[str, Any]) -> None:
    config = ModelConfig(vocab_size=11, n_layers=3, d_model=8, n_heads=2, max_seq_len=16, **changes)
    training = TrainingConfig(batch_size=4, seq_len=16, optimizer="adamw")
    flops = sum(part.flops for part in work(config, training, half=False).values())
    assert flops == 4 * 16 * flops_per_token(config, 16)


def test_a_part_takes_at_least_what_it_multiplies_or_what_it_moves(subject: Subject) -> None:
    part = work(subject.model.config, subject.training, half=False)["attention"]
    assert part.limit_s(1.0, math.inf) == part.flops
    assert part.limit_s(math.inf, 1.0) == part.moved_bytes


def test_so_many_steps_between_checkpoints_keep_saving_below_a_share() -> None:
    every = save_every_for(0.01, 0.5, 0.02)
    assert 0.5 / (0.5 + every * 0.02) <= 0.01 < 0.5 / (0.5 + (every - 1) * 0.02)


@pytest.mark.usefixtures("at_home")
def test_a_profile_is_a_table_and_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    table, report = bench(capsys, "--profile", "--preset", "micro_gpt", "--device", "cpu")
    assert max(map(len, table)) <= 80
    assert [line[:16].strip() for line in table if line[:16].strip() in PARTS] == list(PARTS)
    assert {row["part"] for row in report["profile"]["parts"]} == set(PARTS)
    assert any(line.startswith("saving") and "of the run, every" in line for line in table)


def test_a_bigram_model_is_not_taken_apart(subject: Subject) -> None:
    bigram = replace(subject, model=build(ModelConfig(architecture="bigram", vocab_size=11, max_seq_len=16)))
    with pytest.raises(ConfigError, match="the bigram model is one table"):
        next(profiled(bigram, MachinePeak(flops_per_s=1e9, source=""), {}, seconds=LITTLE))
