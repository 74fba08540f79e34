"""Device and precision: what is chosen where, tested by pretending to be each machine."""

from __future__ import annotations

import platform

import pytest
import torch

from glassgpt import device
from glassgpt.config import TrainingConfig
from glassgpt.errors import ConfigError

CUDA, MPS, CPU = torch.device("cuda"), torch.device("mps"), torch.device("cpu")


def test_a_newer_card_computes_in_bf16_and_an_older_one_in_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    assert device.choose_precision("auto", CUDA)[0] == "bf16"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert device.choose_precision("auto", CUDA)[0] == "fp16"


def test_a_processor_computes_in_bf16_only_where_it_has_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)
    assert device.choose_precision("auto", CPU)[0] == "bf16"
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    assert device.choose_precision("auto", CPU)[0] == "fp32"
    assert device.choose_precision("auto", MPS)[0] == "fp32"


def test_what_is_asked_for_is_taken_or_refused() -> None:
    assert device.choose_precision("fp32", CUDA)[0] == "fp32"
    with pytest.raises(ConfigError, match="fp16 needs an accelerator"):
        device.choose_precision("fp16", CPU)
    with pytest.raises(ConfigError, match="'gpu' is no device"):
        device.choose_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="no CUDA; choose auto or cpu"):
        device.choose_device("cuda:0")


def test_an_accelerator_is_found_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.choose_device("auto")[0].type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.choose_device("auto")[0].type == "cpu"


def test_compilation_is_for_long_runs_on_cuda_or_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert device.choose_compile(TrainingConfig(max_steps=5000), CUDA)[0]
    assert not device.choose_compile(TrainingConfig(max_steps=50), CUDA)[0]
    assert not device.choose_compile(TrainingConfig(max_steps=5000), CPU)[0]
    assert device.choose_compile(TrainingConfig(compile="on"), CPU)[0]
    assert not device.choose_compile(TrainingConfig(max_steps=5000, compile="off"), CUDA)[0]


def test_autocast_computes_in_the_chosen_precision() -> None:
    weight = torch.ones(4, 4)
    for precision, dtype in [("fp32", torch.float32), ("bf16", torch.bfloat16)]:
        machine = device.choose_machine(TrainingConfig(precision=precision), "cpu")  # type: ignore[arg-type]
        with machine.autocast():
            assert (weight @ weight).dtype == dtype
