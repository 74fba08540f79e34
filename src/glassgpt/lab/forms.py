"""The forms of attention side by side, on this machine: which is the fastest, and from which length on.

By hand as a learner reads it, by hand in blocks, torch's fused kernel, and what `torch.compile` makes of the first.
Compiling may take minutes or fail in a hundred ways, so it is tried in a process of its own, which is ended when its
time is over: this file run as a program. That all forms give equal numbers is shown by tests of `model/attention.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from glassgpt.device import DTYPES
from glassgpt.lab.stopwatch import time_calls
from glassgpt.model.attention import attend, attend_causally

Form = Callable[[Tensor, Tensor, Tensor], Tensor]
COMPILED = "compiled"
COMPILERS = ("g++", "clang++", "c++", "cl")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What attention is measured on; each context gets as many texts as make up about `tokens`."""

    heads: int
    head_width: int
    tokens: int
    contexts: tuple[int, ...]
    device: str
    precision: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    form: str
    context: int
    forward_ms: float
    both_ms: float  # forward and backward


def by_hand(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
    T = q_BHTK.shape[2]
    return attend(q_BHTK, k_BHTK, v_BHTK, torch.ones(T, T, dtype=torch.bool, device=q_BHTK.device).tril())


def fused(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)


FORMS: dict[str, Form] = {"by hand": by_hand, "by hand, in blocks": attend_causally, "fused (sdpa)": fused}


def measure_forms(shape: Shape, *, seconds: float) -> Iterator[Measured]:
    """The forms that need no compiler."""
    each_s = seconds / (2 * len(FORMS) * len(shape.contexts))
    for name, form in FORMS.items():
        for context in shape.contexts:
            yield _measure(name, form, shape, context, seconds=each_s)


def measure_compiled(shape: Shape, *, seconds: float, limit_s: float) -> tuple[list[Measured], str | None]:
    """What was measured until the limit, and why there is not more."""
    if shape.device.startswith("cpu") and not any(map(shutil.which, (os.environ.get("CXX") or "g++", *COMPILERS))):
        return [], f"no C++ compiler here ({', '.join(COMPILERS)})"
    home = str(Path(__file__).parents[2])  # where the package lies, installed or not
    paths = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "glassgpt.lab.forms", json.dumps(asdict(shape)), str(seconds)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": paths, "TORCHINDUCTOR_COMPILE_THREADS": "1"},
    )  # fmt: skip
    try:
        out, complaint = process.communicate(timeout=limit_s)
        reason = None if process.returncode == 0 else (complaint.strip().split("\n")[-1] or "it failed")
    except subprocess.TimeoutExpired:
        _end(process)
        out, _ = process.communicate()
        reason = f"compiling took more than {limit_s:.0f} s"
    whole = out[: out.rfind("\n") + 1].splitlines()
    return [Measured(**json.loads(line)) for line in whole if line.startswith("{")], reason


def _end(process: subprocess.Popen[str]) -> None:
    """With the compilers that it has started."""
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)


def _measure(name: str, form: Form, shape: Shape, context: int, *, seconds: float) -> Measured:
    device = torch.device(shape.device)
    q_BHTK, k_BHTK, v_BHTK, gradient_BHTK = _inputs(shape, context, device)

    def forward() -> Tensor:  # as in training, keeping what the way back needs: another graph need not be compiled
        return form(q_BHTK, k_BHTK, v_BHTK)

    def both() -> None:
        torch.autograd.grad(forward(), (q_BHTK, k_BHTK, v_BHTK), gradient_BHTK)

    timings = [time_calls(action, seconds=seconds, device=device) for action in (forward, both)]
    forward_ms, both_ms = (1000 * timing.median_s for timing in timings)
    return Measured(form=name, context=context, forward_ms=forward_ms, both_ms=both_ms)


def _inputs(shape: Shape, context: int, device: torch.device) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    size = (max(1, shape.tokens // context), shape.heads, context, shape.head_width)
    numbers = [torch.randn(size, generator=rng).to(device, DTYPES[shape.precision]) for _ in range(4)]
    return [*(tensor.requires_grad_() for tensor in numbers[:3]), numbers[3]]


def main(argv: Sequence[str]) -> None:
    """A line of JSON for each context, as soon as it is measured."""
    shape = Shape(**json.loads(argv[0]))
    torch.set_num_threads(shape.threads)
    each_s = float(argv[1]) / (2 * len(shape.contexts))
    compiled: Form = torch.compile(by_hand, dynamic=False)
    for context in shape.contexts:
        print(json.dumps(asdict(_measure(COMPILED, compiled, shape, context, seconds=each_s))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
