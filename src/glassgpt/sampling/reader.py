"""Reading several growing texts at once, each token once.

The prompts go through the model whole; from then on every new token is one step that
leans on the cache. A text that outgrows the context goes on from the last half of it,
read again: half a context of tokens then pays for one such reading, so the price per token stays
flat, and the next token is always drawn from at least half a context. Used by `generate.py`; a GPT's
steps are taken by `model/decoder.py`, on CUDA as replays (`model/graph.py`), those of other models by the model itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from glassgpt.config import Weights
from glassgpt.model.base import Predictor
from glassgpt.model.decoder import Decoder
from glassgpt.model.gpt import GPT
from glassgpt.model.graph import Capture, Replayer, capture_on
from glassgpt.model.product import FEW, lighter


class Writer:
    """A model ready to write: lighter copies and packed matrices are made once, and anew when its weights changed."""

    def __init__(self, model: Predictor, *, capture: Capture | None = None) -> None:
        """How steps are captured is the device's affair; a test brings a `capture` of its own."""
        self.model, self._capture = model, capture
        self._weights_then: list[tuple[int, float]] = []
        self._light: dict[Weights, Predictor] = {}
        self._decoders: dict[tuple[Weights, int], Decoder] = {}

    def light(self, weights: Weights) -> Predictor:
        # Reading all weights takes 2 ms for 10 million, packing them 100.
        weights_now = [
            (0 if weight.is_inference() else weight._version, float(weight.detach().sum()))
            for weight in self.model.parameters()
        ]
        if weights_now != self._weights_then:
            self._light.clear()
            self._decoders.clear()
            self._weights_then = weights_now
        if weights not in self._light:
            self._light[weights] = lighter(self.model, weights)
        return self._light[weights]

    def decoder(self, light: GPT, weights: Weights, *, rows: int) -> Decoder:
        # What `product` packs differently: one row or several in fp32, a few or many of lighter weights.
        kind = (weights, 1 if rows == 1 or (rows <= FEW and weights != "fp32") else FEW + 1)
        if kind not in self._decoders:
            self._decoders[kind] = Decoder(light, rows=kind[1], weights=weights)
        return self._decoders[kind]

    def stepper(self, light: GPT, weights: Weights, *, rows: int) -> Decoder | Replayer:
        """What takes the steps of one reader: a graph belongs to one cache, so each reader has its own."""
        decoder = self.decoder(light, weights, rows=rows)
        capture = self._capture or capture_on(decoder.token_VD.device)
        return Replayer(decoder, capture) if capture else decoder


class Reader:
    """Several texts, and what the model expects next in each.

    `logits_BV` has a row for each text, in fp32 and on the CPU: that is where tokens
    are drawn, so that a seed means the same on every device.
    """

    def __init__(
        self, writer: Writer, texts: Sequence[Sequence[int]], *, context: int, weights: Weights = "fp32"
    ) -> None:
        self.writer, self.weights, self.context = writer, weights, context
        self.model = writer.light(weights)
        self.device = next(self.model.parameters()).device
        self.windows = [self._fit(list(text)) for text in texts]  # what the model looks at
        self.stepper: Decoder | Replayer | None = None  # made for the second token, so that the first need not wait
        with inference(self.model):
            self.cache = self.model.make_cache(len(texts))
            self.logits_BV = self._reread(range(len(texts)))

    def go_on(self, rows: Sequence[int], token_ids: Sequence[int]) -> None:
        """Keep only these texts, and append one token to each."""
        with inference(self.model):
            if len(rows) < len(self.windows):
                self.windows = [self.windows[row] for row in rows]
                self.cache.keep_rows(rows)
            for window, new in zip(self.windows, token_ids, strict=True):
                window.append(new)
            cut = [row for row, window in enumerate(self.windows) if len(window) > self.context]
            for row in cut:
                self.windows[row] = self._fit(self.windows[row])
            if len(cut) == len(self.windows):
                self.logits_BV = self._reread(cut)
                return
            if cut:  # these are read again below; until then they are short and their step is void
                self.cache.truncate([0 if row in cut else length for row, length in enumerate(self.cache.lengths)])
            self.logits_BV = self._step(token_ids)
            if cut:
                self.logits_BV[cut] = self._reread(cut)

    def _fit(self, window: list[int]) -> list[int]:
        return window[-how_much_is_read(len(window), context=self.context) :]

    def _step(self, token_ids: Sequence[int]) -> Tensor:
        ids_B = torch.tensor(token_ids, device=self.device)
        if isinstance(self.model, GPT):
            if self.stepper is None:
                self.stepper = self.writer.stepper(self.model, self.weights, rows=len(token_ids))
            return self.stepper.step(ids_B, self.cache).float().cpu()
        x_BTD = self.model.read(ids_B.unsqueeze(1), cache=self.cache)
        return self.model.predict(x_BTD[:, -1]).float().cpu()

    def _reread(self, rows: Sequence[int]) -> Tensor:
        """Read the windows of these texts from their beginning, shorter ones padded on the right."""
        windows = [self.windows[row] for row in rows]
        lengths = [len(window) for window in windows]
        alone = len(rows) == len(self.windows)
        cache = self.cache if alone else self.model.make_cache(len(rows))
        cache.reset()
        ids = [window + [0] * (max(lengths) - len(window)) for window in windows]
        x_BTD = self.model.read(torch.tensor(ids, device=self.device), cache=cache)
        cache.truncate(lengths)  # the padding is forgotten
        if not alone:
            self.cache.replace_rows(rows, cache)
        last_BD = x_BTD[torch.arange(len(rows)), torch.tensor(lengths) - 1]
        return self.model.predict(last_BD).float().cpu()


def how_much_is_read(tokens: int, *, context: int) -> int:
    """Of a text of so many tokens, how many at its end the model looks at: all, or else half of what it could."""
    return tokens if tokens <= context else max(1, context // 2)


@contextmanager
def inference(model: Predictor) -> Iterator[None]:
    """No gradients and no dropout; afterwards the model is as it was, so a training run can sample in between."""
    was_training = model.training
    if was_training:  # eval() walks through all parts of the model, which would be felt at every token
        model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()
