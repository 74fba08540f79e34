"""Device and precision: what is chosen where, tested by pretending to be each machine."""

from __future__ import annotations

import platform
import subprocess
import sys

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


def test_the_switches_are_thrown_back_when_the_work_is_done() -> None:
    machine = device.choose_machine(TrainingConfig(threads=1), "cpu")
    before = (torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32)
    with device.switched_on(machine):
        assert (torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32) == (1, True)
    assert (torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32) == before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another library keeps the memory")
def test_memory_that_one_step_frees_is_there_for_the_next_and_need_not_be_cleared_again() -> None:
    program = """
import resource, torch
from glassgpt import device
from glassgpt.config import TrainingConfig
with device.switched_on(device.choose_machine(TrainingConfig(threads=1), "cpu")):
    for _ in range(3):  # until it has found its place
        torch.ones(16 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(16 << 20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""  # in a process of its own: one that has lived long may have no room in one piece
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    pages = 64 << 20 >> 12
    assert int(told.stdout) < 5 * pages / 2  # a system short of memory may take some of it back


def test_autocast_computes_in_the_chosen_precision() -> None:
    weight = torch.ones(4, 4)
    for precision, dtype in [("fp32", torch.float32), ("bf16", torch.bfloat16)]:
        machine = device.choose_machine(TrainingConfig(precision=precision), "cpu")  # type: ignore[arg-type]
        with machine.autocast():
            assert (weight @ weight).dtype == dtype
