"""Muon: momentum in which every direction of a matrix counts the same.

Gradients of a matrix are mostly a few strong directions; Muon gives the faint ones equal weight. The idea and
its numbers are Keller Jordan's, https://kellerjordan.github.io/posts/muon/. `torch.optim.Muon` is the slow truth;
this one gives equal answers, computes matrices of one shape together, and can treat a fused matrix as its parts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from glassgpt.training.mover import Group, Mover

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Jordan's quintic: steepest at 0, so that faint directions grow fast
ROUNDS = 5  # then what was above 0.003 of a matrix's length lies between 0.68 and 1.21


class Move(NamedTuple):
    """One part of one parameter, and where it should go."""

    weight: Tensor  # a view: what is added to it moves the parameter
    direction: Tensor  # on its long side, however the weight lies
    learning_rate: float


class Muon(Mover):
    """Moves matrices by orthogonalised Nesterov momentum, after decay that is apart from it, as AdamW's is.

    Several matrices in one parameter, one above the other, are told by a group's `rows`, how many each has:
    `{"params": [qkv], "rows": (64, 32, 32)}`. Each is then orthogonalised on its own. Together, the values, whose
    gradients are by far the largest, would leave queries and keys hardly any movement.
    """

    def __init__(
        self,
        groups: Iterable[Mapping[str, Any]],
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        """`dtype` is that of the orthogonalisation: bf16 is enough, but slow where a processor only imitates it."""
        super().__init__(groups, lr=lr, weight_decay=weight_decay, momentum=momentum, rows=None)
        self.dtype = dtype
        for group in self.param_groups:
            for parameter in group["params"]:
                shape = tuple(parameter.shape)
                assert len(shape) == 2, f"Muon moves matrices, and got a parameter of shape {shape}"
                assert sum(group["rows"] or shape[:1]) == shape[0], f"rows={group['rows']} do not fill {shape}"

    @torch.no_grad()
    def step(self) -> None:
        skip = self.found_inf
        moves_of_shape: dict[torch.Size, list[Move]] = defaultdict(list)
        for group in self.param_groups:
            for parameter, direction in self._push(group, skip):
                for move in split(parameter, direction, rows=group["rows"], learning_rate=group["lr"]):
                    moves_of_shape[move.direction.shape].append(move)
        for moves in moves_of_shape.values():
            updates_NRC = orthogonalize(torch.stack([move.direction for move in moves]))
            if skip is not None:
                updates_NRC *= 1 - skip
            for move, update in zip(moves, updates_NRC, strict=True):
                lies = update.shape == move.weight.shape  # else it is turned back first: twice as fast as adding askew
                move.weight.add_(update if lies else update.mT.contiguous(), alpha=-move.learning_rate)

    def _push(self, group: Group, skip: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Decay, and remember the new gradients; what comes back looks one step ahead (Nesterov)."""
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        gradients = [parameter.grad for parameter in parameters]
        velocities = [self._velocity(parameter) for parameter in parameters]
        left: float | Tensor = 1 - group["lr"] * group["weight_decay"]
        if skip is not None:  # a gradient that is the velocity itself does not change it
            pairs = zip(velocities, gradients, strict=True)
            gradients = [torch.where(skip > 0, velocity, gradient) for velocity, gradient in pairs]
            left = torch.where(skip > 0, 1.0, left)
        torch._foreach_mul_(parameters, left)
        torch._foreach_lerp_(velocities, gradients, 1 - group["momentum"])
        for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True):
            yield parameter, gradient.lerp(velocity, group["momentum"]).to(self.dtype)

    def _velocity(self, parameter: Tensor) -> Tensor:
        memory = self.state[parameter]
        if "momentum_buffer" not in memory:
            memory["momentum_buffer"] = torch.zeros_like(parameter)
        return memory["momentum_buffer"]


def split(parameter: Tensor, direction: Tensor, *, rows: tuple[int, ...] | None, learning_rate: float) -> list[Move]:
    """The matrices in a parameter. A tall one is laid down: the same work, and more shapes agree."""
    sizes = list(rows or parameter.shape[:1])
    moves = []
    for weight, part in zip(torch.split(parameter, sizes), torch.split(direction, sizes), strict=True):
        ratio = part.shape[0] / part.shape[1]
        # A tall matrix has more outputs than inputs: each must move further for all of them to change as much.
        rate = learning_rate * math.sqrt(max(1, ratio))
        moves.append(Move(weight, part.mT if ratio > 1 else part, rate))
    return moves


def orthogonalize(matrices_NRC: Tensor) -> Tensor:
    """N matrices of R rows and C >= R columns, each with its singular values brought near 1 (Newton-Schulz).

    An odd polynomial of a matrix, a X + b (X X') X + c (X X')^2 X, is that polynomial of each of its singular values,
    and turns no direction: a few products do what a singular value decomposition would, and half precision is enough.
    """
    a, b, c = COEFFICIENTS
    lengths_N11 = torch.linalg.vector_norm(matrices_NRC, dim=(1, 2), keepdim=True).clamp(min=1e-7)  # or 0 / 0
    x_NRC: Tensor = matrices_NRC / lengths_N11  # no singular value is above 1 now
    for _ in range(ROUNDS):
        gram_NRR = x_NRC @ x_NRC.mT
        change_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, change_NRR, x_NRC, beta=a)
    return x_NRC
