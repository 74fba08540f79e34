"""Whether compiling pays on a processor: tried out once, for runs of many minutes, and remembered.

On an accelerator the number of steps decides (`device.py`). A processor gains a tenth or two, and the compiler takes
half a minute and more: no short run is kept waiting by so much as a measurement. For a long one a model that is then
thrown away takes a few steps, plain and compiled; what that showed lies in the cache, for all runs of this shape here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from pathlib import Path

import torch

from glassgpt.config import RunConfig
from glassgpt.data.prepare import Prepared
from glassgpt.data.prepare import Progress as Watcher
from glassgpt.device import Machine, release_memory, switched_on
from glassgpt.files import cache_root, write_text
from glassgpt.model.count import flops_per_token
from glassgpt.training.parallel import Team
from glassgpt.training.step import Trainer
from glassgpt.training.trying import throw_away, timed_step

LONG_S = 600.0  # a run of fewer seconds would win back little more than the trial
SLOW_FLOPS, SLOW_STEP_S = 40e9, 0.003  # a second, and for the smallest step: one core of 2026 does twice as well
TIMED_STEPS, TIMED_S = 4, 3.0  # so many, or so long


@dataclasses.dataclass(frozen=True)
class Trial:
    plain_s: float  # a step
    compiled_s: float
    compiling_s: float

    def saved_s(self, steps: int) -> float:
        return steps * (self.plain_s - self.compiled_s) - self.compiling_s

    def verdict(self, steps: int) -> str:
        """`compiled (a step takes 35 ms and not 41)`."""
        paces = f"a step takes {1000 * self.compiled_s:.3g} ms compiled and {1000 * self.plain_s:.3g} ms else"
        if self.saved_s(steps) > 0:
            return f"compiled ({paces})"
        return f"not compiled ({paces}: that would not win back {self.compiling_s:.0f} s of compiling)"


def compiled_if_it_pays(
    config: RunConfig, machine: Machine, prepared: Prepared, team: Team, say: Watcher | None
) -> Machine:
    """The machine with `compile: auto` decided; as it was, where that is not asked, or decided already."""
    training = config.training
    if training.compile != "auto" or machine.device.type != "cpu" or training.minutes is not None or not team.alone:
        return machine
    config = config.but(model=config.model.but(vocab_size=prepared.tokenizer.vocab_size))
    if _about_s(config) < LONG_S:
        return machine
    kept = cache_root() / "compiling" / f"{_shape_of(config, machine)}.json"
    trial = _remembered(kept)
    if trial is None:
        with switched_on(machine):
            _, plain_s = _pace(throw_away(config, machine, prepared))
            if plain_s * training.max_steps < LONG_S:
                return machine
            trial = _try(config, machine, prepared, plain_s, say or _in_silence)
        write_text(kept, json.dumps(dataclasses.asdict(trial)))
    why = machine.why.rpartition("; ")[0] + "; " + trial.verdict(training.max_steps)
    return dataclasses.replace(machine, compiled=trial.saved_s(training.max_steps) > 0, why=why)


def _about_s(config: RunConfig) -> float:
    """How long the run may be, by arithmetic alone."""
    training = config.training
    flops = flops_per_token(config.model, training.seq_len) * training.seq_len * training.batch_size
    return training.max_steps * (SLOW_STEP_S + flops / SLOW_FLOPS)


def _shape_of(config: RunConfig, machine: Machine) -> str:
    """A name for all that decides over the pace of a step."""
    training = config.training
    names = ("batch_size", "seq_len", "first_seq_len", "grad_accum", "optimizer", "gradient_checkpointing")
    processor = (platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability(), os.cpu_count())
    shape = [config.model.model_dump(), [getattr(training, name) for name in names], processor, torch.__version__,
             machine.precision, machine.threads]  # fmt: skip
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:24]


def _remembered(kept: Path) -> Trial | None:
    try:
        return Trial(**json.loads(kept.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # never tried, or of another version: it can be made again
        return None


def _try(config: RunConfig, machine: Machine, prepared: Prepared, plain_s: float, say: Watcher) -> Trial:
    say("trying whether compiling pays", 0.0)
    trainer = throw_away(config, machine, prepared)
    trainer.forward = torch.compile(trainer.model, dynamic=False)
    first_s, compiled_s = _pace(trainer)
    say("trying whether compiling pays", 1.0)
    torch.compiler.reset()  # the run compiles for itself, so that a resumed one does the same
    release_memory(machine.device)
    return Trial(plain_s, compiled_s, max(0.0, first_s - compiled_s))


def _pace(trainer: Trainer) -> tuple[float, float]:
    """Seconds of the first step, and of one of those after it."""
    first_s, *taken = [timed_step(trainer, 0), timed_step(trainer, 1)]
    while len(taken) < TIMED_STEPS and sum(taken) < TIMED_S:
        taken.append(timed_step(trainer, 1 + len(taken)))
    return first_s, min(taken)


def _in_silence(what: str, share: float) -> None: ...
