"""What the run computes on and how: device, precision, threads, compilation, chosen in this one place.

Choices depend on the machine, so they are made once, said in one line, and written into the run's
configuration; a resumed run takes them from there.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from glassgpt.config import TrainingConfig
from glassgpt.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Dense peak of tensor cores in bf16/fp16, from the makers' data sheets, in TFLOP/s.
PEAK_TFLOPS = {
    "H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "L4": 121.0, "A10": 125.0, "V100": 125.0,
    "T4": 65.0, "RTX 4090": 165.0, "RTX 3090": 71.0, "B200": 2250.0,
}  # fmt: skip
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
COMPILE_PAYS_AFTER_STEPS = 500  # compiling takes half a minute; shorter runs would be over before it is won back


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The choices, and the sentence that says why."""

    device: torch.device
    precision: Precision
    threads: int
    compiled: bool
    why: str

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])

    @property
    def lags_behind(self) -> bool:
        """The host only queues the work, and should read no result before it needs it."""
        return self.device.type == "cuda"

    @property
    def peak_flops(self) -> float | None:
        """Of the accelerator, where it is one we know; a share of it is the `mfu` in the log."""
        if self.device.type != "cuda" or self.precision == "fp32":
            return None
        name = torch.cuda.get_device_name(self.device)
        return next((tflops * 1e12 for part, tflops in PEAK_TFLOPS.items() if part in name), None)


def choose_machine(
    training: TrainingConfig, device_name: str = "auto", *, local_rank: int = 0, local_size: int = 1
) -> Machine:
    """For one of `local_size` processes of a run on this machine, where there are several."""
    device, why_device = choose_device(device_name)
    if local_size > 1 and device.type != "cpu":
        device, why_device = _own_card(device, device_name, local_rank, local_size)
    precision, why_precision = choose_precision(training.precision, device)
    compiled, why_compiled = choose_compile(training, device)
    threads = training.threads or torch.get_num_threads()
    where = f"{why_device}, {threads} threads" if device.type == "cpu" else why_device
    why = f"{where}; {why_precision}; {why_compiled}"
    return Machine(device=device, precision=precision, threads=threads, compiled=compiled, why=why)


@contextlib.contextmanager
def switched_on(machine: Machine) -> Iterator[None]:
    """The process-wide switches of torch, thrown here and nowhere else, and thrown back afterwards."""
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    card = torch.cuda.current_device() if machine.device.type == "cuda" else 0
    if machine.device.type == "cuda":
        torch.cuda.set_device(machine.device)  # else pinned memory would open a context on the first card too
    torch.set_num_threads(machine.threads)
    torch.set_flush_denormal(True)  # numbers near zero would slow the processor down many times
    torch.backends.cuda.matmul.allow_tf32 = True
    _keep_freed_memory(wanted=machine.device.type == "cpu")
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        if machine.device.type == "cuda":
            torch.cuda.set_device(card)
        _keep_freed_memory(wanted=False)


def _keep_freed_memory(*, wanted: bool) -> None:
    """Let glibc keep what a step frees for the next step. Given back, every page of it is cleared by the system again.

    That was thousands of page faults in a small step, and up to a tenth of its time. Otherwise, blocks from 32 MB on go
    back at once: to where glibc raises that border by itself, and cannot any more, once it was set.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30 if wanted else 32 << 20)
        libc.mallopt(M_TRIM_THRESHOLD, 1 << 30 if wanted else 64 << 20)
        if not wanted:
            libc.malloc_trim(0)


def release_memory(device: torch.device) -> None:
    """Hand back what torch keeps for later; after a failed step its pieces may have the wrong sizes."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def choose_device(name: str = "auto") -> tuple[torch.device, str]:
    """`choose_device("auto")`: CUDA, then Apple's MPS, then the processor."""
    if name != "auto":
        return _named_device(name)
    if torch.cuda.is_available():
        device = torch.device("cuda", torch.cuda.current_device())
        return device, f"CUDA ({torch.cuda.get_device_name(device)})"
    if torch.backends.mps.is_available():
        return torch.device("mps"), "Apple Metal Performance Shaders (MPS)"
    return torch.device("cpu"), f"CPU ({platform.machine() or 'processor'})"


def _named_device(name: str) -> tuple[torch.device, str]:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device={name!r} is no device; choose auto, cpu, cuda, cuda:1 or mps") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name}: this machine (or this build of torch) has no CUDA; choose auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={name}: this machine has {torch.cuda.device_count()} CUDA devices, counted from 0")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device={name}: Apple's MPS is not available here; choose auto or cpu")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise ConfigError(f"device={name!r} is not supported; choose auto, cpu, cuda or mps")
    return device, {"cpu": f"CPU ({platform.machine()})", "mps": "MPS"}.get(device.type, f"CUDA ({name})")


def _own_card(device: torch.device, name: str, local_rank: int, local_size: int) -> tuple[torch.device, str]:
    """Each process computes on its own accelerator."""
    if name != "auto" and device.index is not None:
        raise ConfigError(f"device={name} is one, and {local_size} processes need one each; choose {device.type}")
    have = torch.cuda.device_count() if device.type == "cuda" else 1
    if have < local_size:
        raise ConfigError(
            f"{local_size} processes need as many accelerators, and this machine has {have}; start {have}, or choose "
            f"--device cpu"
        )
    return torch.device(device.type, local_rank), f"{local_size} x CUDA ({torch.cuda.get_device_name(local_rank)})"


def choose_precision(wanted: str, device: torch.device) -> tuple[Precision, str]:
    if wanted == "fp16" and device.type == "cpu":
        raise ConfigError("precision=fp16 needs an accelerator; on a CPU choose fp32 or bf16")
    if wanted != "auto":
        return _precision(wanted), f"{wanted} as asked"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "bf16 arithmetic, fp32 weights"
        return "fp16", "fp16 arithmetic with loss scaling (this card has no bf16)"
    if device.type == "cpu" and cpu_has_bf16():
        return "bf16", "bf16 arithmetic (the processor has instructions for it), fp32 weights"
    return "fp32", "fp32 arithmetic"


def _precision(name: str) -> Precision:
    return {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"}[name]  # type: ignore[return-value]


def cpu_has_bf16() -> bool:
    """Whether matrix products in bf16 are done by the processor itself; emulated, they would be slower than fp32."""
    has_avx512 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return bool(has_avx512 or has_amx)


def choose_compile(training: TrainingConfig, device: torch.device) -> tuple[bool, str]:
    if training.compile != "auto":
        return training.compile == "on", "compiled as asked" if training.compile == "on" else "not compiled"
    if device.type == "cuda" and platform.system() == "Linux" and training.max_steps >= COMPILE_PAYS_AFTER_STEPS:
        return True, "compiled"
    return False, "not compiled (it would not pay here)"
