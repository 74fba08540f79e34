"""The page's routes: its own files and nothing else, and what a look inside a model answers."""

from __future__ import annotations

import base64
import gzip
import http.client
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import glassgpt
from conftest import BOOK, TINY
from glassgpt.lab.page import PAGES
from glassgpt.sampling.trace import trace
from glassgpt.serve import shelf
from glassgpt.serve.limits import Access, Limits
from served import Running, serving, wait_until

OWN = PAGES.parents[1] / "serve" / "pages"


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Running]:
    with serving(home / "runs") as server:
        yield server


def test_the_page_and_each_of_its_files_may_load_nothing_but_each_other(running: Running) -> None:
    names = {path.name for path in (*PAGES.iterdir(), *OWN.iterdir())}
    assert {"main.js", "base.js", "page.css"} <= names
    for name in ["", *(f"page/{name}" for name in names), "page/plotly.min.js"]:
        status, headers, _ = running.ask("GET", f"/{name}")
        assert status == 200, name
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_a_file_that_did_not_change_is_not_sent_again_and_travels_packed(running: Running) -> None:
    _, headers, _ = running.ask("GET", "/page/base.js")
    assert running.ask("GET", "/page/base.js", If_None_Match=headers["etag"])[0] == 304
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    connection.request("GET", "/page/base.js", headers={"Accept-Encoding": "gzip"})
    packed = connection.getresponse().read()
    connection.close()
    assert gzip.decompress(packed) == (PAGES / "base.js").read_bytes()


WAYS_OUT = r"""
    ../base.js  ..%2Fbase.js  %2e%2e/base.js  %2e%2e%2fpage.py  ..%5Cpage.py  ..\page.py  ....//page.py  ..;/page.py
    ../../../../../../etc/passwd  ..%2F..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd  %252e%252e%252fpage.py  /etc/passwd
    %2Fetc%2Fpasswd  C:%5CWindows%5Cwin.ini  \\host\share  file:///etc/passwd  base.js%00.css  page.css/../../page.py
    ./base.js/..  ~/.ssh/id_rsa  %c0%ae%c0%ae/page.py  ..%c0%afpage.py  ..%ef%bc%8fpage.py  base.js::$DATA  BASE.JS
    base.js.  base.js%20  .  ..  %2e  %2e%2e  index.html%0d%0aX:1
"""
NO_MODELS = """
    ..  %2e%2e%2fbook  book%2f..%2fbook  book%2fbest.safetensors  runs%2fbook  ..%2fhome%2fruns%2fbook  %2fetc%2fpasswd
    book%00  book@best  book@..  book@..%2flast  .  %2e
"""


def test_no_path_leads_out_of_the_page_or_the_runs(running: Running) -> None:
    ways = WAYS_OUT.split()
    paths = [f"/page/{way}" for way in ways]
    paths += [f"/{route}/{name}" for route in ("glass/models", "v1/models") for name in NO_MODELS.split()]
    paths += [f"/{way}" for way in ways if way not in {".", "..", "%2e", "%2e%2e"}]
    assert len(paths) >= 40
    through = []
    for path in paths:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        connection.putrequest("GET", "/placeholder", skip_accept_encoding=True)
        connection._buffer[0] = b"GET " + path.replace(" ", "%20").encode() + b" HTTP/1.1"  # type: ignore[attr-defined]
        connection.endheaders()
        answer = connection.getresponse()
        if answer.status == 200 or b"root:" in answer.read():
            through.append(path)
        assert answer.status < 500, path
        connection.close()
    assert through == []


def test_a_look_is_the_trace_with_its_maps_as_plain_floats(running: Running, home: Path) -> None:
    text = "The owl flew over"
    status, _, seen = running.ask("POST", "/glass/inside", {"model": "book", "text": text})
    lm = glassgpt.load(home / "runs" / "book", device="cpu")
    truth = trace(lm.model, lm.tokenizer, text, alternatives=8)
    assert status == 200
    assert seen | {"attention": [], "model": {}, "facts": []} == truth.as_json(attention=False) | {
        "attention": [],
        "model": {},
        "facts": [],
    }
    maps = np.frombuffer(base64.b64decode(seen["attention"]["float32"]), dtype="<f4")
    count = len(truth.tokens)
    triangle = count * (count + 1) // 2
    assert maps.size == seen["attention"]["layers"] * seen["attention"]["heads"] * triangle
    for layer, weights_HTS in enumerate(truth.attention):
        for head, weights_TS in enumerate(weights_HTS):
            begin = (layer * len(weights_HTS) + head) * triangle
            for row in range(count):
                sent = maps[begin : begin + row + 1]
                assert np.array_equal(sent, weights_TS[row, : row + 1])
                assert sent.sum() == pytest.approx(1, abs=1e-5)
                begin += row + 1


