"""How fast a model learns and writes on this machine, and which share of the machine that is.

Training is the real step (`training/step.py`) on random ids, writing the real stream (`sampling/generate.py`). Only
the learning rate is next to nothing, so that a trained model does not go astray on noise while it is measured.
The forms of attention are compared in `forms.py`; `cli/bench.py` shows the figures.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

from glassgpt.config import SamplingConfig, TrainingConfig
from glassgpt.device import DTYPES, Machine
from glassgpt.lab.forms import Shape
from glassgpt.lab.stopwatch import peak_memory, time_calls
from glassgpt.model.base import Predictor
from glassgpt.model.count import flops_per_token
from glassgpt.sampling.generate import generate
from glassgpt.text.base import id_dtype
from glassgpt.training.step import Trainer, trainer_of

STREAMS = 8  # samples written side by side
NEXT_TO_NOTHING = 1e-12
MOST_NEW_TOKENS, LEAST_NEW_TOKENS = 128, 16
MOST_ATTENTION_TOKENS = 4096  # in one call: the scores of the longest context would need gigabytes
PRODUCT_SIZES = {"cpu": 1024, "mps": 2048, "cuda": 8192}  # of the matrices that show what the machine can do


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is measured, and on what."""

    model: Predictor
    training: TrainingConfig
    machine: Machine

    @property
    def device(self) -> torch.device:
        return self.machine.device


@dataclass(frozen=True, kw_only=True)
class MachinePeak:
    """The fastest that this machine computes; a share of it is the MFU."""

    flops_per_s: float
    source: str


@dataclass(frozen=True, kw_only=True)
class TrainingSpeed:
    tokens_per_s: float
    step_ms: float
    steps: int  # measured ones
    tokens_per_step: int
    flops_per_token: int
    mfu: float
    peak_memory_bytes: int | None
    compiled: bool
    why_not_compiled: str | None


@dataclass(frozen=True, kw_only=True)
class WritingSpeed:
    first_token_ms: float  # from a prompt of half the context
    prompt_tokens: int
    tokens_per_s: float  # one stream, behind its first token
    streams: int
    tokens_per_s_together: float


def machine_peak(machine: Machine, *, seconds: float) -> MachinePeak:
    """From the maker's data sheet where the card is known, else from a product of two large matrices."""
    if machine.peak_flops is not None:
        return MachinePeak(flops_per_s=machine.peak_flops, source="the maker's data sheet")
    size = PRODUCT_SIZES[machine.device.type]
    rng = torch.Generator().manual_seed(0)
    left, right = (
        torch.randn(size, size, generator=rng).to(machine.device, DTYPES[machine.precision]) for _ in range(2)
    )
    timing = time_calls(lambda: left @ right, seconds=seconds, device=machine.device)
    source = f"measured: a {size} x {size} matrix product in {machine.precision}"
    return MachinePeak(flops_per_s=2 * size**3 / timing.fastest_s, source=source)


def measure_training(subject: Subject, peak: MachinePeak, *, seconds: float) -> TrainingSpeed:
    training, machine = subject.training, subject.machine
    trainer = trainer_for(subject)
    steps = iter(range(1 << 62))
    with peak_memory(subject.device) as memory:
        timing = time_calls(lambda: trainer.take_step(next(steps)), seconds=seconds, device=subject.device)
    tokens = training.batch_size * training.seq_len
    flops = flops_per_token(subject.model.config, training.seq_len)
    return TrainingSpeed(
        tokens_per_s=tokens / timing.median_s,
        step_ms=1000 * timing.median_s,
        steps=timing.repetitions,
        tokens_per_step=tokens,
        flops_per_token=flops,
        mfu=tokens * flops / timing.median_s / peak.flops_per_s,
        peak_memory_bytes=memory.size_bytes,
        compiled=machine.compiled and trainer.why_not_compiled is None,
        why_not_compiled=trainer.why_not_compiled,
    )


def trainer_for(subject: Subject) -> Trainer:
    """The real step on random ids, on a copy of the model, which it hardly moves."""
    machine = subject.machine
    training = subject.training.but(learning_rate=NEXT_TO_NOTHING, muon_learning_rate=NEXT_TO_NOTHING)
    ids = np.random.default_rng(0).integers(0, subject.model.vocab_size, size=64 * training.seq_len + 1)
    ids = ids.astype(id_dtype(subject.model.vocab_size))
    return trainer_of(copy.deepcopy(subject.model), ids, training, machine, compiled=machine.compiled)


def measure_writing(subject: Subject, *, seconds: float) -> WritingSpeed:
    model = subject.model.eval()
    context = min(subject.training.seq_len, model.context)
    prompt = np.random.default_rng(0).integers(0, model.vocab_size, size=max(1, context // 2)).tolist()
    new_tokens = min(max(context - len(prompt), LEAST_NEW_TOKENS), MOST_NEW_TOKENS)

    def seconds_for(count: int, streams: int) -> float:
        settings = SamplingConfig(max_new_tokens=count, num_samples=streams)

        def write_all() -> None:
            for _ in generate(model, [prompt], settings, context=context):
                pass

        return time_calls(write_all, seconds=seconds / 4, device=subject.device).median_s

    first_s, first_together_s = seconds_for(1, 1), seconds_for(1, STREAMS)
    alone_s = seconds_for(new_tokens, 1) - first_s
    together_s = seconds_for(new_tokens, STREAMS) - first_together_s
    return WritingSpeed(
        first_token_ms=1000 * first_s,
        prompt_tokens=len(prompt),
        tokens_per_s=(new_tokens - 1) / alone_s,
        streams=STREAMS,
        tokens_per_s_together=STREAMS * (new_tokens - 1) / together_s,
    )


def attention_shape(subject: Subject) -> Shape | None:
    """The model's own context, twice and four times it; None for a model without attention."""
    config, training = subject.model.config, subject.training
    if config.architecture != "gpt":
        return None
    return Shape(
        heads=config.n_heads,
        head_width=config.head_width,
        tokens=min(training.batch_size * training.seq_len, MOST_ATTENTION_TOKENS),
        contexts=tuple(training.seq_len * factor for factor in (1, 2, 4)),
        device=str(subject.device),
        precision=subject.machine.precision,
        threads=subject.machine.threads,
    )
