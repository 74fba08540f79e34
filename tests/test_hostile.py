"""Files from strangers: nothing in them is run, and they are refused in one line, soon, and within little memory.

The program benchmarks/hostile_test.py tries the whole catalogue and thousands of changes; here is a short version.
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from glassgpt.checkpoint import load_checkpoint
from glassgpt.errors import CheckpointError, ConfigError, TokenizerError
from glassgpt.jsonfile import MOST_COST, NotJsonError, parse, reckon
from glassgpt.plainpickle import NotPlainError, Reader
from glassgpt.text.store import load_tokenizer, parse_tokenizer
from glassgpt.yamlfile import read_table

ROOT = Path(__file__).parents[1]
LONG = ("million", "20 GB", "deeply", "many entries", "bomb", "megabytes", "thirty kilobytes of list")  # take a second
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory by Linux's books")


@pytest.fixture(scope="module")
def programs() -> Iterator[Callable[[str], Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        patch.setenv("GLASSGPT_CACHE", os.environ.get("GLASSGPT_CACHE", ""))  # the victims have their own: put back
        yield importlib.import_module
    for name in [name for name in sys.modules if name.partition(".")[0] in {"accidents", "hostile_test", "common"}]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def victims(programs: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made: dict[str, Path] = programs("accidents.victims").make_victims(tmp_path_factory.mktemp("victims"))
    return made


def held(tally: Any) -> None:
    assert not tally.complaints, "\n".join(tally.complaints)
    assert (tally.executed, tally.crashed, tally.unbounded) == (0, 0, 0)


@linux
def test_made_to_harm_or_changed_at_random_nothing_is_run_and_nothing_crashes(
    programs: Callable[[str], Any], victims: dict[str, Path], tmp_path: Path
) -> None:
    program, canary = programs("hostile_test"), tmp_path / "canary"
    short = [
        case for case in program.crafted(victims, canary, large=False) if not any(word in case.name for word in LONG)
    ]
    changes = list(program.mutations(victims, 60, 7))
    tally = program.attack(tmp_path, iter([*short, *changes]), victims, canary)
    held(tally)
    assert tally.tried == len(short) + len(changes) > 250
    assert tally.kinds["refused"] > 200


@pytest.mark.slow
@linux
def test_the_whole_catalogue_is_harmless(programs: Callable[[str], Any], tmp_path: Path) -> None:
    held(programs("hostile_test").run(tmp_path, count=1000, seed=3))


@linux
def test_the_program_sees_what_is_run_what_crashes_and_what_takes_too_much(programs: Callable[[str], Any]) -> None:
    tally = programs("hostile_test").Tally()
    fine = {"result": "refused", "said": "no", "seconds": 0.1, "memory": 1000, "executed": []}
    tally.add("fine", 10, fine, ran=False)
    assert not tally.complaints
    for change in (
        {"executed": ["os.system"]},
        {"result": "crash"},
        {"result": "died"},
        {"said": "two\nlines"},
        {"seconds": 2.1},
        {"memory": 65 << 20},
    ):
        tally.add("bad", 10, fine | change, ran=False)
    tally.add("touched", 10, fine, ran=True)
    assert (tally.tried, tally.executed, tally.crashed, tally.unbounded) == (8, 2, 3, 2)


# --- JSON that would outgrow its file -------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", ["[]", "{}", '{"a":0}', "[[]]", "123456", '"x"', '{"a":{"b":[]}}', "1.5", '"語"'])
def test_the_cost_of_json_is_reckoned_before_it_is_paid(piece: str) -> None:
    """Never less than Python takes for it, as far as its own measure goes."""
    content = f"[{','.join([piece] * 5000)}]".encode()
    assert reckon(content)[0] >= size_of(json.loads(content))
    many = f"[{','.join([piece] * (3_000_000 // len(piece)))}]".encode() * 1
    if reckon(many)[0] > MOST_COST:
        with pytest.raises(NotJsonError, match="its values could take"):
            parse(many)


def size_of(value: Any) -> int:
    own = sys.getsizeof(value)
    if isinstance(value, dict):
        return own + sum(size_of(inner) for inner in value.values())
    return own + sum(map(size_of, value)) if isinstance(value, list) else own


def test_what_stands_in_quotes_is_no_structure() -> None:
    assert reckon(rb'["[[[{{\"[[\\"]')[1] == 1
    assert reckon(b'"' + b"\\" * (1 << 19) + b'"[[[]]]')[1] == 3
    assert reckon(b"")[1] == 0
    for text in ('{"a": 1, "b": [2.5, null, "c\\n\\u00e9"]}', "[]", '"\\ud83d\\ude00"', "7"):
        assert parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"[" * 65 + b"]" * 65, "nested too deeply"),
        (b'{"a":1,"a":2}', "'a' stands there twice"),
        (b"NaN", "NaN"),
        (rb'"\ud800"', "half a character"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b"[1,]", "not JSON at line 1"),
        (b"9" * 5000, "too long"),
        (b"", "not JSON"),
    ],
)
def test_json_that_is_none_says_why(content: bytes, why: str) -> None:
    with pytest.raises(NotJsonError, match=why):
        parse(content)


# --- pickles --------------------------------------------------------------------------------------------------------


def test_a_pickle_is_read_without_looking_up_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.__import__", None)  # an import here would fail
    order = b"\x80\x02}q\x00X\x01\x00\x00\x00a](K\x01G\x40\x00\x00\x00\x00\x00\x00\x00N\x88es."
    read = Reader(order).read()
    monkeypatch.undo()
    assert read == {"a": [1, 2.0, None, True]}


@pytest.mark.parametrize(
    "orders",
    [b"cos\nsystem\n.", b"\x8c\x01a.", b"\x93.", b"(ios\nsystem\n.", b"\x82\x01.", b"]q\x00h\x00a.", b"(" * 200],
)
def test_an_order_that_torch_does_not_give_is_refused(orders: bytes) -> None:
    with pytest.raises(NotPlainError):
        Reader(orders).read()


@pytest.mark.parametrize(
    "orders", [b"", b"}", b"e.", b"X\xff\xff\xff\x7f", b"R.", b"Q.", b"h\x05.", b"K", b"NNs.", b"."]
)
def test_a_pickle_that_breaks_off_is_said_to(orders: bytes) -> None:
    with pytest.raises(ValueError, match=r"breaks off|none"):
        Reader(orders).read()


def test_a_tensor_said_to_be_longer_than_its_bytes_is_never_read(
    programs: Any, victims: dict[str, Path], tmp_path: Path
) -> None:
    """torch believes the number, and reads what lies behind them in memory."""
    cases = programs("accidents.hostile_cases")
    path = victims["best.pt"]
    import zipfile

    with zipfile.ZipFile(path) as archive:
        pickle, first = archive.read("archive/data.pkl"), archive.read("archive/data/0")
    lie = pickle.replace(b"K" + bytes([len(first) // 4]) + b"t", b"J" + struct.pack("<i", 10**9) + b"t", 1)
    assert lie != pickle
    cases.rezipped(path, lie)(tmp_path / "lie.pt")
    with pytest.raises(CheckpointError, match=r"lie\.pt is refused"):
        load_checkpoint(tmp_path / "lie.pt")


# --- what is no file, and what is large and good --------------------------------------------------------------------


def test_a_pipe_a_device_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(CheckpointError, match="cannot be read: it is a"):
            load_checkpoint(path)
        with pytest.raises(TokenizerError):
            load_tokenizer(path)
        with pytest.raises(ConfigError, match="cannot be read"):
            read_table(path, kind="configuration file", hint="")


@pytest.mark.slow
def test_a_vocabulary_of_128_000_tokens_is_read(programs: Any) -> None:
    text = programs("accidents.hostile_texts").grown(128_000, wrong=False).decode()
    assert parse_tokenizer(text).vocab_size == 128_000
