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
from typing import Any, Literal, cast

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from glassgpt import torchfile
from glassgpt.config import ModelConfig
from glassgpt.errors import CheckpointError, ConfigError
from glassgpt.files import write_atomically
from glassgpt.model.base import Predictor
from glassgpt.model.build import build
from glassgpt.model.count import count_parameters
from glassgpt.text.base import Tokenizer
from glassgpt.text.store import parse_tokenizer

FORMAT = "glassgpt checkpoint 1"
MOST_HEADER = 100_000_000  # bytes; what safetensors itself allows
WEIGHTS, OPTIMIZER = torchfile.PARTS["weights"], torchfile.PARTS["optimizer"]
DTYPE_NAMES = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64",
    torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


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
        counted, held = count_parameters(self.model_config).total, sum(map(Tensor.numel, self.weights.values()))
        if counted != held:  # before anything of the size that it claims is made
            raise CheckpointError(f"the checkpoint has {held:,} parameters, and its configuration makes {counted:,}")
        model = build(self.model_config)
        load_weights(model, self.weights)
        model.context = min(int(self.settings.get("seq_len", model.context)), model.context)
        return model.to(device).eval()

    def tokenizer(self, *, unknown: Literal["error", "skip", "replace"] = "error") -> Tokenizer:
        return parse_tokenizer(self.tokenizer_json, unknown=unknown)


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


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    tensors = {WEIGHTS + name: tensor for name, tensor in checkpoint.weights.items()}
    tensors |= {OPTIMIZER + name: tensor for name, tensor in checkpoint.optimizer.items()}
    tensors = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    metadata = _metadata(checkpoint)
    metadata["digest"] = _digest(metadata, tensors)
    in_torchs = path.suffix == torchfile.SUFFIX
    write_atomically(
        path, torchfile.pack(metadata, tensors) if in_torchs else _file(_header(tensors, metadata), tensors)
    )


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
        content = path.read_bytes()
    except OSError as problem:
        raise CheckpointError(f"checkpoint {path} cannot be read: {problem.strerror}") from None
    if path.suffix == torchfile.SUFFIX or torchfile.is_one(content):
        return _assemble(path, *_verified_torchfile(path, content))
    metadata = _verified_metadata(path, content)
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as problem:
        raise CheckpointError(f"checkpoint {path} is damaged: {problem}") from None
    return _assemble(path, metadata, tensors)


def _verified_metadata(path: Path, content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:8], "little")
    if length > MOST_HEADER:
        raise CheckpointError(f"{path} is no checkpoint: it does not begin as one; name a run folder or a .safetensors")
    if len(content) < 8 or length > len(content) - 8:
        raise CheckpointError(
            f"checkpoint {path} is cut short, or none: it has {len(content)} bytes, and its header says {length}"
        )
    try:
        header = json.loads(content[8 : 8 + length])
        metadata = cast("dict[str, str]", header["__metadata__"])
        written = metadata.pop("digest")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path} is no checkpoint of glassgpt, or its header is damaged") from None
    _refuse_other_format(path, metadata)
    digest = hashlib.sha256(_canonical(header))
    digest.update(memoryview(content)[8 + length :])
    _hold_to_digest(path, written, digest.hexdigest())
    return metadata


def _verified_torchfile(path: Path, content: bytes) -> tuple[dict[str, str], dict[str, Tensor]]:
    facts, tensors = torchfile.unpack(path, content)
    _refuse_other_format(path, facts)
    try:
        metadata = {name: value if isinstance(value, str) else _dump(value) for name, value in facts.items()}
    except (TypeError, ValueError, RecursionError) as problem:
        raise CheckpointError(f"checkpoint {path} is damaged: it holds what is no plain value: {problem}") from None
    _hold_to_digest(path, metadata.pop("digest"), _digest(metadata, tensors))
    return metadata, tensors


def _refuse_other_format(path: Path, metadata: Mapping[str, Any]) -> None:
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} has the format {metadata.get('format')!r}; this version reads {FORMAT!r}")


def _hold_to_digest(path: Path, written: str, computed: str) -> None:
    if computed != written:
        raise CheckpointError(f"checkpoint {path} is damaged: its content does not match its digest {written[:12]}...")


def _assemble(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Checkpoint:
    try:
        return Checkpoint(
            model_config=ModelConfig(**json.loads(metadata["model"])),
            tokenizer_json=metadata["tokenizer"],
            step=int(metadata["step"]),
            settings=json.loads(metadata["settings"]),
            origins=json.loads(metadata["origins"]),
            metrics=json.loads(metadata["metrics"]),
            weights=_under(WEIGHTS, tensors),
            optimizer=_under(OPTIMIZER, tensors),
        )
    except (ConfigError, KeyError, ValueError) as problem:
        raise CheckpointError(f"checkpoint {path} cannot be understood: {problem}") from None


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
