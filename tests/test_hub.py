"""Data sets of the hub, from a real server that speaks as much of its language as `datasets` asks for."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

import glassgpt

if find_spec("datasets") is None:  # it takes a second to load, and only the processes below need it
    pytest.skip("the extra hub is not installed", allow_module_level=True)
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SHA = "0123456789abcdef0123456789abcdef01234567"
SOURCE = str(Path(glassgpt.__path__[0]).parent)


def parquet(*texts: str | None, column: str = "text", row_group: int = 1000) -> bytes:
    file = io.BytesIO()
    table = pa.table({"title": [str(number) for number in range(len(texts))], column: list(texts)})
    pq.write_table(table, file, row_group_size=row_group)
    return file.getvalue()


ROWS = [f"Row {number}: the sea, a lamp and «näht» {number * number}.\n" for number in range(3000)]
TRAIN, MORE, VAL = parquet(*ROWS[:1400]), parquet(*ROWS[1400:2600]), parquet(*ROWS[2600:])
SET = {"data/train-00000-of-00002.parquet": TRAIN, "data/train-00001-of-00002.parquet": MORE,
       "data/validation-00000-of-00001.parquet": VAL}  # fmt: skip

Behaviour = Callable[["Hub"], None]


class Hub(BaseHTTPRequestHandler):
    """A small hub: sets by name, files by path; misbehaves where a test has asked it to."""

    protocol_version = "HTTP/1.1"
    sets: dict[str, dict[str, bytes]]
    behaviours: dict[str, list[Behaviour]]  # by a part of the address; each is used up once
    asked: list[str]

    def do_GET(self) -> None:
        self._do()

    def do_HEAD(self) -> None:
        self._do()

    def do_POST(self) -> None:
        self._do()

    def _do(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        for part, behaviours in self.behaviours.items():
            if part in self.path and self.command != "HEAD" and behaviours:
                behaviours.pop(0)(self)
                return
        self.behave()

    def behave(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/datasets/"):
            owner, name, *rest = path.removeprefix("/api/datasets/").split("/")
            self._api(f"{owner}/{name}", rest)
        elif path.startswith("/datasets/"):
            owner, name, _resolve, _sha, *place = path.removeprefix("/datasets/").split("/")
            self._file(f"{owner}/{name}", "/".join(place))
        else:
            self.say(404)

    def _api(self, name: str, rest: list[str]) -> None:
        if name not in self.sets:
            self.say(404, X_Error_Code="RepoNotFound")
            return
        files = self.sets[name]
        kind = rest[0] if rest else "revision"
        if kind == "revision":
            self.tell({"id": name, "sha": SHA, "private": False, "gated": False, "disabled": False, "tags": [],
                       "downloads": 0, "likes": 0, "siblings": [{"rfilename": place} for place in files]})  # fmt: skip
        elif kind == "tree":
            inside = "/".join(rest[2:])
            found = [entry(place, content) for place, content in files.items() if place.startswith(inside)]
            folders = sorted({place.rpartition("/")[0] for place in files} - {""})
            found += [{"type": "directory", "path": folder, "oid": "0", "size": 0} for folder in folders]
            self.tell(found)
        elif kind == "paths-info":
            wanted = json.loads(self.body)["paths"] if self.body.startswith("{") else parse_qs(self.body)["paths"]
            self.tell([entry(place, files[place]) for place in wanted if place in files])
        else:
            self.say(404)

    def _file(self, name: str, place: str) -> None:
        content = self.sets.get(name, {}).get(place)
        if content is None:
            self.say(404, X_Error_Code="EntryNotFound", X_Repo_Commit=SHA)
            return
        self.send(content)

    def send(self, content: bytes, *, size: int | None = None) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted else 0
        about = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        self.answer(206 if wanted else 200, content[start:], size=None if size is None else size - start, **about)

    def tell(self, answer: Any) -> None:
        self.answer(200, json.dumps(answer).encode(), Content_Type="application/json")

    def say(self, status: int, **headers: str) -> None:
        self.answer(status, b"{}", size=None, **headers)

    def answer(self, status: int, content: bytes, *, size: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if size is None else size))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        if size is not None:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def entry(place: str, content: bytes) -> dict[str, Any]:
    lfs = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    about = {"type": "file", "path": place, "oid": git_name(content), "size": len(content)}
    return about | ({"lfs": lfs} if place.endswith(".parquet") else {})


def git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def cut(hub: Hub) -> None:
    content = hub.sets[NAME]["data/train-00000-of-00002.parquet"]
    hub.send(content[: len(content) // 2], size=len(content))


def says(status: int) -> Behaviour:
    return lambda hub: hub.say(status, Retry_After="0")


def page(hub: Hub) -> None:
    hub.answer(200, b"<html>log in first</html>", Content_Type="text/html")


def flipped(hub: Hub) -> None:
    content = bytearray(hub.sets[NAME]["data/train-00000-of-00002.parquet"])
    content[len(content) // 2] ^= 1
    hub.send(bytes(content))


NAME = "people/sea"
HALF = len(MORE) // 2
PATIENCE_S = 120.0  # a busy machine may need long to load the packages; a quick one waits for nothing


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    Hub.sets, Hub.behaviours, Hub.asked = {}, {}, []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    running.daemon_threads = True
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def fresh() -> None:
    Hub.sets = {NAME: dict(SET)}
    Hub.behaviours, Hub.asked = {}, []


WORKER = """
import json, sys
from pathlib import Path
from glassgpt.data import download, hub
from glassgpt.data.sources import find_source
from glassgpt.errors import GlassgptError

