"""One run in several processes, each with its share of every batch: torchrun starts them, here they hold together.

    torchrun --standalone --nproc_per_node=2 -m glassgpt train ...

All of them take the same steps. They differ in which windows they read, in which held-out batches they score, and in
that the first of them alone writes and speaks. What one of them meets and the others cannot know (a signal, a full
memory, a mistake) is agreed on here. Alone, all of this does nothing and costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from glassgpt.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

Thing = TypeVar("Thing")
# The others wait while the first process evaluates, samples or prepares a large text; one that dies is noticed at once.
PATIENCE = timedelta(days=7)
SHARED = "_heard_by_all"  # marks an error that every process has met or heard of


@dataclass(frozen=True, kw_only=True)
class Team:
    """This process's place among those of its run, and what they do together.

    Gradients are summed in one piece after the last backward pass, and not by DistributedDataParallel, which sums
    them while the backward pass runs. So all can agree before anything is changed (and a step that did not fit the
    memory can be repeated), gradients of several micro-batches travel once, and the compiler, checkpointing and the
    checkpoint see the model itself. The price: sending does not overlap with computing.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0  # the place among the processes of this machine
    local_size: int = 1

    @property
    def alone(self) -> bool:
        return self.world_size == 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, items: Iterable[Thing]) -> Iterator[Thing]:
        """This process's part of them: of four processes, each takes every fourth."""
        return islice(items, self.rank, None, self.world_size)

    def largest(self, number: int) -> int:
        """Of what the processes bring: how they agree on a flag. No accelerator is waited for."""
        if self.alone:
            return number
        import torch
        from torch.distributed import ReduceOp, all_reduce

        brought = torch.tensor(number)
        with _in_touch():
            all_reduce(brought, ReduceOp.MAX)
        return int(brought)

    def total(self, *numbers: float) -> list[float]:
        """The sums over all processes."""
        if self.alone:
            return list(numbers)
        import torch
        from torch.distributed import all_reduce

        sums = torch.tensor(numbers, dtype=torch.float64)
        with _in_touch():
            all_reduce(sums)
        return sums.tolist()

    def lay_flat(self, tensors: Sequence[Tensor]) -> Tensor | None:
        """The room in which `add_up` works; apart from it, so that a memory too small for it is agreed on first."""
        import torch

        return None if self.alone else torch.cat([tensor.reshape(-1) for tensor in tensors])

    def add_up(self, tensors: Sequence[Tensor], flat: Tensor | None) -> None:
        """Put into each tensor its sum over all processes: to the last bit the same in each of them."""
        if flat is None:
            return
        import torch
        from torch.distributed import all_reduce

        with _in_touch():
            all_reduce(flat)
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def leader_first(self, work: Callable[[], Thing]) -> Thing:
        """The first process does it, then the others, who find on the disk what it made."""
        done: list[Thing] = []
        with self.same_fate():
            if self.leads:
                done.append(work())
        return done[0] if done else work()

    def as_leader_says(self, text: str) -> str:
        """The first process's text, in all of them. Not for use inside `same_fate`, which some may have left."""
        return text if self.alone else self._told(text)[0]

    @contextmanager
    def same_fate(self) -> Iterator[None]:
        """What one process fails to do fails in all of them, with its words; so nobody waits for who is gone."""
        if self.alone:
            yield
            return
        problem: Exception | None = None
        try:
            yield
        except Exception as caught:
            if getattr(caught, SHARED, False):
                raise  # from such a block inside this one
            problem = caught
        words = self._told("" if problem is None else str(problem) or type(problem).__name__)
        for rank, text in enumerate(words):
            if problem is None and text:
                problem = RunError(text if rank == 0 else f"in process {rank}: {text}")
        if problem is not None:
            setattr(problem, SHARED, True)
            raise problem

    def _told(self, text: str) -> list[str]:
        from torch.distributed import all_gather_object

        texts = [""] * self.world_size
        with _in_touch():
            all_gather_object(texts, text)
        return texts


ALONE = Team()


def my_team() -> Team:
    """This process's team, as torchrun has told it; alone, where nobody did."""
    told = os.environ
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"} <= told.keys() or int(told["WORLD_SIZE"]) == 1:
        return ALONE
    return Team(
        rank=int(told["RANK"]), world_size=int(told["WORLD_SIZE"]), local_rank=int(told["LOCAL_RANK"]),
        local_size=int(told.get("LOCAL_WORLD_SIZE", told["WORLD_SIZE"])),
    )  # fmt: skip


@contextmanager
def assembled(team: Team) -> Iterator[None]:
    """The connections between the processes, from here to the end of the block."""
    if team.alone:
        yield
        return
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    with_cards = torch.cuda.is_available() and distributed.is_nccl_available()
    with _in_touch():  # flags are tensors of the processor, and travel by gloo, wherever the model lies
        store, rank, world_size = next(rendezvous("env://", timeout=PATIENCE))
        # torchrun restarts its processes with the store of those that died, and gloo would find their addresses there.
        start = f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        store = distributed.PrefixStore(start, store)  # type: ignore[attr-defined]
        backends = "cpu:gloo,cuda:nccl" if with_cards else "gloo"
        distributed.init_process_group(backends, store=store, rank=rank, world_size=world_size, timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def _in_touch() -> Iterator[None]:
    try:
        yield
    except RuntimeError as problem:
        why = str(problem).split("] ", 1)[-1].split(". ", 1)[0]  # without the place in the library, and its advice
        lost = RunError(
            f"the processes of this run have lost each other ({why}); look what the others said; where it has saved, "
            f"--resume goes on"
        )
        setattr(lost, SHARED, True)  # there is nobody left to be told
        raise lost from problem
