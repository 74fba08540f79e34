"""Files for others to spoil: a small run, finished a moment ago, with everything that it leaves behind.

`hostile_test.py` rewrites them as an enemy would, `damage_test.py` as a failing disk would.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from pathlib import Path
from typing import Any

TEXT = "The owl flew over the sea, and the sea was calm. «Näin», said the owl.\n" * 40
TINY: dict[str, Any] = {
    "n_layers": 1, "d_model": 16, "n_heads": 2, "seq_len": 16, "max_seq_len": 32, "batch_size": 4,
    "device": "cpu", "precision": "fp32", "threads": 1, "max_steps": 4, "eval_every": 2, "save_every": 2,
    "sample_every": 0,
}  # fmt: skip


def make_victims(folder: Path) -> dict[str, Path]:
    """The files by a short name; `tokens` is the folder of prepared tokens. The cache is in the folder too."""
    import glassgpt
    from glassgpt.checkpoint import load_checkpoint, save_checkpoint
    from glassgpt.text.learn import learn_tokenizer
    from glassgpt.text.store import save_tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    book = folder / "book.txt"
    book.write_text(TEXT, encoding="utf-8")
    os.environ["GLASSGPT_CACHE"] = str(folder / "cache")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run = glassgpt.train(str(book), out=str(folder / "run"), publish=(str(folder / "best.pt"),), **TINY)
    save_checkpoint(folder / "last.pt", load_checkpoint(run.folder / "last.safetensors"))
    save_tokenizer(learn_tokenizer([TEXT], kind="bpe", vocab_size=290), folder / "bpe.json")
    prepared = next(path.parent for path in (folder / "cache" / "prepared").glob("*/meta.json"))
    shutil.copy(prepared / "tokenizer.json", folder / "char.json")
    return {
        "best.safetensors": run.folder / "best.safetensors",
        "last.safetensors": run.folder / "last.safetensors",
        "best.pt": folder / "best.pt",
        "last.pt": folder / "last.pt",
        "config.yaml": run.folder / "config.yaml",
        "char.json": folder / "char.json",
        "bpe.json": folder / "bpe.json",
        "tokens": prepared,
    }
