"""Serving: sixteen streams through the server beside the same batch without it, and how soon the first token comes.

    python benchmarks/serving.py                        mini_gpt's shape, all cores; about three minutes
    OMP_NUM_THREADS=1 python benchmarks/serving.py --rounds 3

The server is `glassgpt serve` in a process of its own; its clients are sixteen plain sockets in this one, on the same
cores, which read server-sent events to their end. Beside it stands `generate(...)` here, with the same prompts, the
same settings and as many threads, while the server is idle. Weights are random: they take no less time. Where the
prompts are equal, `generate` has all texts in step from the beginning to the end, which is faster; requests that come
one by one never are. The first token is timed from the connection's beginning to
its arrival, on the default model, one client at a time.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0)))))  # before torch reads it

import torch  # noqa: E402
from common import ROOT, alone, compare, finish, machine, options, take_turns  # noqa: E402

from glassgpt.checkpoint import Checkpoint, save_checkpoint, weights_of  # noqa: E402
from glassgpt.config import ModelConfig, SamplingConfig  # noqa: E402
from glassgpt.model.build import build  # noqa: E402
from glassgpt.sampling.generate import generate  # noqa: E402
from glassgpt.sampling.reader import Writer  # noqa: E402
from glassgpt.settings import flat, resolve  # noqa: E402
from glassgpt.text.chars import CharTokenizer  # noqa: E402

LETTERS = "".join(chr(code) for code in range(32, 97))  # 65, as tinyshakespeare has
STREAMS, TOKENS = 16, 200
LEAST_SHARE, FIRST_TOKEN_MS = 0.7, 50.0


def main() -> None:
    asked = options(__doc__, rounds=5).parse_args()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = CharTokenizer(LETTERS)
        big = make_run(Path(folder) / "mini", "mini_gpt", tokenizer)
        make_run(Path(folder) / "default", None, tokenizer)
        with server(Path(folder)) as port:
            results = [
                throughput(port, big, tokenizer, asked.rounds, what=what, more_letters=more)
                for what, more in (("prompts of 16 lengths", 1), ("equal prompts", 0))
            ]
            results.append(first_token(port))
    finish("serving", results, about=machine("fastapi", "uvicorn", threads=THREADS), method=__doc__)


def make_run(folder: Path, preset: str | None, tokenizer: CharTokenizer) -> Writer:
    config = resolve(preset=preset).config
    model = build(ModelConfig(**config.model.model_dump() | {"vocab_size": tokenizer.vocab_size})).eval()
    folder.mkdir(parents=True)
    checkpoint = Checkpoint(
        model_config=model.config, tokenizer_json=tokenizer.to_json(), step=0, settings=flat(config),
        weights=weights_of(model),
    )  # fmt: skip
    save_checkpoint(folder / "best.safetensors", checkpoint)
    model.context = min(config.training.seq_len, model.context)
    return Writer(model)


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Its port."""
    command = [sys.executable, "-m", "glassgpt", "serve", str(folder), "--port", "0", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    child = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        yield int(child.stdout.readline().rsplit(":", 1)[1].removesuffix("/v1\n"))
    finally:
        child.terminate()
        child.wait(timeout=60)


def throughput(
    port: int, writer: Writer, tokenizer: CharTokenizer, rounds: int, *, what: str, more_letters: int
) -> dict[str, object]:
    prompts = [LETTERS[:16] + LETTERS[: index * more_letters] for index in range(STREAMS)]
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    settings = SamplingConfig(max_new_tokens=TOKENS, temperature=1, min_p=0)

    def with_server() -> float:
        begin = time.perf_counter()
        streams = [send(port, "mini", prompt, TOKENS) for prompt in prompts]
        assert read_all(streams) == STREAMS
        return STREAMS * TOKENS / (time.perf_counter() - begin)

    def without() -> float:
        begin = time.perf_counter()
        written = sum(1 for _ in generate(writer, ids, settings))
        return written / (time.perf_counter() - begin)

    figures = take_turns({"glassgpt": with_server, "generate": without}, rounds=rounds, warm=1)
    return compare(f"mini_gpt, {STREAMS} streams, {what}", figures, "generate", unit="tokens/s", bar=LEAST_SHARE)


def first_token(port: int) -> dict[str, object]:
    milliseconds = []
    for _ in range(23):
        begin = time.perf_counter()
        stream = send(port, "default", "ONCE UPON A TIME", 1)
        received = b""
        while b"data: {" not in received:
            received += stream.recv(1 << 16)
        milliseconds.append(1000 * (time.perf_counter() - begin))
        stream.close()
    return alone("default model, first token", milliseconds[3:], unit="ms", more_is_better=False, limit=FIRST_TOKEN_MS)


def send(port: int, model: str, prompt: str, tokens: int) -> socket.socket:
    wanted = {"model": model, "prompt": prompt, "max_tokens": tokens, "stream": True, "seed": 1}
    body = json.dumps(wanted).encode()
    stream = socket.create_connection(("127.0.0.1", port), timeout=120)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    stream.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
    return stream


def read_all(streams: list[socket.socket]) -> int:
    """How many came to their end, as all should."""
    whole = 0
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ, bytearray())
        while selector.get_map():
            for key, _ in selector.select():
                stream = key.fileobj
                assert isinstance(stream, socket.socket)
                if piece := stream.recv(1 << 16):
                    key.data.extend(piece)
                    continue
                whole += b"data: [DONE]" in key.data and key.data.count(b'"finish_reason":"length"') == 1
                selector.unregister(stream)
                stream.close()
    return whole


if __name__ == "__main__":
    main()
