"""Keeping a run of `--minutes` to its time, without losing that it can be repeated.

While the learning rate stands still, nothing depends on how many steps there will be; so their number is settled when
it begins to fall, by the pace until then: that of full windows, which therefore come a little earlier. From there a
little more is planned than should fit, and the run ends when its time is up, by then with a rate near zero. Each
decision is written into the configuration, which gives the same bits again with no clock at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from glassgpt.config import RunConfig, TrainingConfig

MORE = 1.04  # than should fit: too slow a run is cut where its rate is a few hundredths, too fast a one has more to do
GROWS = 0.85  # of the steps before the rate falls have the shorter windows of `first_seq_len`
LATEST = 0.75  # of the time may pass before the steps are settled, however slow they turned out to be
CLOSING = 0.015  # of the time, for the last evaluation, samples and saving


class Deadline:
    """What a run must change before its next step, so that it is over in time."""

    def __init__(
        self, seconds: float, *, began: float | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        """`began`: when the time began to run, on the same clock; left out, now."""
        self.now, self.begin = now, now() if began is None else began
        self.latest = self.begin + LATEST * seconds
        self.end = self.begin + (1 - CLOSING) * seconds
        self.since: tuple[int, float] | None = None  # a step and its time, from which on the pace is measured

    def changes(self, step: int, config: RunConfig) -> dict[str, Any]:
        """Settings that are other from this step on (counted from 0); none, most of the time."""
        training = config.training
        if training.minutes is None:
            return {}
        if self.since is None:
            self.since = step, self.now()
        first_step, first_at = self.since
        pace_s = (self.now() - first_at) / max(1, step - first_step)
        changes: dict[str, Any] = {}
        if training.schedule_steps is None and step > first_step:
            if training.first_seq_len is not None and training.first_steps is None:
                changes = self._grown(step, training)
            elif self._is_time_for(1.0, step, training):
                changes = self._settled(step, training, pace_s)
        last = step + 1 >= changes.get("max_steps", training.max_steps) or self.now() + 2 * pace_s > self.end
        return changes | ({"max_steps": step + 1, "minutes": None} if last else {})

    @property
    def left_s(self) -> float:
        return self.end - self.now()

    def _is_time_for(self, share: float, step: int, training: TrainingConfig) -> bool:
        """Whether this share of what lies before the fall is over; of the steps, or of the time that it may take."""
        falls = training.schedule != "constant" and step >= share * training.max_steps * (1 - training.decay_fraction)
        return falls or self.now() > self.begin + share * (self.latest - self.begin)

    def _grown(self, step: int, training: TrainingConfig) -> dict[str, Any]:
        if not self._is_time_for(GROWS, step, training):
            return {}
        self.since = step, self.now()
        return {"first_steps": step}

    def _settled(self, step: int, training: TrainingConfig, pace_s: float) -> dict[str, Any]:
        steps = step + max(1, int(MORE * self.left_s / max(pace_s, 1e-9)))
        changes: dict[str, Any] = {"max_steps": steps, "schedule_steps": steps}
        if training.schedule != "constant":
            changes["decay_fraction"] = (steps - step) / steps
        return changes