def test_a_long_text_is_looked_at_where_it_ends(home: Path) -> None:
    with serving(home / "runs", limits=Limits(looked_at_tokens=5)) as server:
        _, _, seen = server.ask("POST", "/glass/inside", {"model": "book", "text": "The owl flew"})
        assert "".join(token["name"] for token in seen["tokens"]) == " flew"
        assert seen["tokens_left_out"] == 7


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"model": "book", "text": ""}, 400, "the text is empty"),
        ({"model": "book", "text": "漢"}, 400, "never had the character '漢'"),
        ({"model": "bock", "text": "x"}, 404, "there is no model 'bock'; did you mean"),
        ({"model": "book"}, 400, "text"),
        ({"model": "book", "text": "x", "more": 1}, 400, "more"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(running: Running, asked: object, status: int, words: str) -> None:
    told, _, body = running.ask("POST", "/glass/inside", asked)
    assert told == status
    assert words in body["error"]["message"]


def test_a_browser_gives_the_key_as_a_password(home: Path) -> None:
    with serving(home / "runs", access=Access(key="s3cret")) as server:
        assert server.ask("GET", "/")[0] == 401
        for pair, status in {
            "any:s3cret": 200,
            ":s3cret": 200,
            "any:wrong": 401,
            "s3cret": 401,
            "a:b:s3cret": 401,
        }.items():
            header = "Basic " + base64.b64encode(pair.encode()).decode()
            assert server.ask("GET", "/", Authorization=header)[0] == status, pair
        assert server.ask("GET", "/", Authorization="Basic !!!")[0] == 401


def test_a_model_is_read_again_when_its_run_has_gone_on(home: Path) -> None:
    with serving(home / "runs") as server:
        first = server.desk.shelf.take("book")
        assert server.desk.shelf.take("book") is first
        best = home / "runs" / "book" / "best.safetensors"
        best.touch()
        second = server.desk.shelf.take("book")
        assert second is not first
        assert server.complete(max_tokens=2)[0] == 200


def test_of_many_models_those_used_last_are_kept_and_none_is_lost_that_still_writes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "MOST_LOADED", 1)
    with serving(home / "runs") as server:
        book = server.desk.shelf.take("book")
        held = server.send_request(max_tokens=900)
        wait_until(lambda: book.engine.in_flight == 1)
        server.desk.shelf.take("book@last")
        assert [served.name for served in server.desk.shelf.loaded()] == ["book@last"]
        assert book.engine in server.desk.shelf.engines()
        answer = b""
        while b'"completion_tokens":900' not in answer:
            answer += held.recv(1 << 16)
        held.close()
        assert book.engine not in server.desk.shelf.engines()


def test_who_submits_to_a_model_that_was_put_away_meanwhile_is_served(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "MOST_LOADED", 1)
    with serving(home / "runs") as server:
        book = server.desk.shelf.take("book")
        server.desk.shelf.take("book@last")
        monkeypatch.setattr(server.desk.shelf, "have", lambda name: book)  # as a request that had it before has it
        assert server.complete(max_tokens=3)[0] == 200


def test_too_many_who_want_to_look_are_told_to_come_back(home: Path) -> None:
    with serving(home / "runs", limits=Limits(looking=2)) as server:
        asked = {"model": "book", "text": "The owl flew over the sea"}
        with ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda _: server.ask("POST", "/glass/inside", asked), range(40)))
    assert {status for status, _, _ in answers} <= {200, 429}
    assert any(status == 200 for status, _, _ in answers)
    assert all("retry-after" in headers for status, headers, _ in answers if status == 429)


