"""Writing: tokens per second, ours and those of transformers, from random weights of the same shape.

    python benchmarks/generation.py                      10.7M shape, one stream and sixteen; about five minutes
    python benchmarks/generation.py --shapes gpt2        the shape of GPT-2 124M, one stream
    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/generation.py --shapes 10.7M gpt2

Both write greedily from one token until the context is nearly full, with their caches, through what a user calls:
`generate(...)` with all its events here, `GPT2LMHeadModel.generate(use_cache=True)` there. Matrices are packed once,
before that, as for a model that writes more than once (`Writer`). bf16 and int8 are of our weights only; the
peer computes in fp32. llama.cpp's fp32, measured elsewhere on the same kind of core: 600-680 tokens/s for the 10.7M
shape, where transformers had 266, and 60-62 for GPT-2, where it had 33.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "1"))  # before torch and numpy are loaded: both read it then

import torch  # noqa: E402
from common import alone, compare, finish, machine, options, seconds_of, take_turns  # noqa: E402

from glassgpt.config import ModelConfig, SamplingConfig  # noqa: E402
from glassgpt.model.build import build  # noqa: E402
from glassgpt.sampling.generate import generate  # noqa: E402
from glassgpt.sampling.reader import Writer  # noqa: E402

SHAPES = {
    "10.7M": {"n_layers": 6, "n_heads": 6, "d_model": 384, "max_seq_len": 256, "vocab_size": 65},
    "gpt2": {"n_layers": 12, "n_heads": 12, "d_model": 768, "max_seq_len": 1024, "vocab_size": 50257},
}
FORM = {"position": "learned", "norm": "layernorm", "mlp": "gelu", "bias": True, "qk_norm": False}  # GPT-2's
BARS = {
    ("10.7M", 1): {"fp32": 2.0, "bf16": 2.5, "int8": 2.5},  # llama.cpp's fp32 is 2.5 times transformers
    ("10.7M", 16): {"fp32": None, "bf16": 3.0, "int8": 3.0},
    ("gpt2", 1): {"fp32": None, "bf16": 2.0, "int8": 2.0},
}
PEER = "transformers"


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--shapes", nargs="+", choices=[*SHAPES], default=["10.7M"], help="(default: 10.7M)")
    parser.add_argument("--weights", nargs="+", choices=["fp32", "bf16", "int8"], default=["fp32", "bf16", "int8"])
    parser.add_argument("--tokens", type=int, help="tokens of each stream (default: 200, of gpt2 40)")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    results = []
    for shape, streams in BARS:
        if shape in asked.shapes:
            tokens = asked.tokens or (200 if shape == "10.7M" else 40)
            results += measured(shape, streams, tokens, asked.weights, asked.rounds)
    finish("generation", results, about=machine("transformers", "numpy", threads=THREADS), method=__doc__)


def measured(shape: str, streams: int, tokens: int, kinds: list[str], rounds: int) -> list[dict[str, object]]:
    writer = Writer(build(ModelConfig(**SHAPES[shape], **FORM)).eval())
    contenders: dict[str, Callable[[], float]] = {kind: ours(writer, streams, tokens, kind) for kind in kinds}
    peer = theirs(shape, streams, tokens)
    if peer is not None:
        contenders[PEER] = peer
    figures = take_turns(contenders, rounds=rounds, warm=1)
    what = f"{shape}, {streams} stream{'s' if streams > 1 else ''}"
    results = []
    for kind in kinds:
        name = f"{what}, {kind}"
        if peer is None:
            results.append(alone(name, figures[kind], unit="tokens/s"))
        else:
            pair = {"glassgpt": figures[kind], PEER: figures[PEER]}
            results.append(compare(name, pair, PEER, unit="tokens/s", bar=BARS[shape, streams][kind]))
    return results


def ours(writer: Writer, streams: int, tokens: int, weights: str) -> Callable[[], float]:
    settings = SamplingConfig(max_new_tokens=tokens, num_samples=streams, temperature=0, weights=weights)

    def write() -> None:
        for _ in generate(writer, [[0]], settings):
            pass

    return lambda: streams * tokens / seconds_of(write)


def theirs(shape: str, streams: int, tokens: int) -> Callable[[], float] | None:
    try:
        from transformers import GPT2Config, GPT2LMHeadModel, logging
    except ImportError:
        print("transformers is not installed: only our own figures (pip install transformers)", file=sys.stderr)
        return None
    logging.set_verbosity_error()
    size = SHAPES[shape]
    config = GPT2Config(
        vocab_size=size["vocab_size"], n_positions=size["max_seq_len"], n_embd=size["d_model"],
        n_layer=size["n_layers"], n_head=size["n_heads"], bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    model.generation_config.eos_token_id = None  # to write as many tokens as we do
    ids_BT = torch.zeros(streams, 1, dtype=torch.long)

    def write() -> None:
        model.generate(
            ids_BT, attention_mask=torch.ones_like(ids_BT), max_new_tokens=tokens, do_sample=False, use_cache=True,
            pad_token_id=0,
        )  # fmt: skip

    return lambda: streams * tokens / seconds_of(write)


if __name__ == "__main__":
    main()
