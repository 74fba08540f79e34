"""The learning rate as a function of the step: up from zero, along the peak, down again."""

from __future__ import annotations

import math

from glassgpt.config import TrainingConfig


def learning_rate_share(step: int, config: TrainingConfig) -> float:
    """The share of the peak at a step counted from 0.

    Warmup begins above zero (its first step is 1 / warmup_steps), so that no step is wasted;
    the last step of the schedule comes near min_lr_ratio without spending a step on nothing. A run may be shorter than
    its schedule, or longer: then it goes on at min_lr_ratio.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    steps = config.schedule_steps or config.max_steps
    decay_start = max(config.warmup_steps, steps * (1 - config.decay_fraction))
    if step <= decay_start:
        return 1.0
    progress = min(1.0, (step - decay_start) / (steps - decay_start))
    fall = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * fall
