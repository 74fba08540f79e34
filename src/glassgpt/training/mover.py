"""What every optimizer here has: groups of parameters with their settings, and a memory for each parameter.

`torch.optim.Optimizer` would do, but its first use imports torch's compiler, and a first step then waits for it longer
than for all else that we import. The names are torch's, so that its `GradScaler` works with these too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

Group = dict[str, Any]


class Mover(ABC):
    """Moves parameters once their gradients are there."""

    def __init__(self, groups: Iterable[Mapping[str, Any]], **defaults: Any) -> None:
        """`groups`: `{"params": [...], "lr": 0.1}` and the like; `defaults` are for what a group does not say."""
        self.param_groups: list[Group] = [defaults | dict(group) for group in groups]
        self.state: dict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        # A number on the device: where it is 1, a step moves nothing and remembers nothing, and the host need not know.
        self.found_inf: Tensor | None = None

    @abstractmethod
    def step(self) -> None:
        """Move every parameter that has a gradient."""
