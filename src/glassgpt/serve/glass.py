"""What the page asks beside OpenAI's routes: what a model is, and what happens inside it while it reads.

    GET /glass/models/NAME   POST /glass/inside

A look is one pass of the model, in a thread of its own beside the one that writes; one is taken at a time. The maps
of attention are most of what is sent: they travel as plain 32-bit floats, layer by layer, head by head, and of each
row what the token may see.
"""

from __future__ import annotations

import asyncio
import base64
import math
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field

from glassgpt.config import ModelConfig
from glassgpt.errors import BusyError
from glassgpt.lab.following import described_facts
from glassgpt.model.count import form_of
from glassgpt.sampling.trace import Trace, trace
from glassgpt.serve.desk import Desk
from glassgpt.serve.limits import Limits
from glassgpt.serve.problems import answer
from glassgpt.serve.shelf import Served
from glassgpt.serve.worker import beside

ALTERNATIVES = 8
LONGEST_TEXT = 50_000  # characters, of which the last few hundred are looked at


class InsideRequest(BaseModel):
    """`POST /glass/inside`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: Annotated[str, Field(max_length=512)]
    text: Annotated[str, Field(max_length=LONGEST_TEXT)]


def add_glass(app: FastAPI, desk: Desk, limits: Limits) -> None:
    turn = Turn(limits.looking)

    @app.get("/glass/models/{name}")
    async def model(name: str) -> Response:
        return answer(_described(await desk.model(name)))

    @app.post("/glass/inside")
    async def inside(asked: InsideRequest) -> Response:
        served = await desk.model(asked.model)
        async with turn:
            return answer(await beside(_look, served, asked.text, limits))


class Turn:
    """One at a time, and not too many who wait."""

    def __init__(self, most: int) -> None:
        self.most, self.here = most, 0
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> None:
        if self.here >= self.most:
            raise BusyError(f"{self.here} others are looking into models; come back in a moment")
        self.here += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self.here -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self.here -= 1
        self._lock.release()


def _described(served: Served) -> dict[str, Any]:
    lm = served.lm
    config = lm.checkpoint.model_config
    return {
        "name": served.name,
        "fingerprint": served.fingerprint,
        "step": lm.checkpoint.step,
        "form": form_of(config),
        "parameters": sum(weight.numel() for weight in lm.model.parameters()),
        "vocab_size": lm.tokenizer.vocab_size,
        "tokenizer": lm.tokenizer.kind,
        "context": lm.model.context,
        "opening": lm.opening,
        "tells_tales": lm.tells_tales,
        "val_loss": lm.checkpoint.metrics.get("best_val_loss"),
    }


def _look(served: Served, text: str, limits: Limits) -> dict[str, Any]:
    lm = served.lm
    most = _tokens_that_fit(lm.checkpoint.model_config, limits)
    seen = trace(lm.model, lm.tokenizer, text, alternatives=ALTERNATIVES, most_tokens=most)
    shown = seen.as_json(attention=False) | {"attention": packed_attention(seen), "model": _described(served)}
    return shown | {"facts": described_facts(lm.tokenizer, seen, text) if lm.tells_tales else []}


def _tokens_that_fit(config: ModelConfig, limits: Limits) -> int:
    heads = max(1, config.n_layers * config.n_heads)
    return min(limits.looked_at_tokens, math.isqrt(2 * limits.looked_at_weights // heads))


def packed_attention(seen: Trace) -> dict[str, Any]:
    """`{"layers": 2, "heads": 4, "float32": base64}`: little-endian, the lower triangles row by row."""
    if not seen.attention:
        return {"layers": 0, "heads": 0, "float32": ""}
    rows, columns = np.tril_indices(len(seen.tokens))
    weights = np.stack([weights_HTS[:, rows, columns] for weights_HTS in seen.attention])
    return {
        "layers": weights.shape[0],
        "heads": weights.shape[1],
        "float32": base64.b64encode(weights.astype("<f4").tobytes()).decode("ascii"),
    }
