"""GLASSGPT_MAX_STEPS: nothing takes more steps, stories of an exam or rounds of a benchmark than so many.

For trying what a long recipe does and leaves, and for the tests that type every documented command. A run says in its
configuration where the number came from.
"""

from __future__ import annotations

import os

from glassgpt.config import RunConfig
from glassgpt.errors import ConfigError

NAME = "GLASSGPT_MAX_STEPS"


def most_steps() -> int | None:
    """None, where nobody asked for a shortcut."""
    asked = os.environ.get(NAME, "")
    if not asked:
        return None
    if not asked.isdecimal() or int(asked) < 1:
        raise ConfigError(f"{NAME}={asked!r} is no number of steps")
    return int(asked)


def shorter(config: RunConfig) -> dict[str, int]:
    """What must change in a run that is longer; the batches of an evaluation too, for they take as long as steps."""
    most, training = most_steps(), config.training
    if most is None or training.max_steps <= most:
        return {}
    return {
        "max_steps": most,
        "warmup_steps": min(training.warmup_steps, most // 10),
        "eval_batches": min(training.eval_batches or most, most),
    }
