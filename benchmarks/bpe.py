"""Our BPE beside the engines of others, on the same text in the same run.

    python benchmarks/bpe.py TEXT [VOCAB_SIZE]          a table, and one JSON line at the end

Everything on one thread; each time is the shortest of three. All must learn the same merges and give the same ids, or
the program stops.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

import rustbpe
import tiktoken
import tokenizers

from glassgpt.text.bpe import BPE
from glassgpt.text.bytelevel import BYTE_CHARACTERS, SPECIALS
from glassgpt.text.fast import FastBPE
from glassgpt.text.split import PATTERN

ROUNDS = 3
OURS = "glassgpt, plain Python"


def main() -> None:
    if len(sys.argv) not in {2, 3}:
        sys.exit("which text? python benchmarks/bpe.py TEXT [VOCAB_SIZE]")
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    vocab_size = int(sys.argv[2]) if len(sys.argv) == 3 else 1000
    learned, encoded = measured(text, vocab_size)
    megabytes = len(text.encode("utf-8")) / 1e6
    print(f"{megabytes:.2f} MB, vocabulary {vocab_size}")
    for what, times in (("learning", learned), ("encoding", encoded)):
        for name, seconds in times.items():
            ratio = times[OURS] / seconds
            print(f"{what:<9} {name:<24} {seconds:8.3f} s {megabytes / seconds:8.2f} MB/s {ratio:6.2f} x {OURS}")
    print(json.dumps({"megabytes": megabytes, "vocab_size": vocab_size, "learning_s": learned, "encoding_s": encoded}))


def measured(text: str, vocab_size: int) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds to learn and to encode, by engine."""
    plain = vocab_size - len(SPECIALS)
    learned, encoded = {}, {}
    learned[OURS], ours = timed(lambda: BPE.train([text], vocab_size=vocab_size))
    learned["rustbpe"], rust = timed(lambda: trained_rustbpe(text, plain))
    learned["tokenizers"], theirs = timed(lambda: trained_tokenizers(text, plain))
    tokens = [ours.token_bytes(token_id) for token_id in range(plain)]
    assert [bytes(token) for token, _ in sorted(rust.get_mergeable_ranks(), key=lambda entry: entry[1])] == tokens
    assert sorted(theirs.get_vocab(), key=theirs.get_vocab().__getitem__) == ours.names[:plain]

    ranks = {token: rank for rank, token in enumerate(tokens)}
    by_ranks = tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    fast, library = FastBPE(ours.merges), tokenizers.Tokenizer.from_str(ours.to_json())
    encoded[OURS], ids = timed(lambda: ours.encode_array(text).tolist())
    for name, encode in {
        "glassgpt, fast": lambda: fast.encode_array(text).tolist(),
        "rustbpe": lambda: rust.encode(text),
        "tiktoken": lambda: by_ranks.encode_ordinary(text),
        "tokenizers": lambda: library.encode(text).ids,
    }.items():
        encoded[name], others = timed(encode)
        assert others == ids, f"{name} encodes otherwise"
    return learned, encoded


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    shortest = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        result = act()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest, result


def trained_rustbpe(text: str, vocab_size: int) -> Any:
    engine = rustbpe.Tokenizer()
    engine.train_from_iterator([text], vocab_size, pattern=PATTERN)
    return engine


def trained_tokenizers(text: str, vocab_size: int) -> Any:
    """The bytes are given in their order, so that ties break as everybody else breaks them."""
    engine = tokenizers.Tokenizer(tokenizers.models.BPE())
    engine.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=0, special_tokens=BYTE_CHARACTERS, show_progress=False
    )
    engine.train_from_iterator([text], trainer)
    return engine


if __name__ == "__main__":
    main()
