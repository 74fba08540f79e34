"""A step taken down once and played again: on CUDA, one launch in place of hundreds.

What one token costs there is mostly Python telling the card what to do next. A CUDA graph is that telling, recorded; it
replays the same kernels on the same addresses, so all that may differ between two steps is what two small tensors hold.
`FixedStep` is such a step of `decoder.py`, and runs anywhere; `on_cuda` records it. The truth for both is
`Decoder.step`, which also takes the steps that are not worth a recording. Used by `sampling/reader.py`.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from glassgpt.model.cache import Cache
from glassgpt.model.decoder import Decoder

Compute = Callable[[], Tensor]
Capture = Callable[[Compute], Compute]  # from a computation to its replay, which answers in one and the same tensor

# Steps before a recording. One should cost about as much as so many steps (three to warm up, a wait for the card, its
# caches emptied): then it never costs more than twice the better choice. Reckoned from that, not yet measured.
PATIENCE = 16
WARM_UPS = 3  # libraries choose kernels and make their handles in the first runs; torch's own graphs warm up as often
_one_at_a_time = threading.Lock()  # torch: one capture may be underway in a process


class FixedStep:
    """`Decoder.compute` for one cache, where nothing but the contents of `ids_B` and `positions_B1` ever changes."""

    def __init__(self, decoder: Decoder, cache: Cache) -> None:
        self.decoder, self.cache, self.tapes = decoder, cache, cache.tapes()
        self.ids_B = torch.zeros(len(cache.lengths), dtype=torch.long, device=cache.pen.device)
        self.positions_B1 = torch.zeros_like(self.ids_B).unsqueeze(1)

    def fits(self, cache: Cache) -> bool:
        """Whether what was recorded is this cache's memory, and still is: a replay could write into freed memory."""
        return all(now is then for now, then in zip(cache.tapes(), self.tapes, strict=True))

    def advance(self, ids_B: Tensor) -> None:
        """What comes next and where, told anew each time: so no truncating or replacing of rows can go unnoticed."""
        self.ids_B.copy_(ids_B)
        self.positions_B1.copy_(torch.tensor(self.cache.lengths).unsqueeze(1))
        self.cache.pen.count(1)

    def compute(self) -> Tensor:
        """logits_BV of the step that `advance` told; any number of times, for it writes the same in the same places."""
        self.cache.pen.follow(self.positions_B1)
        return self.decoder.compute(self.ids_B, self.cache)


class Replayer:
    """`Decoder.step`, recorded as soon as one cache was stepped through often enough, and again if its memory moved."""

    def __init__(self, decoder: Decoder, capture: Capture, *, patience: int = PATIENCE) -> None:
        self.decoder, self.patience = decoder, patience
        self.capture: Capture | None = capture
        self.fixed: FixedStep | None = None
        self.replay: Compute | None = None
        self.waited = 0

    def step(self, ids_B: Tensor, cache: Cache) -> Tensor:
        """logits_BV; the cache goes on by one."""
        if self.fixed is None or not self.fixed.fits(cache):
            self.fixed, self.replay, self.waited = FixedStep(self.decoder, cache), None, 0
        if self.capture is None or self.waited < self.patience:
            self.waited += 1
            return self.decoder.step(ids_B, cache)
        self.fixed.advance(ids_B)
        if self.replay is None:
            self.replay = self._recorded(self.capture, self.fixed.compute)
        return self.replay().clone()  # the next replay answers in the same place

    def _recorded(self, capture: Capture, compute: Compute) -> Compute:
        """The one place where graphs are given up: this step is computed as it stands, all others are the decoder's.

        RuntimeError is all that torch raises here: torch.AcceleratorError (an operation that no graph can hold) and
        torch.OutOfMemoryError are kinds of it, and its own checks raise it plainly. A card that is broken for good
        says so again at once; anything else is a mistake of ours, and passes through.
        """
        try:
            return capture(compute)
        except RuntimeError as error:
            warnings.warn(f"no CUDA graph, so writing is slower: {error}", RuntimeWarning, stacklevel=3)
            self.capture = None
            return compute


def capture_on(device: torch.device) -> Capture | None:
    return functools.partial(on_cuda, device=device) if device.type == "cuda" else None


def on_cuda(compute: Compute, *, device: torch.device) -> Compute:
    """Warm up, record, and give the replay; nothing is computed while recording, so the replay must follow."""
    graph, stream = torch.cuda.CUDAGraph(), _side_stream(device)
    with _one_at_a_time, torch.cuda.device(device):
        stream.wait_stream(torch.cuda.current_stream())
        try:
            # Also around the recording: where that fails, torch.cuda.graph does not put the old stream back.
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    compute()
                # Only calls of this thread can spoil it: others may pin memory or watch NCCL meanwhile.
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    answer_BV = compute()
        finally:
            torch.cuda.current_stream().wait_stream(stream)

    def replay() -> Tensor:
        graph.replay()
        return answer_BV

    return replay


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for each card: cuBLAS keeps a workspace for every stream that it has met."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
