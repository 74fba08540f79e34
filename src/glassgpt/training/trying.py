"""A few steps of a configuration with a stopwatch, on a model that is then thrown away.

Used where something is chosen by measuring it: sizes in `planning.py`, whether to compile in `compiling.py`.
"""

from __future__ import annotations

import time

from glassgpt.config import RunConfig
from glassgpt.data.prepare import Prepared
from glassgpt.device import Machine, switched_on
from glassgpt.model.build import build
from glassgpt.training.step import Trainer, trainer_of

TIMED_STEPS = 4


def time_step(config: RunConfig, machine: Machine, prepared: Prepared) -> float:
    """Seconds of a training step, averaged over the run."""
    training = config.training
    last_s = _pace(config.but(training=training.but(first_seq_len=None)), machine, prepared)
    first_s = last_s if training.first_seq_len is None else _pace(config, machine, prepared)
    return first_s + training.decay_fraction * (last_s - first_s)


def _pace(config: RunConfig, machine: Machine, prepared: Prepared) -> float:
    """The median of a few steps on the text itself, with a model that is then thrown away."""
    trainer = throw_away(config, machine, prepared)
    with switched_on(machine):
        taken = [timed_step(trainer, step) for step in range(1 + TIMED_STEPS)]
    return sorted(taken[1:])[TIMED_STEPS // 2]


def throw_away(config: RunConfig, machine: Machine, prepared: Prepared) -> Trainer:
    """What a run of this configuration would begin with, to try things on."""
    training = config.training
    model = build(config.model.but(vocab_size=prepared.tokenizer.vocab_size), seed=training.seed).to(machine.device)
    return trainer_of(model, prepared.train_ids, training, machine)


def timed_step(trainer: Trainer, step: int) -> float:
    """Seconds of one step."""
    begin = time.perf_counter()
    float(trainer.take_step(step).loss)  # an accelerator is waited for
    return time.perf_counter() - begin
