"""One training step: micro-batches in, gradients summed, clipped, parameters moved.

The only place where global randomness is seeded. Dropout draws from torch's global generator, so it is
reseeded before every micro-batch from (seed, step, micro-batch index, purpose): nothing to save, nothing
to restore, and a resumed run draws the same masks.

A batch that does not fit the memory goes through in smaller parts, here and in all processes of the run; the loss
and its gradient are the mean over the whole batch, however it is cut and whoever computes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from glassgpt.config import TrainingConfig
from glassgpt.data.batches import Batches, piece_of
from glassgpt.device import Machine, release_memory
from glassgpt.errors import TooLargeError, is_out_of_memory
from glassgpt.model.base import Predictor
from glassgpt.text.base import Ids
from glassgpt.training.hindsight import Hindsight
from glassgpt.training.optim import Optimizers
from glassgpt.training.parallel import ALONE, Team
from glassgpt.training.schedule import learning_rate_share, window_length

SCALER = "loss_scale/"
Forward = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class StepResult:
    loss: Tensor  # left on the device: reading it would make the host wait
    gradient_norm: Tensor
    learning_rate: float


@dataclass
class Trainer:
    """All that a step needs; the loop around it is in `loop.py`."""

    model: Predictor
    forward: Forward  # the model itself, or its compiled form
    optimizers: Optimizers
    batches: Batches
    config: TrainingConfig  # its grad_accum grows when memory runs out
    machine: Machine
    team: Team = ALONE
    scaler: torch.amp.GradScaler | None = None
    why_not_compiled: str | None = None  # set when compiling was tried and failed
    _compiled_works: bool = False

    def __post_init__(self) -> None:
        late = self.machine.lags_behind
        self._hindsight = Hindsight(self.circumstances, at_once=not late, scaled=self.scaler is not None)

    @property
    def circumstances(self) -> str:
        """What a person could change, when a loss is no number."""
        return f"learning_rate={self.config.learning_rate:.4g}, precision={self.machine.precision}"

    def take_step(self, step: int) -> StepResult:
        """Step number `step`, counted from 0."""
        share = learning_rate_share(step, self.config)
        self.optimizers.set_learning_rate_share(share)
        self.model.train()
        loss = self._mean_gradient(step)
        norm = self._clip()
        self.optimizers.step(self._hindsight.skip(step, loss, norm))
        if self.scaler is not None:
            self.scaler.update()
        return StepResult(loss, norm, self.config.learning_rate * share)

    def losses(self) -> list[float]:
        """Of the steps since the last call; an accelerator is waited for. Raises where a step met no number."""
        return self._hindsight.losses()

    def memory(self) -> dict[str, Tensor]:
        """What the optimizers remember (and the loss scale): with the weights, all that the next step depends on."""
        scale = self.scaler.state_dict() if self.scaler is not None else {}
        return self.optimizers.state() | {SCALER + name: torch.tensor(value) for name, value in scale.items()}

    def remember(self, memory: Mapping[str, Tensor]) -> None:
        scale = {name.removeprefix(SCALER): value.item() for name, value in memory.items() if name.startswith(SCALER)}
        if self.scaler is not None and scale:
            self.scaler.load_state_dict(scale)
        self.optimizers.load_state({name: value for name, value in memory.items() if not name.startswith(SCALER)})

    def anew(self, config: TrainingConfig, memory: Mapping[str, Tensor]) -> Trainer:
        """Another trainer of the same model, with other learning rates and what was remembered at another step."""
        trainer = replace(self, config=config, optimizers=Optimizers(self.model, config))
        trainer.remember(memory)
        return trainer

    def holds_numbers(self) -> bool:
        """Whether all weights are finite: an optimizer can bring them to infinity by steps that were finite."""
        return bool(torch.stack([weight.isfinite().all() for weight in self.model.parameters()]).all())

    @property
    def pieces(self) -> int:
        """How many micro-batches a batch is cut into, over all processes."""
        return self.config.grad_accum * self.team.world_size

    def _mean_gradient(self, step: int) -> Tensor:
        """The loss of the whole batch; its gradient lies in the parameters."""
        while True:
            sums = self._own_sums(step)
            if not self.team.largest(int(sums is None)):
                break
            self._cut_smaller()
        assert sums is not None
        self.team.add_up(*sums)
        return sums[0][0]

    def _own_sums(self, step: int) -> tuple[list[Tensor], Tensor | None] | None:
        """This process's share of the loss and of the gradients, ready to be added up; None when memory ran out."""
        self.model.zero_grad(set_to_none=True)
        try:
            loss = torch.stack([self._backward(step, micro) for micro in range(self.config.grad_accum)]).sum()
            if self.team.alone:
                return [loss], None
            sums = [loss, *(p.grad for p in self.model.parameters() if p.grad is not None)]
            return sums, self.team.lay_flat(sums)
        except Exception as problem:  # as soon as it is forgotten, so is what the failed pass had stored
            if not is_out_of_memory(problem):
                raise
        return None

    def _cut_smaller(self) -> None:
        """Half the windows at a time, or a third of an odd number: the smallest cut that makes equal parts.

        Only the passes are repeated. An optimizer that finds no room ends the run: it has moved some of the parameters.
        """
        windows = self.batches.batch_size // self.pieces
        if windows == 1:
            raise TooLargeError(
                f"out of memory: not even one window of seq_len={self.config.seq_len} fits at a time; take "
                f"--gradient-checkpointing, a shorter --seq-len or a smaller model"
            )
        parts = next(parts for parts in range(2, windows + 1) if windows % parts == 0)
        self.config = self.config.but(grad_accum=self.config.grad_accum * parts)
        self.model.zero_grad(set_to_none=True)
        release_memory(self.machine.device)

    def _backward(self, step: int, micro: int) -> Tensor:
        try:
            loss = self._gradients(step, micro)
        except Exception as problem:  # compilers fail in a hundred ways, and each has its own exception
            if self.forward is self.model or self._compiled_works or is_out_of_memory(problem):
                raise
            self.why_not_compiled = (str(problem) or type(problem).__name__).strip().splitlines()[0]
            self.forward = self.model
            self.model.zero_grad(set_to_none=True)  # nothing is lost: this was the first backward pass of the process
            loss = self._gradients(step, micro)
        self._compiled_works = True
        return loss

    def _gradients(self, step: int, micro: int) -> Tensor:
        rank, world_size = self.team.rank, self.team.world_size
        x, y = self.batches.in_windows_of(window_length(step, self.config)).batch(
            step, rank=rank, world_size=world_size, micro=micro, grad_accum=self.config.grad_accum
        )
        ids_BT, targets_BT = (_to_device(torch.from_numpy(part), self.machine.device) for part in (x, y))
        if self.model.config.dropout > 0:
            torch.manual_seed(chance(self.config.seed, step, piece_of(rank, world_size, micro), "dropout"))
        with self.machine.autocast():
            _, loss = self.forward(ids_BT, targets_BT)
            loss = loss / self.pieces
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _clip(self) -> Tensor:
        if self.scaler is not None:
            self.optimizers.unscale(self.scaler)
        limit = self.config.gradient_clip or float("inf")
        return torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)