download.PAUSES_S = hub.PAUSES_S = (0.0, 0.0)
sys.stdout, answers = sys.stderr, sys.stdout
for line in sys.stdin:
    question = json.loads(line)
    cache = Path(question.pop("cache"))
    told = []
    try:
        source = find_source(question.pop("data"), cache=cache, progress=lambda what, share: told.append([what, share]),
                             **question)
        answer = {"name": source.name, "train": list(source.train_chunks()), "val": list(source.val_chunks()),
                  "files": [str(path) for path in (*source.files, *source.val_files)], "note": source.note,
                  "specs": source.specs, "told": told}
    except GlassgptError as problem:
        answer = {"error": str(problem), "kind": type(problem).__name__}
    print(json.dumps(answer), file=answers, flush=True)
"""

Ask = Callable[..., dict[str, Any]]


def surroundings(server: str, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "GLASSGPT_"))}
    return kept | {"PYTHONPATH": SOURCE, "HF_ENDPOINT": server, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}


@pytest.fixture(scope="module")
def worker(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A second process, because the address of the hub is read when its packages are imported."""
    home = tmp_path_factory.mktemp("hf")
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], env=surroundings(server, home), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.close()
        process.wait(timeout=30)
        assert process.stderr.read() == ""  # no bars, no warnings, no chatting


@pytest.fixture
def ask(worker: subprocess.Popen[str], tmp_path: Path) -> Ask:
    def question(*data: str, **more: Any) -> dict[str, Any]:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps({"data": data, "cache": str(tmp_path / "cache"), **more}) + "\n")
        worker.stdin.flush()
        answer: dict[str, Any] = json.loads(worker.stdout.readline())
        assert "\n" not in answer.get("error", "")
        return answer

    return question


def kept_files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache" / "hub").rglob("*") if path.is_file())


def test_the_rows_of_a_set_are_its_text_and_its_own_split_is_held_out(ask: Ask) -> None:
    answer = ask(f"hf:{NAME}")
    assert "error" not in answer, answer["error"]
    assert "".join(answer["train"]) == "".join(ROWS[:2600])
    assert "".join(answer["val"]) == "".join(ROWS[2600:])
    assert answer["name"] == "sea"


def test_each_row_is_a_document(ask: Ask) -> None:
    answer = ask(f"hf:{NAME}")
    pieces = answer["train"]
    assert [len("".join(part)) for part in split_at_ends(pieces)] == [len(row) for row in ROWS[:2600]]
    assert pieces[-1] == ""


def split_at_ends(pieces: list[str]) -> list[list[str]]:
    documents: list[list[str]] = [[]]
    for piece in pieces:
        if piece:
            documents[-1].append(piece)
        else:
            documents.append([])
    assert documents[-1] == []
    return documents[:-1]


