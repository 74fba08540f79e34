"""What a person should hear of a run's losses: that they begin wrong, are worse than guessing, or rise again.

Each is said once. Only told, never acted upon: a run whose losses are no numbers is another matter (`hindsight.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from glassgpt.training.events import Note
from glassgpt.training.run import Run


class Notices:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.warned_of_step = 0
        self.warned_of_nonsense = False

    def of_first_loss(self, loss: float) -> Iterator[Note]:
        """An untrained model should find all tokens about equally likely."""
        vocab_size = self.run.model.config.vocab_size or 1
        expected = math.log(vocab_size)
        if abs(loss - expected) > 0.15 * expected:
            yield Note(text=f"the loss at step 0 is {loss:.3f}, far from ln({vocab_size}) = {expected:.3f}, that of "
                            f"a model which knows nothing: its first weights are not what they should be")  # fmt: skip

    def of_evaluation(self, val_loss: float) -> Iterator[Note]:
        yield from self._of_overfitting()
        yield from self._of_nonsense(val_loss)

    def _of_overfitting(self) -> Iterator[Note]:
        since = self.run.progress.overfitting_since()
        if since is not None and since != self.warned_of_step:
            self.warned_of_step = since
            yield Note(text=f"overfitting since step {since}: the validation loss rises while the training loss falls; "
                            f"the best checkpoint is that of step {since}")  # fmt: skip

    def _of_nonsense(self, val_loss: float) -> Iterator[Note]:
        guessing = math.log(self.run.model.vocab_size) * self.run.loss_unit
        if val_loss > guessing and not self.warned_of_nonsense:
            self.warned_of_nonsense = True
            yield Note(text=f"the held-out loss {val_loss:.3f} is worse than guessing evenly ({guessing:.3f}): too "
                            f"little text, or too high a --learning-rate")  # fmt: skip
