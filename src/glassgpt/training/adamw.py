"""AdamW: every number moves at its own pace, measured by how large its gradients have been.

With the gradient g of a number w at step t, learning rate r, decay d, and averages that forget (Loshchilov & Hutter
2017, https://arxiv.org/abs/1711.05101):

    w = w (1 - r d)                   decay, apart from the gradient
    m = b1 m + (1 - b1) g             which way it has been pushed
    v = b2 v + (1 - b2) g^2           how hard
    w = w - r (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

Both averages begin at zero; dividing by 1 - b^t makes up for that. torch has all of it in one kernel, for every device
that we train on. `torch.optim.AdamW` is the truth that this is held to, bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from glassgpt.training.mover import Group, Mover

EPS = 1e-8


class AdamW(Mover):
    def __init__(
        self, groups: Iterable[Mapping[str, Any]], *, lr: float, betas: tuple[float, float], weight_decay: float = 0.0
    ) -> None:
        super().__init__(groups, lr=lr, betas=betas, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            moving = [parameter for parameter in group["params"] if parameter.grad is not None]
            if moving:
                self._move(moving, group)

    def _move(self, moving: list[Tensor], group: Group) -> None:
        memories = [self._memory(parameter) for parameter in moving]
        steps = [memory["step"] for memory in memories]
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            moving,
            [parameter.grad for parameter in moving if parameter.grad is not None],
            [memory["exp_avg"] for memory in memories],
            [memory["exp_avg_sq"] for memory in memories],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=EPS,
            amsgrad=False,
            maximize=False,
            found_inf=self.found_inf,
        )
        if self.found_inf is not None:
            torch._foreach_sub_(steps, [self.found_inf] * len(steps))

    def _memory(self, parameter: Tensor) -> dict[str, Tensor]:
        memory = self.state[parameter]
        if not memory:
            memory["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            memory["exp_avg"], memory["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return memory
