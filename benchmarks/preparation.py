"""Characters become token files: how fast, and with how much memory, beside the plain way of nanoGPT's script.

    python benchmarks/preparation.py [--text book.txt] [--megabytes 500]

Both read the same file and write the same ids (the program stops if they differ), each in a process of its own, from
its start of work to the last byte written; importing is not counted for either. The plain way is what everybody
writes: the whole text in memory, `sorted(set(text))`, a list of ids, an array of 16 bits. It needs 17 bytes of memory
for each byte of text. Ours checks and syncs besides, and keeps a digest.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from common import US, compare, finish, in_child, machine, options, take_turns, task_of

PLAIN = "nanoGPT's way"
MOST_MB = 300


def main() -> None:
    if task := task_of(sys.argv):
        answer(task)
        return
    parser = options(__doc__, rounds=3)
    parser.add_argument("--text", help="a UTF-8 file (default: words, one in twenty not ASCII)")
    parser.add_argument("--megabytes", type=int, default=500, help="of the default text (default: %(default)s)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = Path(asked.text or Path(folder) / "text.txt").absolute()
        if not asked.text:
            write_words(text, asked.megabytes * 10**6)
        peaks: dict[str, list[float]] = {US: [], PLAIN: []}
        digests: set[str] = set()

        def prepared_by(name: str) -> float:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                told = in_child(__file__, who=name, text=str(text), place=place)
            peaks[name].append(told["peak_mb"])
            digests.add(told["digest"])
            return float(told["seconds"])

        rounds = take_turns({name: partial(prepared_by, name) for name in peaks}, rounds=asked.rounds)
        size = text.stat().st_size / 1e6
    assert len(digests) == 1, "the ids differ"
    rows = [
        compare(f"{size:.0f} MB of characters", rounds, PLAIN, unit="s", more_is_better=False, bar=10),
        compare(f"most memory (at most {MOST_MB} wanted)", peaks, PLAIN, unit="MB", more_is_better=False),
    ]
    finish("preparation", rows, about=machine(), within_memory=max(peaks[US]) <= MOST_MB)


def answer(task: dict[str, Any]) -> None:
    """One preparation, its seconds and the most memory that this process had."""
    import hashlib
    import json
    import resource  # not on Windows

    import numpy as np

    from glassgpt.config import DataConfig
    from glassgpt.data.prepare import prepare

    begin = time.perf_counter()
    if task["who"] == US:
        folder = prepare(DataConfig(data=(task["text"],)), cache=Path(task["place"])).folder
    else:
        folder = plain_way(task["text"], Path(task["place"]), np)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    digest = hashlib.sha256()
    for part in ("train.bin", "val.bin"):
        with (folder / part).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    print(json.dumps({"seconds": seconds, "peak_mb": peak / 1e6, "digest": digest.hexdigest()}))


def plain_way(text_file: str, folder: Path, np: Any) -> Path:
    text = Path(text_file).read_text(encoding="utf-8")
    number_of = {character: number for number, character in enumerate(sorted(set(text)))}
    border = int(len(text) * 0.9)
    for name, part in (("train.bin", text[:border]), ("val.bin", text[border:])):
        np.array([number_of[character] for character in part], dtype=np.uint16).tofile(folder / name)
    return folder


def write_words(path: Path, size_bytes: int) -> None:
    """Lines of words, one in twenty of them not ASCII, so that every piece takes the slower way."""
    dice = random.Random(1)
    letters = "eeeeetttaaooiinnsshhrrddlluucmfwygpb"
    words = ["".join(dice.choices(letters, k=dice.randint(2, 9))) for _ in range(2000)]
    words += ["naïve", "Größe", "日本語", "“quoted”", "мир", "😀"] * 16
    block = "\n".join(" ".join(dice.choices(words, k=12)) + "." for _ in range(30_000)).encode("utf-8") + b"\n"
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            file.write(block)


if __name__ == "__main__":
    main()
