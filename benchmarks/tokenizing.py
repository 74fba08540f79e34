"""Our BPE beside the engines of others: learning merges and encoding, on the same text in the same run.

    python benchmarks/tokenizing.py                     30 MB of the Python sources and texts on this machine
    python benchmarks/tokenizing.py --text book.txt     a text of yours
    python benchmarks/tokenizing.py --plain             our readable BPE and the like of minbpe too (minutes)

Everybody works on one thread. All must learn the same merges and give the same ids, or the program stops; of the text
by default, the files (.py, .md and .txt of the standard library and of all installed packages, in their order, each
once) are not the same everywhere, so figures of two machines compare by their ratios.
"""

from __future__ import annotations

import os
import sysconfig
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ |= {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}  # before the engines start

import rustbpe
import tiktoken
import tokenizers
from common import US, compare, finish, machine, options, seconds_of, take_turns

from glassgpt.text.bpe import BPE
from glassgpt.text.bytelevel import BYTE_CHARACTERS, SPECIALS
from glassgpt.text.fast import FastBPE
from glassgpt.text.split import PATTERN

READABLE = "glassgpt, readable"
ENDINGS = {".py", ".md", ".txt"}


def main() -> None:
    parser = options(__doc__, rounds=3)
    parser.add_argument("--text", type=Path, help="a UTF-8 file (default: Python sources)")
    parser.add_argument("--megabytes", type=int, default=30, help="so much of the text (default: %(default)s)")
    parser.add_argument("--vocab-size", type=int, default=8000, help="(default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="measure plain Python too")
    asked = parser.parse_args()
    text = beginning([asked.text] if asked.text else python_files(), asked.megabytes * 10**6)
    megabytes = len(text.encode("utf-8")) / 1e6
    learned, ours = learning(text, asked)
    encoded = encoding(text, asked, ours)
    rows = [compare(f"learning {asked.vocab_size:,}", learned, peer, unit="s", more_is_better=False, bar=bar)
            for peer, bar in (("rustbpe", 0.83), ("tokenizers", 1))]  # fmt: skip
    speeds = {name: [megabytes / seconds for seconds in figures] for name, figures in encoded.items()}
    rows += [compare("encoding", speeds, peer, unit="MB/s", bar=0.9 if peer == "tiktoken" else 1)
             for peer in speeds if peer != US]  # fmt: skip
    if asked.plain:
        rows.append(compare("learning, readable", learned, READABLE, unit="s", more_is_better=False))
    about = machine("rustbpe", "tiktoken", "tokenizers", threads=1)
    finish("tokenizing", rows, about=about, method=f"{megabytes:.1f} MB of {asked.text or 'Python sources'}")


def python_files() -> Iterator[Path]:
    for root in ("stdlib", "purelib"):
        folder = Path(sysconfig.get_path(root))
        inner = "site-packages" if root == "stdlib" else ""  # of a Python without a venv: they come by themselves
        yield from (
            path for path in sorted(folder.rglob("*"))
            if path.suffix in ENDINGS and path.is_file() and inner not in path.relative_to(folder).parts[:1]
        )  # fmt: skip


def beginning(paths: Any, size_bytes: int) -> str:
    found, have_bytes = [], 0
    for path in paths:
        found.append(path.read_bytes().decode("utf-8", "replace"))
        have_bytes += len(found[-1].encode("utf-8"))
        if have_bytes >= size_bytes:
            break
    return "".join(found).encode("utf-8")[:size_bytes].decode("utf-8", "ignore")


def learning(text: str, asked: Namespace) -> tuple[dict[str, list[float]], BPE]:
    """Seconds of each, round by round, and what was learned."""
    plain = asked.vocab_size - len(SPECIALS)
    made: dict[str, Any] = {}
    contenders: dict[str, Callable[[], Any]] = {
        US: lambda: FastBPE.train([text], vocab_size=asked.vocab_size),
        "rustbpe": lambda: trained_rustbpe(text, plain),
        "tokenizers": lambda: trained_tokenizers(text, plain),
    }
    if asked.plain:
        contenders[READABLE] = lambda: BPE.train([text], vocab_size=asked.vocab_size)
    rounds = take_turns({name: timed(name, act, made) for name, act in contenders.items()}, rounds=asked.rounds)
    ours: BPE = made[US]
    vocabulary = made["tokenizers"].get_vocab()
    assert [bytes(token) for token, _ in made["rustbpe"].get_mergeable_ranks()] == tokens_of(ours)
    assert sorted(vocabulary, key=vocabulary.__getitem__) == ours.names[:plain]
    assert READABLE not in made or made[READABLE].merges == ours.merges
    return rounds, ours


def encoding(text: str, asked: Namespace, ours: BPE) -> dict[str, list[float]]:
    """Seconds of each, round by round; each gives what it gives: we an array, the others lists."""
    ranks = {token: rank for rank, token in enumerate(tokens_of(ours))}
    by_ranks = tiktoken.Encoding("ours", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    library, readable = tokenizers.Tokenizer.from_str(ours.to_json()), BPE(ours.merges)
    ours.encode_array(text[:100_000])  # the engine is made once, in a third of a second
    made: dict[str, Any] = {}
    contenders: dict[str, Callable[[], Any]] = {
        US: lambda: ours.encode_array(text),
        "tiktoken": lambda: by_ranks.encode_ordinary(text),
        "tokenizers": lambda: library.encode(text).ids,
    }
    if asked.plain:
        contenders |= {READABLE: lambda: readable.encode_array(text)}
    rounds = take_turns({name: timed(name, act, made) for name, act in contenders.items()}, rounds=asked.rounds)
    for name, ids in made.items():
        if list(ids) != list(made[US]):
            # The tables of Unicode that engines bring may be older than ours: then characters, and no code, differ.
            print(f"{name} cuts this text otherwise: {len(ids):,} tokens, we {len(made[US]):,}")
    return rounds


def timed(name: str, act: Callable[[], Any], made: dict[str, Any]) -> Callable[[], float]:
    return lambda: seconds_of(lambda: made.__setitem__(name, act()))


def tokens_of(tokenizer: BPE) -> list[bytes]:
    return [tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocab_size - len(SPECIALS))]


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
