"""Model, tokenizer and configuration in one file, from which alone one can sample, and resume.

The format is safetensors: a sorted JSON header, then raw tensors; no code in it. The header's
metadata hold everything that is no tensor, and a digest over all of it. Same content, same bytes.
A path ending in .pt holds the same in PyTorch's own format, under the same digest: `torchfile.py`.
Which folder a file belongs to is told in `runs.py`; how bytes reach the disk whole, in `files.py`.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from glassgpt import plausible, tensorfile, torchfile
from glassgpt.config import ModelConfig
from glassgpt.errors import CheckpointError, GlassgptError
from glassgpt.files import write_atomically
from glassgpt.jsonfile import open_ordinary, parse
from glassgpt.model.base import Predictor
from glassgpt.model.build import build
from glassgpt.text.base import Tokenizer
from glassgpt.text.store import parse_tokenizer

FORMAT = "glassgpt checkpoint 1"
WEIGHTS, OPTIMIZER = torchfile.PARTS["weights"], torchfile.PARTS["optimizer"]
DTYPE_NAMES = {dtype: name for name, dtype in tensorfile.DTYPES.items()}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    model_config: ModelConfig
    tokenizer_json: str
    step: int
    settings: Mapping[str, Any]  # the run's resolved configuration, flat
    origins: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)  # losses, the floor, digests of the data
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)  # only in `last`

    def model(self, device: torch.device | str = "cpu") -> Predictor:
        plausible.refuse_impossible(self.model_config, self.weights)
        model = build(self.model_config)
        load_weights(model, self.weights)
        model.context = min(int(self.settings.get("seq_len", model.context)), model.context)
        return model.to(device).eval()

    def tokenizer(self, *, unknown: Literal["error", "skip", "replace"] = "error") -> Tokenizer:
        tokenizer = parse_tokenizer(self.tokenizer_json, unknown=unknown)
        if tokenizer.vocab_size > (self.model_config.vocab_size or 0):
            raise CheckpointError(
                f"the checkpoint's tokenizer has {tokenizer.vocab_size:,} tokens, and its model "
                f"{self.model_config.vocab_size or 0:,}"
            )
        return tokenizer


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter under its name; one that is used in two places (a tied weight) stands here once."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    mine = weights_of(model)
    for name in sorted(mine.keys() ^ weights.keys()):
        raise CheckpointError(f"the weights {'hold an unknown' if name in weights else 'lack the'} tensor {name!r}")
    for name, tensor in mine.items():
        if tensor.shape != weights[name].shape:
            raise CheckpointError(
                f"tensor {name!r} has shape {tuple(weights[name].shape)} where the model wants {tuple(tensor.shape)}"
            )
        if not weights[name].is_floating_point():
            raise CheckpointError(f"tensor {name!r} holds {weights[name].dtype} where the model wants {tensor.dtype}")
        tensor.copy_(weights[name])


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, keep: Path | None = None) -> None:
    """`keep` is where the file goes that bore the name before."""
    tensors = {WEIGHTS + name: tensor for name, tensor in checkpoint.weights.items()}
    tensors |= {OPTIMIZER + name: tensor for name, tensor in checkpoint.optimizer.items()}
    tensors = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    metadata = _metadata(checkpoint)
    metadata["digest"] = _digest(metadata, tensors)
    in_torchs = path.suffix == torchfile.SUFFIX
    chunks = torchfile.pack(metadata, tensors) if in_torchs else list(_file(_header(tensors, metadata), tensors))
    write_atomically(path, chunks, keep=keep, size_bytes=sum(map(len, chunks)))


def _digest(metadata: dict[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Of everything: the header without the digest, and the bytes of the tensors."""
    digest = hashlib.sha256(_canonical(_header(tensors, metadata)))
    for chunk in _raw(tensors):
        digest.update(chunk)
    return digest.hexdigest()


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    return {
        "format": FORMAT,
        "model": _dump(checkpoint.model_config.model_dump(mode="json")),
        "tokenizer": checkpoint.tokenizer_json,
        "step": str(checkpoint.step),
        "settings": _dump(dict(checkpoint.settings)),
        "origins": _dump(dict(checkpoint.origins)),
        "metrics": _dump(dict(checkpoint.metrics)),
    }


