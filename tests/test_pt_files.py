"""Checkpoints in PyTorch's own format: open to anybody, and looked at before anything in them is believed."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassgpt import plainpickle, torchfile
from glassgpt.checkpoint import load_checkpoint, save_checkpoint
from glassgpt.errors import CheckpointError
from test_checkpoint import MODEL, TOKENIZER, checkpoint

Content = dict[str, Any]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torchfile") / "last.pt"
    save_checkpoint(path, checkpoint())
    return path


def opened(path: Path) -> Content:
    return dict(torch.load(path, weights_only=True))


def refused(path: Path, *words: str) -> None:
    """In one line, quickly, and naming the file."""
    start = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert time.perf_counter() - start < 5
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def resaved(path: Path, change: Callable[[Content], object]) -> Path:
    """The same file, made again by torch, with something in it changed."""
    content = opened(path)
    change(content)
    other = path.with_name("other.pt")
    torch.save(content, other)
    return other


def rezipped(path: Path, changes: Mapping[str, bytes] | None = None, *, compression: int = zipfile.ZIP_STORED) -> Path:
    """The same entries in a zip of our making, some of them changed (by the end of their names) or added."""
    changes, other = dict(changes or {}), path.with_name("rezipped.pt")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w", compression) as target:
        for entry in source.infolist():
            changed = next((name for name in changes if entry.filename.endswith(name)), None)
            target.writestr(entry.filename, source.read(entry) if changed is None else changes.pop(changed))
        for name, content in changes.items():
            target.writestr(name, content)
    return other


def pickle_in(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("archive/data.pkl")


# --- what it holds --------------------------------------------------------------------------------------------------


def test_a_pt_file_and_a_safetensors_file_of_one_checkpoint_load_as_the_same(written: Path) -> None:
    save_checkpoint(other := written.with_name("last.safetensors"), checkpoint())
    one, two = load_checkpoint(written), load_checkpoint(other)
    assert (one.model_config, one.step, one.settings) == (two.model_config, two.step, two.settings)
    assert (one.origins, one.metrics, one.tokenizer_json) == (two.origins, two.metrics, two.tokenizer_json)
    for mine, theirs in ((one.weights, two.weights), (one.optimizer, two.optimizer)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    ids = torch.tensor([TOKENIZER.encode("abc")])
    assert torch.equal(one.model()(ids)[0], two.model()(ids)[0])


def test_anybody_can_open_it_and_finds_plain_values_and_tensors(written: Path) -> None:
    content = opened(written)
    assert list(content) == [
        "format", "model", "tokenizer", "step", "settings", "origins", "metrics", "digest", "weights", "optimizer"
    ]  # fmt: skip
    assert (content["step"], content["model"]["d_model"], content["metrics"]["best_val_loss"]) == (3, 8, 1 / 3)
    assert set(content["weights"]) == set(checkpoint().weights)
    assert all(type(tensor) is torch.Tensor for tensor in content["weights"].values())


def test_the_same_content_is_the_same_bytes_in_another_process_and_after_reading_it(written: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from test_checkpoint import checkpoint; from glassgpt.checkpoint import save_checkpoint;"
        "save_checkpoint(Path(sys.argv[2]), checkpoint())"
    )
    other = written.with_name("again.pt")
    subprocess.run([sys.executable, "-c", program, str(Path(__file__).parent), str(other)], check=True)
    assert other.read_bytes() == written.read_bytes()
    save_checkpoint(other, load_checkpoint(written))
    assert other.read_bytes() == written.read_bytes()


def test_a_view_is_stored_without_what_it_is_a_view_of(tmp_path: Path) -> None:
    whole = torch.zeros(1000, 8, 8)
    one = checkpoint()
    path, larger = tmp_path / "view.pt", {**one.optimizer, "view": whole[3]}
    save_checkpoint(path, type(one)(**{**vars(one), "optimizer": larger}))
    assert path.stat().st_size < whole.nbytes / 2
    assert torch.equal(load_checkpoint(path).optimizer["view"], whole[3])


def test_a_file_resaved_by_torch_under_another_name_is_still_the_checkpoint(written: Path) -> None:
    assert load_checkpoint(resaved(written, len)).step == 3
    renamed = written.with_name("renamed.safetensors")
    renamed.write_bytes(written.read_bytes())
    assert load_checkpoint(renamed).step == 3


# --- what is damaged ------------------------------------------------------------------------------------------------


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_is_noticed_or_was_in_nobodys_content(written: Path, place: float, bit: int) -> None:
    content = bytearray(written.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    damaged = written.with_name("damaged.pt")
    damaged.write_bytes(content)
    try:
        after = load_checkpoint(damaged)
    except CheckpointError:
        refused(damaged)
        return
    save_checkpoint(damaged, after)  # a bit of the padding, or of the zip's own fields
    assert damaged.read_bytes() == written.read_bytes()


def flip(where: str, written: Path) -> Path:
    """One bit in the middle of an entry; its checksum in the zip is made to fit."""
    with zipfile.ZipFile(written) as archive:
        content = bytearray(archive.read(f"archive/{where}"))
    content[len(content) // 2] ^= 1
    return rezipped(written, {where: bytes(content)})


@pytest.mark.parametrize("number", [0, 3, 11])
def test_a_flipped_bit_in_a_tensor_is_refused_though_torch_would_load_it(written: Path, number: int) -> None:
    damaged = flip(f"data/{number}", written)
    opened(damaged)
    refused(damaged, "does not match its digest")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["model"].update(rope_base=20_000.0),
        lambda content: content.update(tokenizer=content["tokenizer"].replace("a", "z", 1)),
        lambda content: content.update(step=4),
        lambda content: content["settings"].update(seq_len=2),
        lambda content: content["metrics"].update(best_val_loss=0.1),
        lambda content: content["origins"].update(d_ff="flag"),
        lambda content: content["optimizer"].clear(),
        lambda content: content["weights"].update(more=torch.zeros(2)),
        lambda content: content.update(digest="0" * 64),
    ],
)
def test_a_change_of_anything_is_refused(written: Path, change: Callable[[Content], object]) -> None:
    refused(resaved(written, change), "does not match its digest")


@given(place=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_refused(written: Path, place: float) -> None:
    content = written.read_bytes()
    cut = written.with_name("cut.pt")
    cut.write_bytes(content[: int(place * len(content))])
    refused(cut)


# --- what is meant to harm ------------------------------------------------------------------------------------------


def test_a_compressed_file_is_refused_before_it_is_unpacked(written: Path) -> None:
    bomb = rezipped(written, {"data/0": b"\0" * 50_000_000}, compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 200_000
    refused(bomb, "is compressed")


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_the_pickle_is_never_run(written: Path, tmp_path: Path, protocol: int) -> None:
    touched = tmp_path / "touched"
    armed = rezipped(written, {"data.pkl": pickle.dumps({"format": Trap(touched)}, protocol=protocol)})
    refused(armed, "is refused")
    assert not touched.exists()


def test_a_name_that_got_past_our_look_is_still_never_called(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class All:
        def __iter__(self) -> Iterator[str]:
            return iter(["pathlib.Path", "pathlib.PosixPath", "builtins.getattr", "__builtin__.getattr"])

    monkeypatch.setattr(plainpickle, "STORAGES", All())
    touched = tmp_path / "touched"
    refused(rezipped(written, {"data.pkl": pickle.dumps(Trap(touched), protocol=2)}), "a call")
    assert not touched.exists()


def test_a_pickle_that_is_none_is_refused(written: Path) -> None:
    refused(rezipped(written, {"data.pkl": b"\x80\x02X\xff\xff\xff\x7fshort"}), "is damaged")


def test_what_torch_would_allow_and_we_never_write_is_refused_unread(written: Path) -> None:
    """torch makes bytearrays of any size when a file asks for one: here of a million million bytes."""
    bomb = b"\x80\x02c__builtin__\nbytearray\n\x8a\x06" + (10**12).to_bytes(6, "little") + b"\x85R."
    refused(rezipped(written, {"data.pkl": bomb}), "bytearray", "nothing of it was run")


@pytest.mark.parametrize("name", ["archive/code/model.py", "archive/data/x", "../data/77", "elsewhere/data/77"])
def test_entries_that_torch_does_not_write_are_refused(written: Path, name: str) -> None:
    refused(rezipped(written, {name: b"..."}), "is refused")


def test_an_entry_that_is_there_twice_is_refused(written: Path) -> None:
    twice = written.with_name("twice.pt")
    twice.write_bytes(written.read_bytes())
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(twice, "a") as archive:
        archive.writestr("archive/data/0", b"\0" * 160)
    refused(twice, "not laid out")


def test_entries_that_overlap_are_refused(written: Path) -> None:
    """A thousand names for the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle_in(written))
        archive.writestr("archive/data/0", b"\0" * 50_000)
        for number in range(1, 1000):
            entry = zipfile.ZipInfo(f"archive/data/{number}")
            entry.header_offset, entry.CRC = archive.getinfo("archive/data/0").header_offset, 0
            entry.file_size = entry.compress_size = 50_000
            archive.filelist.append(entry)
    overlapping = written.with_name("overlapping.pt")
    overlapping.write_bytes(file.getvalue())
    refused(overlapping, "larger than the file")