def test_a_set_that_was_fetched_once_is_not_asked_for_again(ask: Ask) -> None:
    first = ask(f"hf:{NAME}")
    Hub.asked.clear()
    Hub.sets.clear()
    again = ask(f"hf:{NAME}")
    assert (again["train"], again["val"]) == (first["train"], first["val"])
    assert Hub.asked == []


CARD = """\
---
configs:
- config_name: wikitext-103-raw-v1
  data_files:
  - {split: train, path: wikitext-103-raw-v1/train-*}
  - {split: validation, path: wikitext-103-raw-v1/validation-*}
  - {split: test, path: wikitext-103-raw-v1/test-*}
- config_name: wikitext-2-raw-v1
  data_files: [{split: train, path: wikitext-2-raw-v1/train-*}]
---
"""
ARTICLE = ["", " = The Sea = \n", "", " It is @-@ deep . \n"] * 30
WIKITEXT = {
    "README.md": CARD.encode(),
    "wikitext-103-raw-v1/train-00000-of-00002.parquet": parquet(*ARTICLE),
    "wikitext-103-raw-v1/train-00001-of-00002.parquet": parquet(*ARTICLE),
    "wikitext-103-raw-v1/validation-00000-of-00001.parquet": parquet("", " = A Lamp = \n"),
    "wikitext-103-raw-v1/test-00000-of-00001.parquet": parquet("never read"),
    "wikitext-2-raw-v1/train-00000-of-00001.parquet": parquet("the smaller one"),
}


def test_wikitext_is_one_long_text_of_lines(ask: Ask) -> None:
    Hub.sets["Salesforce/wikitext"] = WIKITEXT
    answer = ask("wikitext-103")
    assert "".join(answer["train"]) == "\n = The Sea = \n\n It is @-@ deep . \n" * 60
    assert "".join(answer["val"]) == "\n = A Lamp = \n"
    assert (answer["train"].count(""), answer["val"].count("")) == (1, 1)  # no document ends where a file does
    assert answer["name"] == "wikitext-103"
    assert not [line for line in Hub.asked if "test-00000" in line or "wikitext-2" in line.replace("tree", "")]


def test_a_configuration_is_named_behind_the_set_and_a_wrong_one_gets_the_list(ask: Ask) -> None:
    Hub.sets["Salesforce/wikitext"] = WIKITEXT
    assert "".join(ask("hf:Salesforce/wikitext:wikitext-2-raw-v1")["train"]).startswith("the smaller")
    for wrong in ("hf:Salesforce/wikitext:wikitext-4", "hf:Salesforce/wikitext"):
        answer = ask(wrong)
        assert answer["kind"] == "DataError"
        assert "wikitext-2-raw-v1" in answer["error"]


def test_a_connection_that_is_cut_goes_on_where_it_stopped(ask: Ask) -> None:
    Hub.behaviours["train-00000"] = [cut]
    assert "".join(ask(f"hf:{NAME}")["train"]) == "".join(ROWS[:2600])
    assert any(f"bytes={len(TRAIN) // 2}-" in line for line in Hub.asked)


def test_a_busy_hub_is_asked_again(ask: Ask) -> None:
    Hub.behaviours = {f"/api/datasets/{NAME}": [says(503)], "train-00001": [says(503), says(429)]}
    assert "".join(ask(f"hf:{NAME}")["train"]) == "".join(ROWS[:2600])


def test_a_download_that_failed_goes_on_in_a_later_run(ask: Ask, tmp_path: Path) -> None:
    Hub.behaviours["train-00001"] = [says(503)] * 4  # one attempt, and three more
    answer = ask(f"hf:{NAME}")
    assert answer["kind"] == "DownloadError"
    assert "the server says 503" in answer["error"]
    assert "tales" in answer["error"]
    assert "train-00000.txt" in kept_files(tmp_path)
    assert "meta.json" not in kept_files(tmp_path)
    Hub.asked.clear()
    assert "".join(ask(f"hf:{NAME}")["train"]) == "".join(ROWS[:2600])
    assert not [line for line in Hub.asked if line.startswith("GET") and "resolve" in line and "train-00000" in line]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [(page, "gave a web page (a login page or a proxy?)"), (flipped, "its SHA-256 is wrong")],
)
def test_other_bytes_than_the_hub_has_are_refused(ask: Ask, tmp_path: Path, behaviour: Behaviour, message: str) -> None:
    Hub.behaviours["train-00000"] = [behaviour]
    answer = ask(f"hf:{NAME}")
    assert message in answer["error"]
    assert answer["kind"] == "DownloadError"
    assert [name for name in kept_files(tmp_path) if not name.endswith(".lock")] == []
    assert "".join(ask(f"hf:{NAME}")["train"]) == "".join(ROWS[:2600])


