"""How much memory and time the preparation of a large text takes.

    python benchmarks/prepare_memory.py [--megabytes 500]

Writes a text of mixed ASCII and multi-byte characters into a temporary folder and prepares it in a child process of
its own, both passes together. Prints the figures and, as its last line, the same as JSON. Beside them stands a peer in
the same run: the naive way, which reads the whole text at once, on a tenth of it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST_RSS_MB, LEAST_MB_PER_S = 400, 50

CHILD = """
import resource, sys, time
from pathlib import Path
from glassgpt.config import DataConfig
from glassgpt.data.prepare import prepare

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

before, start = peak(), time.perf_counter()
prepared = prepare(DataConfig(data=(sys.argv[1],)), cache=Path(sys.argv[2]))
print(time.perf_counter() - start, time.process_time(), before, peak())
print(prepared.meta.train.tokens + prepared.meta.val.tokens)
"""

NAIVE = """
import sys, time
from pathlib import Path
import numpy as np

start = time.perf_counter()
text = Path(sys.argv[1]).read_text(encoding="utf-8")
table = {character: number for number, character in enumerate(sorted(set(text)))}
np.array([table[character] for character in text], dtype=np.uint16).tofile(sys.argv[2])
print(time.perf_counter() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    megabytes = parser.parse_args().megabytes
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), megabytes)
    print(
        "{megabytes} MB of text, {tokens:,} tokens\n"
        "prepared in {seconds} s, {cpu_seconds} s of them computing: {mb_per_s} MB/s (at least {least} wanted)\n"
        "most memory: {rss_mb} MB, {rss_before_mb} MB of it before (at most {most} wanted)\n"
        "the naive way: {naive_mb_per_s} MB/s; this is {ratio} times as fast".format(
            **figures, least=LEAST_MB_PER_S, most=MOST_RSS_MB
        )
    )
    print(json.dumps(figures))


def measure(folder: Path, megabytes: int) -> dict[str, float]:
    text = folder / "text.txt"
    write_text_of(text, megabytes * 10**6)
    seconds, cpu_seconds, before, peak, tokens = run(CHILD, text, folder / "cache")
    small = folder / "small.txt"
    write_text_of(small, max(1, megabytes // 10) * 10**6)
    (naive_s,) = run(NAIVE, small, folder / "small.bin")
    mb_per_s, naive_mb_per_s = text.stat().st_size / seconds / 1e6, small.stat().st_size / naive_s / 1e6
    return {
        "megabytes": round(text.stat().st_size / 1e6),
        "tokens": int(tokens),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "mb_per_s": round(mb_per_s, 1),
        "rss_mb": round(peak / 1e6),
        "rss_before_mb": round(before / 1e6),
        "naive_mb_per_s": round(naive_mb_per_s, 1),
        "ratio": round(mb_per_s / naive_mb_per_s, 1),
    }


def write_text_of(path: Path, size_bytes: int) -> None:
    """Lines of words, one in twenty of them not ASCII, so that nearly every piece takes the slower way."""
    dice = random.Random(1)
    letters = "eeeeetttaaooiinnsshhrrddlluucmfwygpb"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 9))) for _ in range(2000)]
    words += ["naïve", "Größe", "日本語", "“quoted”", "мир", "😀"] * 16
    block = "\n".join(" ".join(dice.choices(words, k=12)) + "." for _ in range(30_000)).encode("utf-8") + b"\n"
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            file.write(block)


def run(program: str, *arguments: Path) -> list[float]:
    started = time.perf_counter()
    command = [sys.executable, "-c", program, *map(str, arguments)]
    here = {"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}  # the code beside this, installed or not
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | here)
    if answer.returncode:
        sys.exit(f"failed after {time.perf_counter() - started:.0f} s: {answer.stderr.strip()}")
    return [float(figure) for figure in answer.stdout.split()]


if __name__ == "__main__":
    main()