def test_more_entries_or_a_larger_pickle_than_any_model_needs_are_refused(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torchfile, "MOST_TABLE", 1000)
        refused(written, "more entries than any model needs")
    with monkeypatch.context() as patch:
        patch.setattr(torchfile, "MOST_PICKLE", 1000)
        refused(written, "1,000 are allowed")
    with monkeypatch.context() as patch:
        patch.setattr(plainpickle, "MOST_ORDERS", 100)
        refused(written, "more than 100 orders")
    with monkeypatch.context() as patch:
        patch.setattr(plainpickle, "MOST_OBJECTS", 100)
        refused(written, "more than 100 values")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(100, 5, 8)[3], "does not lie by itself"),  # a view of something larger
        (torch.zeros(1).expand(5, 8), "does not lie by itself"),  # one number in forty places
        (torch.zeros(8, 5).mT, "does not lie by itself"),
        (torch.zeros(5, 8).to_sparse(), "sparse"),
        (torch.zeros(5, 8, dtype=torch.complex64), "ComplexFloatStorage"),
        (torch.nn.Parameter(torch.zeros(5, 8)), "parameter"),
        ("no tensor", "no named tensor"),
        ([0.0] * 40, "no named tensor"),
    ],
)
def test_a_tensor_that_pack_would_not_have_written_is_refused(written: Path, tensor: object, words: str) -> None:
    refused(resaved(written, lambda content: content["weights"].update({"token_embedding.weight": tensor})), words)