def trainer_of(
    model: Predictor, ids: Ids, config: TrainingConfig, machine: Machine, *, team: Team = ALONE, compiled: bool = False
) -> Trainer:
    """What training this model on these ids begins with."""
    model.checkpointing = config.gradient_checkpointing
    return Trainer(
        model=model,
        forward=torch.compile(model, dynamic=False) if compiled else model,
        optimizers=Optimizers(model, config),
        batches=Batches(ids, seq_len=config.seq_len, batch_size=config.batch_size, seed=config.seed),
        config=config,
        machine=machine,
        team=team,
        scaler=torch.amp.GradScaler(machine.device.type) if machine.precision == "fp16" else None,
    )


def chance(seed: int, step: int, micro: int, purpose: str) -> int:
    """A seed that depends on its four arguments alone, and on nothing that happened before."""
    digest = hashlib.blake2b(f"{seed}/{step}/{micro}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1  # torch wants a non-negative int64


def _to_device(ids: Tensor, device: torch.device) -> Tensor:
    """A copy from pinned memory is queued and not waited for; torch keeps that memory until it is done, and reuses it.

    As nothing else in a step waits either, the host prepares the next batches while the accelerator computes: a queue
    or a thread of our own would only add to it.
    """
    return ids.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else ids.to(device)
