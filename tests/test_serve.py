"""The server: what OpenAI's own client gets, who may ask, what bad requests come to, and what those who leave cost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

import glassgpt
from glassgpt.cli import serve as serve_verb
from glassgpt.cli.main import main
from glassgpt.config import SamplingConfig
from glassgpt.errors import CheckpointError, ConfigError, DataError, MissingExtraError, RunError
from glassgpt.library import LanguageModel
from glassgpt.sampling.requests import EngineEvent, Failed, PromptRead, Request
from glassgpt.serve.answers import name_of
from glassgpt.serve.desk import Pending
from glassgpt.serve.limits import Access, Limits
from glassgpt.serve.server import is_loopback, listening
from glassgpt.serve.shelf import Shelf
from served import Running, serving, wait_until

FAST = Limits(send_s=0.4, body_bytes=20_000, drain_s=5)


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Running]:
    with serving(home / "runs") as server:
        yield server


@pytest.fixture(scope="module")
def strict(home: Path) -> Iterator[Running]:
    """One that wants a key, and has little patience."""
    access = Access(key="s3cret", origins=frozenset({"https://friend.example"}))
    with serving(home / "runs", access=access, limits=FAST, slots=1, queue=2) as server:
        yield server


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=running.url, api_key="any", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def lm(home: Path) -> LanguageModel:
    return glassgpt.load(home / "runs" / "book", device="cpu")


# --- OpenAI's client, as it is --------------------------------------------------------------------------------------


def test_the_client_lists_the_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["book", "book@last"]
    assert client.models.retrieve("book").owned_by == "glassgpt"


def test_a_seed_gives_the_text_that_sample_gives(client: openai.OpenAI, lm: LanguageModel) -> None:
    answer = client.completions.create(model="book", prompt="The owl", max_tokens=40, seed=7)
    expected = lm.generate("The owl", max_new_tokens=40, seed=7, temperature=1, min_p=0)
    assert "The owl" + answer.choices[0].text == expected
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 40, 47)


def test_streamed_pieces_are_the_answer_in_one_go(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "book", "prompt": ["The", "owl"], "max_tokens": 30, "seed": 3, "n": 2}
    whole = client.completions.create(**asked, echo=True)
    texts, finished = ["", "", "", ""], ["", "", "", ""]
    usage = None
    for chunk in client.completions.create(**asked, echo=True, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            finished[choice.index] += choice.finish_reason or ""
    assert texts == [choice.text for choice in whole.choices]
    assert [text[:3] for text in texts] == ["The", "The", "owl", "owl"]
    assert len(set(texts)) == 4
    assert finished == ["length"] * 4
    assert usage == whole.usage


def test_ids_that_no_token_has_a_name_for_are_shown_by_their_number(lm: LanguageModel) -> None:
    known = lm.tokenizer.vocab_size
    assert [name_of(lm.tokenizer, token_id) for token_id in (0, known, known + 7)][1:] == [
        f"<{known}>",
        f"<{known + 7}>",
    ]


def test_an_answer_tells_whether_the_same_file_gave_it(client: openai.OpenAI, running: Running) -> None:
    prints = [client.completions.create(model=name, prompt="The", max_tokens=1).system_fingerprint
              for name in ("book", "book", "book@last")]  # fmt: skip
    assert prints[0] == prints[1] != prints[2]
    assert running.ask("GET", "/glass/models/book")[2]["fingerprint"] == prints[0]


def test_a_stream_ends_with_done(running: Running) -> None:
    status, headers, body = running.complete(stream=True, max_tokens=3)
    assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    events = body.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert all(json.loads(event.removeprefix("data: "))["object"] == "text_completion" for event in events[:-1])


def test_stop_ends_a_text_and_is_not_shown(client: openai.OpenAI) -> None:
    def written(**more: Any) -> Any:
        return client.completions.create(model="book", prompt="The", max_tokens=60, seed=1, **more).choices[0]

    whole = written().text
    stop = whole[20:23]
    ended = written(stop=stop)
    assert ended.text == whole[: whole.index(stop)]
    assert ended.finish_reason == "stop"
    assert written(stop=[stop, "never"]).text == ended.text


def test_logprobs_are_those_of_the_model(client: openai.OpenAI, lm: LanguageModel) -> None:
    answer = client.completions.create(
        model="book", prompt="The owl", max_tokens=6, seed=2, logprobs=3, echo=True, temperature=0
    )
    figures = answer.choices[0].logprobs
    assert figures is not None
    assert figures.tokens is not None
    assert figures.token_logprobs is not None
    assert figures.top_logprobs is not None
    assert "".join(figures.tokens) == answer.choices[0].text
    assert figures.text_offset == list(range(13))
    log_probs: list[Any] = list(figures.token_logprobs)  # the client's own types know no None, the interface does
    assert log_probs[0] is None
    events = list(lm.stream("The owl", max_new_tokens=6, temperature=0))
    for got, event, odds in zip(log_probs[7:], events, figures.top_logprobs[7:], strict=True):
        assert abs(got - event.log_prob) < 1e-4
        assert len(odds) == 3
        assert abs(max(odds.values()) - event.log_prob) < 1e-4  # at temperature 0, the likeliest is drawn


def test_a_prompt_may_be_token_ids(client: openai.OpenAI, lm: LanguageModel) -> None:
    ids = lm.encode("The owl")
    asked: dict[str, Any] = {"model": "book", "max_tokens": 10, "seed": 4}
    by_text = client.completions.create(prompt="The owl", **asked)
    assert client.completions.create(prompt=ids, **asked).choices[0].text == by_text.choices[0].text
    both = client.completions.create(prompt=[ids, ids], **asked)
    assert [choice.index for choice in both.choices] == [0, 1]
    assert both.choices[0].text == by_text.choices[0].text


def test_our_own_settings_pass_through_extra_body(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "book", "prompt": "The", "max_tokens": 20}
    greedy = client.completions.create(**asked, temperature=0)
    for ours in ({"top_k": 1}, {"min_p": 1.0}, {"top_k": 1, "repetition_penalty": 1.0}):
        assert client.completions.create(**asked, extra_body=ours).choices[0].text == greedy.choices[0].text
    other = client.completions.create(**asked, temperature=0, extra_body={"repetition_penalty": 1000.0})
    assert other.choices[0].text != greedy.choices[0].text


def test_without_a_seed_each_answer_is_another(client: openai.OpenAI) -> None:
    texts = {client.completions.create(model="book", prompt="T", max_tokens=30).choices[0].text for _ in range(4)}
    assert len(texts) > 1


def test_nothing_to_write_gives_the_prompts_figures(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="book", prompt="The owl", max_tokens=0, echo=True, logprobs=1)
    assert answer.choices[0].text == "The owl"
    assert answer.choices[0].logprobs is not None
    assert len(answer.choices[0].logprobs.token_logprobs or []) == 7
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 0


def test_a_chat_is_refused_in_words_that_say_what_to_do(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="base model"):
        client.chat.completions.create(model="book", messages=[{"role": "user", "content": "hello"}])


def test_an_unknown_model_is_told_with_the_nearest(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="did you mean book"):
        client.completions.create(model="bok", prompt="x")


def test_health_and_metrics(running: Running) -> None:
    assert running.ask("GET", "/health")[::2] == (200, {"status": "ok"})
    running.complete(max_tokens=5)
    _, _, text = running.ask("GET", "/metrics")
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert int(values["glassgpt_tokens_total"]) >= 5
    assert values['glassgpt_running_texts{model="book"}'] == "0"


# --- who leaves, and who finds no place -----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "waiting"])
def test_a_client_that_leaves_is_cancelled(running: Running, stream: bool) -> None:
    connection = running.send_request(max_tokens=4000, stream=stream)
    wait_until(lambda: running.in_flight == 1)
    if stream:
        assert connection.recv(200).startswith(b"HTTP/1.1 200")
    began = running.steps
    connection.close()
    running.until_idle()
    assert running.steps - began < 3000, "it was not written to its end"


def test_a_client_that_leaves_the_queue_costs_no_step(home: Path) -> None:
    with serving(home / "runs", slots=1) as server:
        first = server.send_request(max_tokens=4000)
        wait_until(lambda: server.in_flight == 1)
        others = [server.send_request(max_tokens=4000, stream=True) for _ in range(5)]
        wait_until(lambda: server.in_flight == 6)
        for other in others:
            other.close()
        wait_until(lambda: server.in_flight == 1)
        first.close()
        server.until_idle()
        assert server.steps < 4000


def test_clients_that_leave_at_random_bytes_leave_nothing_behind(running: Running) -> None:
    rng = random.Random(1)
    content = json.dumps({"model": "book", "prompt": "The", "max_tokens": 3000, "stream": True}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    whole = head.encode() + b"Content-Type: application/json\r\n\r\n" + content
    for _ in range(20):
        connection = running.dial()
        connection.sendall(whole[: rng.randrange(len(whole) * 2)])
        if rng.random() < 0.5:
            time.sleep(0.01)
        connection.close()
    running.until_idle()
    assert running.complete(max_tokens=2)[0] == 200


def test_a_full_queue_answers_429_with_retry_after(home: Path) -> None:
    with serving(home / "runs", slots=1, queue=1) as server:
        held = [server.send_request(max_tokens=4000, stream=True) for _ in range(2)]
        wait_until(lambda: server.in_flight == 2)
        status, headers, body = server.complete()
        assert (status, headers["retry-after"], body["error"]["code"]) == (429, "1", "queue_full")
        for connection in held:
            connection.close()
        server.until_idle()
        assert server.complete(max_tokens=1)[0] == 200


# --- who may ask ----------------------------------------------------------------------------------------------------


def routes_of(running: Running) -> list[tuple[str, str]]:
    """Method and path of everything that the application answers, from the application itself."""
    found = [
        (method, route.path.replace("{name}", "book"))  # type: ignore[attr-defined]
        for route in running.app.routes
        for method in route.methods  # type: ignore[attr-defined]
    ]
    assert len(found) >= 6
    return found


def test_every_route_but_health_wants_the_key(strict: Running) -> None:
    for method, path in [*routes_of(strict), ("GET", "/"), ("GET", "/nowhere"), ("OPTIONS", "/v1/models")]:
        status, headers, body = strict.ask(method, path)
        if path == "/health":
            assert status == 200
            continue
        assert (status, headers["www-authenticate"]) == (401, "Bearer"), (method, path)
        assert method == "HEAD" or body["error"]["code"] == "invalid_api_key"
        for wrong in ("Bearer s3cre", "Bearer", "Basic s3cret", "s3cret", "Bearer \xff"):
            assert strict.ask(method, path, Authorization=wrong)[0] == 401
        assert strict.ask(method, path, endless=path == "/glass/follow", Authorization="Bearer s3cret")[0] != 401


def test_openais_client_sends_the_key(strict: Running) -> None:
    with openai.OpenAI(base_url=strict.url, api_key="s3cret", max_retries=0) as knows:
        assert next(iter(knows.models.list())).id == "book"
    guesses = openai.OpenAI(base_url=strict.url, api_key="guess", max_retries=0)
    with guesses, pytest.raises(openai.AuthenticationError):
        guesses.models.list()


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[", "localhost@evil.example", "10.0.0.1"]
)
def test_a_name_that_is_not_ours_is_refused(running: Running, host: str) -> None:
    status, _, body = running.ask("GET", "/v1/models", Host=host)
    assert (status, body["error"]["code"]) == (421, "unknown_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:8000", "[::1]:8000", "localhost."])
def test_our_own_names_are_answered(running: Running, host: str) -> None:
    assert running.ask("GET", "/v1/models", Host=host)[0] == 200


def test_pages_from_elsewhere_cannot_ask_unless_they_may(running: Running, strict: Running) -> None:
    status, headers, body = running.ask("GET", "/v1/models", Origin="https://evil.example")
    assert (status, body["error"]["code"]) == (403, "foreign_origin")
    assert "access-control-allow-origin" not in headers
    assert running.ask("GET", "/v1/models", Origin="null")[0] == 403
    assert running.ask("GET", "/v1/models", Origin=f"http://127.0.0.1:{running.port}")[0] == 200
    key = "Bearer s3cret"
    status, headers, _ = strict.ask("GET", "/v1/models", Origin="https://friend.example", Authorization=key)
    assert (status, headers["access-control-allow-origin"]) == (200, "https://friend.example")
    assert strict.ask("GET", "/v1/models", Origin="https://evil.example", Authorization=key)[0] == 403


# --- bad requests ---------------------------------------------------------------------------------------------------

BAD: dict[str, bytes] = {
    "n of a billion": b'{"model":"book","prompt":"a","n":1000000000}',
    "negative n": b'{"model":"book","prompt":"a","n":-1}',
    "no samples": b'{"model":"book","prompt":"a","n":0}',
    "true is no number": b'{"model":"book","prompt":"a","n":true}',
    "negative length": b'{"model":"book","prompt":"a","max_tokens":-5}',
    "endless": b'{"model":"book","prompt":"a","max_tokens":1e308}',
    "NaN": b'{"model":"book","prompt":"a","temperature":NaN}',
    "Infinity": b'{"model":"book","prompt":"a","temperature":Infinity}',
    "1e999": b'{"model":"book","prompt":"a","top_p":1e999}',
    "cold": b'{"model":"book","prompt":"a","temperature":-1}',
    "text for a number": b'{"model":"book","prompt":"a","seed":"7"}',
    "long number": b'{"model":"book","prompt":"a","seed":' + b"9" * 10_000 + b"}",
    "deep": b'{"model":"book","prompt":' + b"[" * 9_000 + b"]" * 9_000 + b"}",
    "deeper": b"[" * 19_000,
    "broken UTF-8": b'{"model":"book","prompt":"\xff\xfe"}',
    "half a character": b'{"model":"book","prompt":"\\ud800"}',
    "unseen character": '{"model":"book","prompt":"\u4e16"}'.encode(),
    "NUL": b'{"model":"book","prompt":"\\u0000"}',
    "bare NUL": b"\x00" * 100,
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "half": b'{"model":"book","pro',
    "no model": b'{"prompt":"a"}',
    "traversal": b'{"model":"../book","prompt":"a"}',
    "absolute": b'{"model":"/etc/passwd","prompt":"a"}',
    "empty prompt": b'{"model":"book","prompt":""}',
    "empty list": b'{"model":"book","prompt":[]}',
    "empty ids": b'{"model":"book","prompt":[[]]}',
    "foreign id": b'{"model":"book","prompt":[99999]}',
    "negative id": b'{"model":"book","prompt":[-1]}',
    "ids and texts": b'{"model":"book","prompt":[1,"a"]}',
    "many prompts": b'{"model":"book","prompt":["a","a","a"],"n":16}',
    "empty stop": b'{"model":"book","prompt":"a","stop":""}',
    "unknown field": b'{"model":"book","prompt":"a","tempature":1}',
    "a suffix": b'{"model":"book","prompt":"a","suffix":"b"}',
    "a bias": b'{"model":"book","prompt":"a","logit_bias":{"1":5}}',
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_body_is_refused_in_openais_form(running: Running, name: str) -> None:
    status, _, body = running.ask("POST", "/v1/completions", raw=BAD[name])
    assert status in {400, 404}, body
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert "\n" not in body["error"]["message"]
    assert 10 < len(body["error"]["message"]) < 400


def test_errors_name_what_is_wrong(running: Running) -> None:
    def error(**body: Any) -> Any:
        return running.complete(**body)[2]["error"]

    assert error(max_tokens=-5)["param"] == "max_tokens"
    assert "4096" in error(max_tokens=5000)["message"]
    assert error(tempature=1)["param"] == "tempature"
    assert error(tempature=1)["message"] == "tempature: there is no such field; did you mean temperature?"
    assert error(suffix="x")["message"] == "suffix: this server does not do that; leave it out"
    assert "\u4e16" in error(prompt="\u4e16")["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/completions", 405), ("POST", "/v1/models", 405), ("GET", "/nowhere", 404), ("GET", "/%00", 404),
     ("GET", "/v1/models/..%2f..%2fetc%2fpasswd", 404), ("GET", "/v1/models/none", 404), ("BREW", "/health", 405)],
)  # fmt: skip
def test_wrong_routes_are_told_in_openais_form(running: Running, method: str, path: str, status: int) -> None:
    got, _, body = running.ask(method, path)
    assert got == status
    assert body["error"]["message"]


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01 this is TLS\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 5_000 + b"\r\n",
    ],
    ids=range(8),
)
def test_heads_that_contradict_themselves_or_have_no_end_are_refused(running: Running, head: bytes) -> None:
    with running.dial() as connection:
        try:
            connection.sendall(head)
            answer = connection.recv(1000)
        except ConnectionError:  # cut while it was still sending
            answer = b""
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421", b"HTTP/1.1 431"))


# --- slow and large -------------------------------------------------------------------------------------------------


def cut_after_s(connection: socket.socket, drip: bytes) -> float:
    """How long one may send a byte now and then until the server has had enough."""
    began = time.monotonic()
    connection.settimeout(0.05)
    while time.monotonic() - began < 10:
        try:
            connection.sendall(drip)
            if not connection.recv(2000):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    connection.close()
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("start", "drip"),
    [
        (b"", b""),
        (b"GET /health HTTP/1.1\r\n", b"X"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea", b"l"),
        (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n"
         b"Content-Length: 1000\r\n\r\n", b" "),
    ],
    ids=["silent", "head", "second head", "body"],
)  # fmt: skip
def test_who_does_not_finish_asking_is_cut(strict: Running, start: bytes, drip: bytes) -> None:
    connection = strict.dial()
    connection.sendall(start)
    assert cut_after_s(connection, drip) < 3 * FAST.send_s + 1
    assert strict.ask("GET", "/health")[0] == 200


def test_who_does_not_read_the_answer_is_cut(home: Path) -> None:
    with serving(home / "runs", limits=Limits(send_s=0.2), slots=16) as server, server.dial() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        content = b'{"model":"book","prompt":"The","max_tokens":4000,"n":16,"stream":true,"logprobs":20}'
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(content) + content)
        wait_until(lambda: server.in_flight == 16)
        server.until_idle()  # long before all is written: nobody would have it
        assert 0 < server.desk.counts["tokens"] < 30_000
        assert server.desk.counts["cancelled"] == 1


def test_a_body_over_the_limit_is_refused_told_or_not(strict: Running) -> None:
    key = "Bearer s3cret"
    status, _, body = strict.ask("POST", "/v1/completions", raw=b"x" * 20_001, Authorization=key)
    assert (status, body["error"]["code"]) == (413, "too_large")
    with strict.dial() as connection:
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n"
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 5)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


# --- the end --------------------------------------------------------------------------------------------------------


def test_while_it_drains_the_running_end_and_the_new_are_refused(home: Path) -> None:
    with serving(home / "runs", limits=Limits(drain_s=20)) as server:
        held = server.send_request(max_tokens=700)
        wait_until(lambda: server.in_flight == 1)
        server.server.drain()
        status, headers, body = server.complete()
        assert (status, headers["retry-after"], body["error"]["code"]) == (503, "5", "draining")
        assert server.ask("GET", "/health")[::2] == (503, {"status": "draining"})
        answer = b""
        while piece := held.recv(1 << 16):
            answer += piece
        held.close()
        assert b'"completion_tokens":700' in answer
        wait_until(lambda: server.server.should_exit)


def started(home: Path, *more: str) -> tuple[subprocess.Popen[str], int]:
    environment = os.environ | {"PYTHONPATH": str(Path(glassgpt.__path__[0]).parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "glassgpt", "serve", "--port", "0", "--device", "cpu", *more]
    child = subprocess.Popen(
        command, cwd=home, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line.startswith("serving book at http://127.0.0.1:"), line
    return child, int(line.rsplit(":", 1)[1].removesuffix("/v1\n"))


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_the_command_drains_at_the_first_signal_and_leaves_at_the_second(home: Path, signals: int) -> None:
    child, port = started(home)
    content = b'{"model": "book", "prompt": "The", "max_tokens": 3000}'
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
        )
        time.sleep(0.2)
        child.send_signal(signal.SIGTERM)
        if signals == 2:
            time.sleep(0.3)
            child.send_signal(signal.SIGTERM)
        _, told = child.communicate(timeout=30)
        answer = connection.recv(100) if signals == 1 else b""
    assert child.returncode == (0 if signals == 1 else 143)
    assert "Traceback" not in told
    assert signals == 2 or answer.startswith(b"HTTP/1.1 200")


# --- the command ----------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is in use by another program; choose another --port"):
            listening("127.0.0.1", port)


def test_an_unknown_address_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"--host nowhere\.invalid: this machine knows no such address"):
        listening("nowhere.invalid", 0)


def test_beyond_this_machine_a_key_is_demanded(at_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "runs/book", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "give --api-key KEY (or set GLASSGPT_API_KEY)" in capsys.readouterr().err
    assert main(["serve", "--api-key", " "]) == 2


def test_who_listens_everywhere_knows_addresses_and_the_names_that_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLASSGPT_API_KEY", "from-outside")
    asked = {"host": "0.0.0.0", "api_key": None, "allow_host": ["GPT.example"], "allow_origin": ["https://a.example/"]}
    access = serve_verb._access(asked)
    assert (access.key, access.any_address, access.origins) == ("from-outside", True, frozenset({"https://a.example"}))
    assert {"gpt.example", "localhost", socket.gethostname().lower()} <= access.hosts
    assert serve_verb._access(asked | {"host": "127.0.0.1"}).any_address is False


def test_what_is_this_machine_alone() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "127.9.9.9")] == [True] * 3
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "8.8.8.8", "nowhere.invalid")] == [False] * 4


def test_a_newest_run_that_is_damaged_keeps_nobody_from_the_others(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home / "runs" / "book", tmp_path / "runs" / "good")
    (tmp_path / "runs" / "bad").mkdir()
    (tmp_path / "runs" / "bad" / "best.safetensors").write_bytes(b"no checkpoint" * 100)
    shelf = shelf_of(str(tmp_path / "runs"))
    names = list(shelf.found())
    assert names[0] == "bad"
    serve_verb._try_newest(shelf, names)
    assert "bad cannot be served: " in capsys.readouterr().err
    shelf.take("good")
    with pytest.raises(CheckpointError):
        serve_verb._try_newest(shelf, ["bad"])


@pytest.mark.parametrize("screen", [":0", ""])
def test_the_page_is_opened_where_there_is_a_screen(
    screen: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(serve_verb.sys, "platform", "linux")  # type: ignore[attr-defined]
    monkeypatch.setenv("DISPLAY", screen)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("webbrowser.open", lambda page: opened.append(page) or True)  # type: ignore[func-returns-value]
    serve_verb._invite("http://127.0.0.1:1", opens=True)
    told = capsys.readouterr()
    assert "open http://127.0.0.1:1 in a browser" in told.out
    assert opened == (["http://127.0.0.1:1"] if screen else [])
    assert ("no browser to open here" in told.err) is not bool(screen)


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_a_missing_extra_is_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> object:
        return None if name == package else object()

    monkeypatch.setattr(serve_verb.importlib.util, "find_spec", find)  # type: ignore[attr-defined]
    with pytest.raises(MissingExtraError, match=rf"needs the package '{package}'.*glassgpt\[serve\]"):
        serve_verb.run([])


def shelf_of(place: str | None) -> Shelf:
    return Shelf(place, slots=1, queue=1, device="cpu", weights="fp32")


def test_models_are_named_after_their_runs_and_read_at_first_use(at_home: Path) -> None:
    for place, name in [
        (None, "book"),
        ("runs", "book"),
        ("runs/book", "book"),
        ("runs/book/best.safetensors", "best"),
    ]:
        shelf = shelf_of(place)
        assert list(shelf.found()) == ([name] if name == "best" else [name, "book@last"])
        assert shelf.loaded() == []
        assert shelf.take(name) is shelf.take(name)
        assert [served.name for served in shelf.loaded()] == [name]


def use(place: str) -> None:
    shelf = shelf_of(place)
    shelf.take(next(iter(shelf.found())))


@pytest.mark.parametrize("place", ["nowhere", "book.txt", "empty"])
def test_where_no_run_is_there_is_one_line(at_home: Path, place: str) -> None:
    (at_home / "empty").mkdir(exist_ok=True)
    with pytest.raises((RunError, CheckpointError)):
        use(place)


def test_a_step_that_goes_wrong_ends_its_requests_and_not_the_server(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(home / "runs") as server:
        (served,) = server.desk.shelf.loaded()
        advance: Callable[[], None] = served.engine.slots.advance

        def fail() -> None:
            raise RuntimeError("can't allocate memory: 1 TB")

        monkeypatch.setattr(served.engine.slots, "advance", fail)
        status, _, body = server.complete()
        assert (status, body["error"]["message"]) == (500, "out of memory; ask for less")
        monkeypatch.setattr(served.engine.slots, "advance", advance)
        assert server.complete(max_tokens=1)[0] == 200


def test_steps_that_wait_already_come_as_one_and_a_failure_after_them() -> None:
    nobody: Any = None
    pending = Pending(nobody, nobody, Request(ticket=1, prompts=[[1]] * 5, settings=SamplingConfig()))
    steps: list[EngineEvent] = [PromptRead(ticket=1, sample=sample, finished=True) for sample in range(4)]
    for step in [*steps, Failed(ticket=1, problem=DataError("no memory"))]:
        pending.put([step])
    heard: list[list[EngineEvent]] = []

    async def hear() -> None:
        async for bundle in pending.bundles():
            heard.append(bundle)

    with pytest.raises(DataError, match="no memory"):
        asyncio.run(hear())
    assert heard == [steps]