def _header(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> dict[str, Any]:
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + tensor.nbytes
        header[name] = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    return header


def _file(header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    text = _canonical(header)
    text += b" " * (-len(text) % 8)  # the format wants the tensors to begin at a multiple of 8
    yield struct.pack("<Q", len(text))
    yield text
    yield from _raw(tensors)


def _raw(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    for tensor in tensors.values():
        if tensor.numel():
            yield tensor.reshape(-1).view(torch.uint8).numpy().data


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _canonical(header: Mapping[str, Any]) -> bytes:
    return _dump(header).encode()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify: a file with one flipped bit, anywhere, is refused."""
    try:
        with open_ordinary(path) as file:
            if path.suffix == torchfile.SUFFIX or torchfile.is_one(file):
                return _assemble(path, *_verified_torchfile(path, file))
            metadata, tensors, computed = tensorfile.read(path, file, form=FORMAT)
    except OSError as problem:
        raise CheckpointError(f"checkpoint {path} cannot be read: {problem.strerror}") from None
    except ValueError as problem:
        raise CheckpointError(f"checkpoint {path} is damaged or cut short: {problem}") from None
    _hold_to_digest(path, metadata.pop("digest"), computed)
    return _assemble(path, metadata, tensors)


def _verified_torchfile(path: Path, file: BinaryIO) -> tuple[dict[str, str], dict[str, Tensor]]:
    facts, tensors = torchfile.unpack(path, file)
    if facts["format"] != FORMAT:
        raise CheckpointError(f"{path} has the format {facts['format'][:80]!r}; this version reads {FORMAT!r}")
    try:
        metadata = {name: value if isinstance(value, str) else _dump(value) for name, value in facts.items()}
        computed = _digest({name: value for name, value in metadata.items() if name != "digest"}, tensors)
    except (TypeError, ValueError, RecursionError) as problem:
        raise CheckpointError(f"checkpoint {path} is damaged: it holds what is no plain value: {problem}") from None
    _hold_to_digest(path, metadata.pop("digest"), computed)
    return metadata, tensors


def _hold_to_digest(path: Path, written: str, computed: str) -> None:
    if computed != written:
        raise CheckpointError(f"checkpoint {path} is damaged: its content does not match its digest {written[:12]}...")


def _assemble(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Checkpoint:
    """All that later code relies on is looked at here: who made the digest may be a stranger."""
    try:
        return Checkpoint(
            model_config=ModelConfig(**parse(metadata["model"].encode())),
            tokenizer_json=metadata["tokenizer"],
            step=plausible.understood_step(metadata["step"]),
            settings=plausible.understood_settings(parse(metadata["settings"].encode())),
            origins=plausible.understood_origins(parse(metadata["origins"].encode())),
            metrics=plausible.understood_metrics(parse(metadata["metrics"].encode(), allow_nan=True)),
            weights=_under(WEIGHTS, tensors),
            optimizer=_under(OPTIMIZER, tensors),
        )
    except KeyError as problem:
        raise CheckpointError(f"checkpoint {path} cannot be understood: it lacks {problem}") from None
    except ValidationError as problem:
        first = problem.errors()[0]
        where = " ".join(".".join(map(str, first["loc"]))[:80].split())
        raise CheckpointError(f"checkpoint {path} cannot be understood: its {where}: {first['msg']}") from None
    except (GlassgptError, ValueError, TypeError, OverflowError) as problem:
        raise CheckpointError(
            f"checkpoint {path} cannot be understood: {' '.join(str(problem)[:300].split())}"
        ) from None


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
