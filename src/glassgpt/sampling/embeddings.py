"""The vectors of tokens and positions, seen from where they spread out most.

A token's vector has hundreds of numbers; principal components are the two directions along which all of them differ
most, so a plane shows as much as a plane can (its share is said). Who is near whom is asked of all the numbers, by the
angle between two vectors. For a bigram model the vector of a token is its row of the table. Used by `trace.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glassgpt.model.base import Predictor
from glassgpt.model.bigram import Bigram
from glassgpt.model.gpt import GPT
from glassgpt.text.base import Tokenizer

MOST_POINTS = 600  # more would be a cloud, and make the page heavy
NEIGHBOURS = 5
DIGITS = 4


@dataclass(frozen=True)
class Point:
    """A token or position in the plane, and those most like it with their cosine, the likest first."""

    token_id: int  # of a position, its place
    name: str
    x: float
    y: float
    near: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class EmbeddingMap:
    tokens: tuple[Point, ...] = ()
    tokens_share: float = 0.0  # how much of all their differences the plane shows
    positions: tuple[Point, ...] = ()  # learned ones, along the text
    positions_share: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "tokens": [_plain(point) for point in self.tokens],
            "tokens_share": round(self.tokens_share, DIGITS),
            "positions": [_plain(point) for point in self.positions],
            "positions_share": round(self.positions_share, DIGITS),
        }


def points_of(window: Iterable[int], vocab_size: int) -> list[int]:
    """The tokens of the text, and then the first of the vocabulary: characters and what BPE glued first are common."""
    return list(dict.fromkeys([*window, *range(vocab_size)]))[:MOST_POINTS]


@torch.inference_mode()
def embedding_map(model: Predictor, tokenizer: Tokenizer, *, chosen: Sequence[int]) -> EmbeddingMap:
    """The chosen tokens; neighbours are looked for among all that have a name."""
    table_VD = token_vectors(model)
    if table_VD is None:
        return EmbeddingMap()
    table_VD = table_VD[: tokenizer.vocab_size]
    names = [tokenizer.name_of(token_id) for token_id in range(len(table_VD))]
    tokens, share = _points(table_VD, [token_id for token_id in chosen if token_id < len(table_VD)], names)
    if not isinstance(model, GPT) or model.position_embedding is None:
        return EmbeddingMap(tokens, share)
    trained_TD = model.position_embedding.weight[: model.context].float().cpu()  # those behind it were never trained
    step = -(-len(trained_TD) // MOST_POINTS)
    names = [str(place + 1) for place in range(len(trained_TD))]
    return EmbeddingMap(tokens, share, *_points(trained_TD, range(0, len(trained_TD), step), names))


def token_vectors(model: Predictor) -> Tensor | None:
    """table_VD; none where a model keeps them in a way of its own."""
    if isinstance(model, GPT):
        return model.token_embedding.weight.float().cpu()
    return model.table.weight.float().cpu() if isinstance(model, Bigram) else None


def _points(table_VD: Tensor, chosen: Sequence[int], names: Sequence[str]) -> tuple[tuple[Point, ...], float]:
    flat_V2, share = plane(table_VD)
    near = nearest(table_VD, chosen)
    points = [
        Point(place, names[place], x, y, tuple((names[other], cosine) for other, cosine in found))
        for place, (x, y), found in zip(chosen, flat_V2[list(chosen)].tolist(), near, strict=True)
    ]
    return tuple(points), share


def plane(table_VD: Tensor) -> tuple[Tensor, float]:
    """The vectors in two dimensions, and the share of their variance that is seen there; signs are fixed."""
    centred_VD = (table_VD - table_VD.mean(dim=0)).double()
    variances_D, axes_DD = torch.linalg.eigh(centred_VD.mT @ centred_VD)
    axes_D2 = axes_DD[:, -2:].flip(1)
    axes_D2 = axes_D2 * axes_D2.gather(0, axes_D2.abs().argmax(dim=0, keepdim=True)).sign()
    flat_V2 = centred_VD @ axes_D2
    if flat_V2.shape[1] < 2:
        flat_V2 = torch.cat((flat_V2, torch.zeros(len(flat_V2), 1, dtype=flat_V2.dtype)), dim=1)
    total = float(variances_D.sum())
    return flat_V2, float(variances_D[-2:].sum()) / total if total > 0 else 0.0


def nearest(table_VD: Tensor, chosen: Sequence[int]) -> list[list[tuple[int, float]]]:
    """For each chosen row the others with the largest cosine, the largest first."""
    unit_VD = table_VD / table_VD.norm(dim=1, keepdim=True).clamp_min(1e-12)
    cosines_NV = unit_VD[list(chosen)] @ unit_VD.mT
    cosines_NV[torch.arange(len(chosen)), torch.tensor(chosen, dtype=torch.long)] = -2.0  # nobody's own neighbour
    best_NK = cosines_NV.topk(min(NEIGHBOURS, len(table_VD) - 1), dim=1)
    return [
        list(zip(ids, cosines, strict=True))
        for ids, cosines in zip(best_NK.indices.tolist(), best_NK.values.tolist(), strict=True)
    ]


def _plain(point: Point) -> dict[str, Any]:
    near = [[name, round(cosine, DIGITS)] for name, cosine in point.near]
    return {"token_id": point.token_id, "name": point.name, "x": round(point.x, DIGITS), "y": round(point.y, DIGITS),
            "near": near}  # fmt: skip
