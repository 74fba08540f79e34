"""Files that a disk spoiled are refused by name, or say exactly what they said: never something else in silence."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glassgpt.config import DataConfig
from glassgpt.data.prepare import Prepared, prepare
from glassgpt.data.tokenfiles import open_folder, read_folder
from glassgpt.errors import DataError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def damage() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        patch.setenv("GLASSGPT_CACHE", os.environ.get("GLASSGPT_CACHE", ""))  # the victims have their own: put back
        yield importlib.import_module("damage_test")
    for name in [name for name in sys.modules if name.partition(".")[0] in {"accidents", "damage_test", "common"}]:
        del sys.modules[name]


def test_every_damage_is_noticed_or_hit_nothing(damage: Any, tmp_path: Path) -> None:
    outcomes = damage.run(tmp_path / "victims", count=400, seed=2)
    for name, counts in outcomes.items():
        assert set(counts) <= {"refused", "harmless"}, f"{name}: {dict(counts)}"
        assert counts["refused"] > 30, f"{name}: {dict(counts)}"


def test_without_the_comparison_of_digests_the_program_reports_silent_loads(
    damage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glassgpt.checkpoint._hold_to_digest", lambda path, written, computed: None)
    monkeypatch.setattr("glassgpt.torchfile.zipfile.ZipExtFile._update_crc", lambda self, content: None)
    outcomes = damage.run(tmp_path / "victims", count=160, seed=2)
    assert outcomes["last.safetensors"]["silent"] > 0
    assert outcomes["last.pt"]["silent"] > 0
    assert damage.promise(outcomes, seed=2, seconds=1.0).failed > 0


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    book = tmp_path / "book.txt"
    book.write_text("the quick brown fox jumps over the lazy dog\n" * 50, encoding="utf-8")
    return prepare(DataConfig(data=(str(book),)), cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["train.bin", "val.bin", "meta.json", "tokenizer.json"])
def test_one_flipped_bit_in_prepared_tokens_is_noticed_and_named(prepared: Prepared, name: str) -> None:
    path = prepared.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises((DataError, Exception), match=name.replace(".", r"\.")):
        read_folder(prepared.folder, DataConfig(), prepared.source)
    assert open_folder(prepared.folder, DataConfig(), prepared.source) is None


def test_prepared_tokens_outside_the_vocabulary_are_refused_though_their_digest_is_right(prepared: Prepared) -> None:
    import hashlib

    from glassgpt.data import tokenfiles

    ids = prepared.train_ids.copy()
    ids[3] = 60_000
    (prepared.folder / "train.bin").write_bytes(ids.tobytes())
    train = prepared.meta.train.model_copy(update={"sha256": hashlib.sha256(ids.tobytes()).hexdigest()})
    meta = prepared.meta.model_copy(update={"train": train})
    (prepared.folder / "meta.json").write_text(tokenfiles._text_of(meta), encoding="utf-8", newline="")
    with pytest.raises(DataError, match=r"train\.bin is damaged: it holds token 60000"):
        read_folder(prepared.folder, DataConfig(), prepared.source)