def test_ids_tell_which_token_it_was(running: Running, home: Path) -> None:
    lm = glassgpt.load(home / "runs" / "book", device="cpu")
    _, _, body = running.complete(prompt="The owl", max_tokens=5, logprobs=3, echo=True, return_token_ids=True)
    figures = body["choices"][0]["logprobs"]
    assert lm.decode(figures["token_ids"]) == body["choices"][0]["text"]
    assert figures["top_token_ids"][0] == []  # nothing was expected before the first
    for ids, named in zip(figures["top_token_ids"][1:], figures["top_logprobs"][1:], strict=True):
        assert [lm.decode([token_id]) for token_id in ids] == list(named)
    _, _, plain = running.complete(max_tokens=2, logprobs=1)
    assert "token_ids" not in plain["choices"][0]["logprobs"]


def test_kept_steps_are_models_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(BOOK, encoding="utf-8")
    glassgpt.train(tmp_path / "book.txt", out=tmp_path / "runs" / "book", max_steps=4, keep_every=2, **TINY)
    with serving(tmp_path / "runs") as server:
        _, _, listed = server.ask("GET", "/v1/models")
        assert [row["id"] for row in listed["data"]] == ["book", "book@last", "book@2", "book@4"]
        assert server.ask("GET", "/glass/models/book@2")[2]["step"] == 2
        texts = [
            server.complete(model=name, seed=1, max_tokens=30)[2]["choices"][0]["text"] for name in ("book@2", "book@4")
        ]
        assert texts[0] != texts[1]


def test_a_model_of_tales_tells_the_facts_of_what_it_reads(tmp_path: Path) -> None:
    glassgpt.train("tales", out=tmp_path / "runs" / "tales", max_steps=1, **TINY | {"seq_len": 32})
    with serving(tmp_path / "runs", preload="tales") as server:
        asked = {"model": "tales", "text": "Once upon a time, Felix the fox"}
        (fact,) = server.ask("POST", "/glass/inside", asked)[2]["facts"]
        assert fact["value"] == "Felix"


def test_a_run_that_is_called_like_another_ones_last_is_served_under_its_own_name(home: Path, tmp_path: Path) -> None:
    for name in ("book", "book@last"):
        shutil.copytree(home / "runs" / "book", tmp_path / "runs" / name)
    with serving(tmp_path / "runs") as server:
        assert server.desk.shelf.found()["book@last"] == (tmp_path / "runs" / "book@last")
        listed = [row["id"] for row in server.ask("GET", "/v1/models")[2]["data"]]
        assert sorted(listed) == ["book", "book@last", "book@last@last"]


def test_a_model_that_is_removed_while_it_is_asked_for_is_none(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(home / "runs") as server:
        found = dict(server.desk.shelf.found())
        monkeypatch.setattr(server.desk.shelf, "found", lambda: found | {"gone": tmp_path / "gone.safetensors"})
        assert [row["id"] for row in server.ask("GET", "/v1/models")[2]["data"]] == list(found)
        assert server.ask("GET", "/v1/models/gone")[0] == 404


def test_a_folder_that_nobody_may_look_into_hides_no_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home / "runs" / "book", tmp_path / "runs" / "book")
    (tmp_path / "runs" / "locked").mkdir()
    is_file = Path.is_file

    def locked(path: Path) -> bool:
        """As the system answers those who are not root."""
        if "locked" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", locked)
    with serving(tmp_path / "runs") as server:
        assert [run["name"] for run in server.ask("GET", "/glass/runs")[2]["runs"]] == ["book"]


def test_models_that_are_all_being_written_with_let_no_further_one_in(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("book", "other"):
        shutil.copytree(home / "runs" / "book", tmp_path / "runs" / name)
    monkeypatch.setattr(shelf, "MOST_LOADED", 1)
    with serving(tmp_path / "runs", preload=None) as server:
        held = [server.send_request(model=name, max_tokens=4096) for name in ("book", "book@last")]
        wait_until(lambda: sum(engine.in_flight for engine in server.desk.shelf.engines()) == 2)
        status, headers, _ = server.complete(model="other", max_tokens=1)
        assert (status, "retry-after" in headers) == (429, True)
        for connection in held:
            connection.close()
        wait_until(lambda: not any(engine.in_flight for engine in server.desk.shelf.engines()))
        assert server.complete(model="other", max_tokens=1)[0] == 200


def test_an_address_counts_as_part_of_the_head(running: Running) -> None:
    for path in ("/glass/follow?" + "run=book&" * 4000, "/page/" + "x" * 20_000):
        assert running.ask("GET", path)[0] == 431