def test_a_login_page_instead_of_the_hub_is_no_answer(ask: Ask) -> None:
    Hub.behaviours["/api/datasets"] = [page]
    answer = ask(f"hf:{NAME}")
    assert answer["kind"] == "DownloadError"
    assert "login page" in answer["error"]


@pytest.mark.parametrize(
    "damaged",
    [TRAIN[: len(TRAIN) // 2], b"<html></html>", TRAIN[:4] + bytes(2000) + TRAIN[2004:], TRAIN[:-9] + bytes(9), b""],
    ids=["cut", "a page", "zeros inside", "zeros at the end", "empty"],
)
def test_a_file_that_is_damaged_on_the_hub_itself_is_one_line(ask: Ask, tmp_path: Path, damaged: bytes) -> None:
    Hub.sets[NAME]["data/train-00000-of-00002.parquet"] = damaged
    answer = ask(f"hf:{NAME}")
    assert answer["kind"] == "DataError"
    assert "cannot read the rows of" in answer["error"]
    assert [name for name in kept_files(tmp_path) if not name.endswith(".lock")] == []


def test_a_wrong_column_gets_the_list_of_columns(ask: Ask) -> None:
    Hub.sets["people/columns"] = {"train.parquet": parquet("a", "b", column="content")}
    answer = ask("hf:people/columns")
    assert answer["error"] == (
        "people/columns has no column 'text'; its columns are: title, content (--text-column NAME)"
    )
    assert "did you mean content?" in ask("hf:people/columns", text_column="contents")["error"]
    right = ask("hf:people/columns", text_column="content", val_fraction=0.5)
    assert (right["train"], right["val"]) == (["a\n", ""], ["b\n", ""])


def test_a_column_without_text_is_refused(ask: Ask) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": [[1], [2]]}), file)
    Hub.sets["people/lists"] = {"train.parquet": file.getvalue()}
    assert "holds list, not text" in ask("hf:people/lists")["error"]
    Hub.sets["people/nothing"] = {"train.parquet": parquet(None, "")}
    assert "is empty" in ask("hf:people/nothing")["error"]


def test_a_set_without_a_split_of_its_own_is_cut_like_any_text(ask: Ask) -> None:
    Hub.sets["people/one"] = {"train.parquet": parquet(*["abcd", None, "ef\r\ngh"] * 10)}
    answer = ask("hf:people/one", val_fraction=0.5)
    assert "".join(answer["train"] + answer["val"]) == "abcd\nef\ngh\n" * 10
    assert "".join(answer["train"]) == "abcd\nef\ngh\n" * 5
    assert answer["train"][-1] == ""  # the cut falls between two rows, and the first part says so


def test_small_files_are_checked_by_what_git_calls_them(ask: Ask) -> None:
    lines = "".join(json.dumps({"text": row}) + "\n" for row in ROWS[:20]).encode()
    Hub.sets["people/lines"] = {"train.jsonl": lines, "valid.jsonl": lines}
    Hub.behaviours["train.jsonl"] = [lambda hub: hub.send(lines[:-2] + b"\n\n")]
    assert "is not what it should be" in ask("hf:people/lines")["error"]
    answer = ask("hf:people/lines")
    assert "".join(answer["train"]) == "".join(answer["val"]) == "".join(ROWS[:20])


def test_a_set_that_is_not_there_is_a_mistake_and_nothing_is_taken_instead(ask: Ask) -> None:
    answer = ask("hf:people/see", fallback=["tales:2KB"])
    assert answer["kind"] == "DataError"
    assert "the hub has no data set 'people/see'" in answer["error"]
    assert "names no data set" in ask("hf:")["error"]
    assert 'there is no folder "./see"' in ask("hf:./see")["error"]


def test_a_folder_of_parquet_files_is_read_by_the_same_code(ask: Ask, tmp_path: Path) -> None:
    for place, content in SET.items():
        path = tmp_path / "my set" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    answer = ask(f"hf:{tmp_path / 'my set'}")
    assert "error" not in answer, answer["error"]
    assert "".join(answer["train"]) == "".join(ROWS[:2600])
    assert "".join(answer["val"]) == "".join(ROWS[2600:])
    assert answer["name"] == "my-set"
    assert Hub.asked == []
    (tmp_path / "my set" / "data" / "validation-00000-of-00001.parquet").write_bytes(parquet("other"))
    assert "".join(ask(f"hf:{tmp_path / 'my set'}")["val"]) == "other\n"
    (tmp_path / "my set" / "data" / "validation-00000-of-00001.parquet").write_bytes(VAL[:-100])
    assert "cannot read the rows of" in ask(f"hf:{tmp_path / 'my set'}")["error"]


def test_progress_is_told_from_nothing_to_all(ask: Ask) -> None:
    told = ask(f"hf:{NAME}")["told"]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert told[-1][0].startswith(f"reading {NAME}, 3,000 rows")


def test_killed_at_any_moment_it_leaves_nothing_bad_and_goes_on(
    server: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, ask: Ask
) -> None:
    killed = threading.Event()

    def half(hub: Hub) -> None:
        hub.send(MORE[:HALF], size=len(MORE))
        hub.wfile.flush()
        killed.wait(PATIENCE_S)

    def in_the_middle_of_the_second_file() -> bool:
        has_bytes = any(path.stat().st_size for path in (tmp_path / "cache" / "hub").rglob("*.part"))
        return has_bytes and "train-00000.txt" in kept_files(tmp_path)

    Hub.behaviours["train-00001"] = [half]
    command = [sys.executable, "-c", WORKER]
    environment = surroundings(server, tmp_path_factory.mktemp("hf"))
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"data": [f"hf:{NAME}"], "cache": str(tmp_path / "cache")}) + "\n")
        process.stdin.flush()
        deadline = time.monotonic() + PATIENCE_S
        while not in_the_middle_of_the_second_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    killed.set()
    assert [name for name in kept_files(tmp_path) if name.endswith((".txt", ".json"))] == ["train-00000.txt"]
    Hub.asked.clear()
    assert "".join(ask(f"hf:{NAME}")["train"]) == "".join(ROWS[:2600])
    fetched = [line for line in Hub.asked if line.startswith("GET") and "resolve" in line and "parquet" in line]
    assert "train-00001" in fetched[0]
    assert "bytes=" in fetched[0]