def test_tensors_that_share_their_numbers_cannot_outgrow_the_file(written: Path) -> None:
    shared = torch.zeros(5000)
    refused(
        resaved(written, lambda content: content["optimizer"].update({str(n): shared for n in range(100)})), "share"
    )


def test_a_tensor_larger_than_its_entry_is_refused(written: Path) -> None:
    refused(rezipped(written, {"data/0": b"\0" * 4}))


# --- what is something else -----------------------------------------------------------------------------------------


def test_somebody_elses_file_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "theirs.pt"
    theirs: list[object] = [torch.nn.Linear(2, 3).state_dict(), {"model_args": {}, "model": {}}, torch.zeros(3), [1, 2]]
    for content in theirs:
        torch.save(content, path)
        refused(path, "no checkpoint of glassgpt")
    torch.save(torch.nn.Linear(2, 3), path)
    refused(path, "torch.nn.modules.linear.Linear", "nothing of it was run")
    path.write_text("Once upon a time", encoding="utf-8")
    refused(path, "does not begin as a file of PyTorch")
    torch.save({"a": 1}, path, _use_new_zipfile_serialization=False)
    refused(path, "does not begin as a file of PyTorch")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content.update(format="glassgpt checkpoint 9"), "checkpoint 9"),
        (lambda content: content.update(step=torch.zeros(1)), "no plain value"),
        (lambda content: content.update(tokenizer=3), "should be texts"),
        (lambda content: content.update(weights=[torch.zeros(1)]), "a dict of tensors"),
        (lambda content: content["weights"].update({7: torch.zeros(1)}), "no named tensor"),
        (lambda content: content.update(more=1), "no checkpoint of glassgpt"),
    ],
)
def test_parts_of_another_kind_are_refused(written: Path, change: Callable[[Content], object], words: str) -> None:
    refused(resaved(written, change), words)


def test_weights_that_are_no_fractions_or_not_as_many_as_the_configuration_makes_are_refused() -> None:
    one = checkpoint()
    whole_numbers = {name: weight.long() for name, weight in one.weights.items()}
    with pytest.raises(CheckpointError, match=r"holds torch\.int64 where the model wants"):
        type(one)(**{**vars(one), "weights": whole_numbers}).model()
    with pytest.raises(CheckpointError, match="its configuration makes"):  # and none of that size is begun
        type(one)(**{**vars(one), "model_config": MODEL.but(n_layers=10**4)}).model()
