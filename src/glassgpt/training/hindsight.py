"""The losses of the steps that were taken: read in hindsight, several at once, where reading would make a device wait.

To read a number, the host waits until an accelerator has come to it, and then the accelerator waits for the host. So
steps leave their numbers here, and what they may change is decided where the numbers are: from the first loss or
gradient on that is none, `skip` is 1, and the optimizers heed it. Whoever reads, later, finds that step by its number,
and the weights as they were before it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from glassgpt.errors import DivergenceError

MOST_UNREAD = 100  # a run that is lost should end, even if nobody asks
MOST_SKIPPED = 100  # one behind the other; a loss scaler has come down from 65,536 to nothing in fewer


class Hindsight:
    def __init__(self, circumstances: str, *, at_once: bool, scaled: bool) -> None:
        """`circumstances` are said when a step has met no number. `at_once`: nobody is kept waiting, so each step is
        looked at before it changes anything.

        `scaled`: a loss scaler is at work, and skips single steps by design, until it has found a scale that fits.
        """
        self.circumstances, self.at_once, self.scaled = circumstances, at_once, scaled
        self._skipped = 0  # steps without a number, one behind the other
        self._unread: list[tuple[int, Tensor, Tensor]] = []
        self._losses: list[float] = []
        self._lost: Tensor | None = None

    def skip(self, step: int, loss: Tensor, norm: Tensor) -> Tensor | None:
        """Whether the optimizers should: a 1 or 0 on the device. None when that is known not to be so."""
        self._unread.append((step, loss, norm))
        if len(self._unread) >= (1 if self.at_once else MOST_UNREAD):
            self._read()
        if self.at_once and not self.scaled:
            return None
        skip = (~torch.isfinite(loss + norm)).float()
        if self._lost is not None and not self.scaled:
            skip = torch.maximum(skip, self._lost)
        self._lost = skip
        return skip

    def losses(self) -> list[float]:
        """Of the steps since the last call."""
        self._read()
        losses, self._losses = self._losses, []
        return losses

    def _read(self) -> None:
        steps, self._unread = self._unread, []
        if steps:
            numbers = torch.stack([number for _, *pair in steps for number in pair]).tolist()
            for (step, _, _), loss, norm in zip(steps, numbers[::2], numbers[1::2], strict=True):
                self._look_at(step, loss, norm)
                self._losses.append(loss)

    def _look_at(self, step: int, loss: float, norm: float) -> None:
        self._skipped = 0 if math.isfinite(loss + norm) else self._skipped + 1
        if self._skipped > (MOST_SKIPPED if self.scaled else 0):
            numbers = f"loss={loss:.4g}, gradient norm={norm:.4g}"
            raise diverged(f"step {step + 1}: {numbers}; nothing was changed by it", self.circumstances)


def diverged(what: str, circumstances: str) -> DivergenceError:
    return DivergenceError(
        f"{what} ({circumstances}). Lower --learning-rate, or try --precision fp32; "
        f"or go on from what was saved last, at half the rate: --resume RUN --on-divergence back"
    )