MEASURE = """
import resource, sys
from pathlib import Path
from glassgpt.config import DataConfig
from glassgpt.data.prepare import prepare

unit = 1 if sys.platform == "darwin" else 1024
for folder in sys.argv[2:]:
    prepared = prepare(DataConfig(data=("hf:" + folder,)), vocab_size=1000, cache=Path(sys.argv[1]))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, prepared.meta.train.characters)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no ru_maxrss")
def test_memory_does_not_grow_with_a_set(tmp_path: Path) -> None:
    line = "The owl flew over the sea, number {0}, and the sea was {0} times as calm as it had ever been before. "
    for name, rows in (("small", 2_000), ("large", 200_000)):
        folder = tmp_path / name
        folder.mkdir()
        texts = [line.format(number) * 10 for number in range(rows)]
        pq.write_table(pa.table({"text": texts}), folder / "train.parquet", row_group_size=10_000)
    command = [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in ("cache", "small", "large"))]
    environment = surroundings("http://127.0.0.1:9", tmp_path / "hf")
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    (small, _), (large, characters) = (map(int, line.split()) for line in answer.stdout.splitlines())
    print(f"{characters:,} characters: {small / 1e6:.0f} MB, then {large / 1e6:.0f} MB")
    assert characters > 180_000_000
    assert large - small < 100_000_000  # a row group of ten thousand rows (10 MB) in its several forms
