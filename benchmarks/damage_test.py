"""Files that a disk spoiled: does whoever reads them notice, always?

A small run is trained, and each of its files damaged again and again: bits flipped, an end cut off, a block zeroed,
garbage behind it. Whoever reads the file must refuse it by its name, or give exactly what was in it before (the
damage hit what has no meaning). A file that loads with other content is a silent load; there may be none.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accidents.victims import make_victims
from promises import Promise, told

BLOCK = 512  # bytes; what old disks lose at once
UNREAD = {
    "samples.txt": "for people; a resumed run keeps its beginning and takes nothing from it",
    "loss.png": "a picture for people",
    "config.yaml": "for --config and for people; a run goes on from the settings in its checkpoint",
}
Content = dict[str, Any]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One of five accidents; never the same bytes as before."""
    spoilt = bytearray(content)
    match rng.randrange(5):
        case 0:
            spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        case 1:
            for _ in range(rng.randrange(2, 20)):
                spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        case 2:
            del spoilt[rng.randrange(len(spoilt)) :]
        case 3:
            start = rng.randrange(len(spoilt)) // BLOCK * BLOCK
            spoilt[start : start + BLOCK] = bytes(len(spoilt[start : start + BLOCK]))
        case _:
            spoilt += rng.randbytes(rng.randrange(1, 2 * BLOCK))
    return bytes(spoilt) if spoilt != content else damaged(content, rng)


def content_of_checkpoint(path: Path) -> Content:
    from glassgpt.checkpoint import load_checkpoint

    one = load_checkpoint(path)
    tensors = {f"weights {name}": tensor for name, tensor in one.weights.items()}
    tensors |= {f"optimizer {name}": tensor for name, tensor in one.optimizer.items()}
    facts = {name: value for name, value in vars(one).items() if name not in {"weights", "optimizer"}}
    facts["model_config"] = one.model_config.model_dump()
    return facts | {name: (str(t.dtype), tuple(t.shape), t.numpy().tobytes()) for name, t in tensors.items()}


def content_of_tokens(folder: Path) -> Content:
    from glassgpt.config import DataConfig
    from glassgpt.data.tokenfiles import open_folder, read_folder

    nowhere: Any = None
    prepared = read_folder(folder, DataConfig(), nowhere)
    assert open_folder(folder, DataConfig(), nowhere) is not None
    return {
        "train": prepared.train_ids.tobytes(), "val": prepared.val_ids.tobytes(), "meta": prepared.meta.model_dump(),
        "tokenizer": prepared.tokenizer.to_json(),
    }  # fmt: skip


class Inspector:
    """One file, whoever reads it, and what it should say."""

    def __init__(self, path: Path, read: Callable[[Path], Content], what: Path) -> None:
        self.path, self.read, self.what = path, read, what
        self.whole, self.before = path.read_bytes(), read(what)

    def inspect(self, rng: random.Random) -> str:
        from glassgpt.errors import GlassgptError

        self.path.write_bytes(damaged(self.whole, rng))
        try:
            return "harmless" if self.read(self.what) == self.before else "silent"
        except GlassgptError as problem:
            said = str(problem)
            return "refused" if self.path.name in said and "\n" not in said else "unnamed"
        except Exception:
            return "crashed"
        finally:
            self.path.write_bytes(self.whole)


def inspectors(folder: Path) -> dict[str, Inspector]:
    victims = make_victims(folder)
    found = {
        name: Inspector(victims[name], content_of_checkpoint, victims[name])
        for name in ("best.safetensors", "last.safetensors", "best.pt", "last.pt")
    }
    for name in ("train.bin", "val.bin", "meta.json", "tokenizer.json"):
        found[name] = Inspector(victims["tokens"] / name, content_of_tokens, victims["tokens"])
    return found


def run(folder: Path, *, count: int, seed: int) -> dict[str, Counter[str]]:
    """What came of each damage, file by file; which damage is a function of the seed and the number."""
    files = inspectors(folder)
    names = list(files)
    outcomes: dict[str, Counter[str]] = {name: Counter() for name in names}
    for number in range(count):
        name = names[number % len(names)]
        outcomes[name][files[name].inspect(random.Random(f"{seed}/{number}"))] += 1
    return outcomes


def promise(outcomes: dict[str, Counter[str]], *, seed: int, seconds: float) -> Promise:
    total = sum(outcomes.values(), Counter[str]())
    tried = total.total()
    good = total["refused"] + total["harmless"]
    what = "damaged files: refused by name, or as before"
    return Promise(promise=what, tried=tried, failed=tried - good, seed=seed, seconds=round(seconds, 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damages", type=int, default=10_000, help="of all files together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the accidents (default: %(default)s)")
    asked = parser.parse_args()
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(Path(folder) / "victims", count=asked.damages, seed=asked.seed)
    columns = ("refused", "harmless", "silent", "unnamed", "crashed")
    print(f"{'':18}" + "".join(f"{column:>10}" for column in columns))
    for name, counts in outcomes.items():
        print(f"{name:18}" + "".join(f"{counts[column]:>10,}" for column in columns))
    for name, why in UNREAD.items():
        print(f"{name:18}  not damaged: no program reads it back ({why})")
    return told("damage_test", [promise(outcomes, seed=asked.seed, seconds=time.perf_counter() - begin)])


if __name__ == "__main__":
    sys.exit(main())
