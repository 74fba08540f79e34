"""The learning rate as a function of the step: up from zero, along the peak, down again. And windows, which grow."""

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
    begin = falls_after(config)
    if step <= begin:
        return 1.0
    progress = min(1.0, (step - begin) / (_steps(config) - begin))
    fall = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * fall


def window_length(step: int, config: TrainingConfig) -> int:
    """Tokens in a window: what is near is learned first, and costs less where nothing else can be seen."""
    until = falls_after(config) + 1 if config.first_steps is None else config.first_steps
    return config.first_seq_len if config.first_seq_len is not None and step < until else config.seq_len


def falls_after(config: TrainingConfig) -> float:
    """The last step at the peak."""
    return max(config.warmup_steps, _steps(config) * (1 - config.decay_fraction))


def _steps(config: TrainingConfig) -> int:
    return config.schedule_steps or config.max_steps
