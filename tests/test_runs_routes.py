"""What the server tells of runs: as they are, damaged ones too, and while they grow before somebody who listens."""

from __future__ import annotations

import http.client
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from glassgpt.lab import story
from glassgpt.runs import RunFolder
from glassgpt.serve import story as routes
from glassgpt.serve import watch
from glassgpt.serve.limits import Limits
from served import Running, serving, wait_until

HEADER = "step,tokens,seconds,train_loss,val_loss,learning_rate,gradient_norm,tokens_per_s,mfu,floor\n"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks often and reads at once."""
    monkeypatch.setattr(watch, "LOOK_S", 0.04)
    monkeypatch.setattr(watch, "TURN_S", 0.02)
    monkeypatch.setattr(watch, "SHARE", 1e6)


@pytest.fixture
def runs(home: Path, tmp_path: Path) -> Path:
    shutil.copytree(home / "runs" / "book", tmp_path / "runs" / "book")
    return tmp_path / "runs"


@pytest.fixture
def running(runs: Path) -> Iterator[Running]:
    with serving(runs, preload=None) as server:
        yield server


def row(step: int, loss: float = 2.5, val: str = "") -> str:
    return f"{step},{step * 64},{step / 10},{loss},{val},0.01,0.5,1000.5,,\n"


def begin(runs: Path, name: str, steps: int = 3) -> RunFolder:
    """A run that has logged something and saved nothing yet."""
    folder = RunFolder(runs / name)
    folder.path.mkdir()
    folder.config.write_bytes((runs / "book" / "config.yaml").read_bytes())
    folder.log.write_text(HEADER + "".join(row(step) for step in range(1, steps + 1)))
    return folder


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


class Listener:
    """A client that follows, and reads event by event."""

    def __init__(self, running: Running, query: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        self.connection.request("GET", f"/glass/follow?{query}")
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def lines(self) -> Iterator[str]:
        while line := self.response.readline():
            yield line.decode().rstrip("\n")

    def next(self, kind: str, holds: Callable[[Any], bool] = lambda _: True) -> Any:
        for line in self.lines():
            if line.startswith("data: ") and (event := json.loads(line[6:]))["kind"] == kind and holds(event):
                return event
        raise AssertionError(f"the stream ended before {kind!r}")

    def leave(self) -> None:
        self.connection.close()
        self.response.close()


def test_every_run_is_listed_the_newest_first_and_tells_what_it_knows(running: Running, runs: Path) -> None:
    assert [run["name"] for run in running.ask("GET", "/glass/runs")[2]["runs"]] == ["book"]
    folder = begin(runs, "later")
    status, _, told = running.ask("GET", "/glass/runs")
    assert status == 200
    assert [run["name"] for run in told["runs"]] == ["later", "book"]
    assert told["runs"][0] == story.summary_of(folder)
    assert told["runs"][1]["best"]["val_loss"] > 0


def test_one_run_tells_its_whole_story(running: Running, runs: Path) -> None:
    status, _, told = running.ask("GET", "/glass/runs/book")
    folder = RunFolder(runs / "book")
    assert status == 200
    assert told["problems"] == []
    assert told["columns"] == story.columns_of(story.log_of(folder))
    assert told["samples"] == story.samples_of(folder) != []
    assert told["references"] == story.references_of(folder)
    assert [{k: v for k, v in each.items() if k != "group"} for each in told["settings"]] == story.settings_of(folder)
    assert {"group": "model", "name": "d_model", "value": 16, "origin": "flag"}.items() <= next(
        each.items() for each in told["settings"] if each["name"] == "d_model"
    )
    assert {each["group"] for each in told["settings"]} == {"model", "data", "training", "run"}


NO_RUNS = ["bock", "..", "../runs/book", "book/", "/etc/passwd", "book\0", "<b>book</b>", ".", "book@last"]


def test_a_run_that_is_none_is_one_line(running: Running) -> None:
    for name in NO_RUNS:
        status, _, body = running.ask("GET", f"/glass/runs/{quote(name, safe='')}")
        assert status == 404
        assert "\n" not in body["error"]["message"]
        status, _, body = running.ask("GET", f"/glass/follow?run=book&run={quote(name, safe='')}")
        assert status == 404
        assert body["error"]["message"].startswith("there is no run ")


def test_what_nobody_can_follow_is_refused(running: Running) -> None:
    for query in ("from=1", "run=book&from=x", "run=book&from=nan", "&".join(["run=book"] * 17)):
        assert running.ask("GET", f"/glass/follow?{query}")[0] == 400, query


def test_a_listener_hears_each_new_row_once(running: Running, runs: Path) -> None:
    folder = begin(runs, "young")
    listener = Listener(running, "run=young&from=2")
    first = listener.next("rows")
    assert (first["run"], first["from_step"], first["columns"]["step"]) == ("young", 2, [3])
    append(folder.log, row(4, val="nan") + row(5, 2.25, "2.3") + "6,384,0.6,2.")  # the last is still being written
    second = listener.next("rows")
    assert (second["from_step"], second["columns"]["step"]) == (3, [4, 5])
    assert second["columns"]["val_loss"] == [None, 2.3]
    append(folder.log, "125,,0.01,0.5,1000.5,,\n")
    third = listener.next("rows")
    assert (third["from_step"], third["columns"]["train_loss"]) == (5, [2.125])
    heard = {name: first["columns"][name] + second["columns"][name] + third["columns"][name] for name in ("step",)}
    assert heard["step"] == story.columns_of(story.log_of(folder))["step"][2:]
    listener.leave()


def test_a_log_that_begins_anew_is_told_whole(running: Running, runs: Path) -> None:
    folder = begin(runs, "young", steps=9)
    listener = Listener(running, "run=young&from=1000")  # a step that it does not have
    assert listener.next("rows")["from_step"] == 0
    folder.log.write_text(HEADER + row(1, 9.5) + row(2, 9.25))  # --overwrite
    anew = listener.next("rows")
    assert (anew["from_step"], anew["columns"]["train_loss"]) == (0, [9.5, 9.25])
    append(folder.log, row(3, 9.0))
    assert listener.next("rows")["from_step"] == 2
    folder.log.unlink()
    assert listener.next("rows") == {"kind": "rows", "run": "young", "from_step": 0, "columns": {"step": []}}
    listener.leave()


def test_samples_and_summaries_arrive_as_they_are_written(running: Running, runs: Path) -> None:
    folder = begin(runs, "young")
    listener = Listener(running, "run=young&from=3")
    listener.next("runs")
    append(folder.samples, "=== step 2 ===\nThe olw\n\n")
    assert listener.next("samples")["samples"] == [{"step": 2, "text": "The olw"}]
    append(folder.samples, "=== step 4 ===\nThe owl\n\n")
    append(folder.log, row(4, val="2.0"))
    heard = listener.next("samples", lambda event: event["samples"])
    assert (heard["from_step"], heard["samples"]) == (2, [{"step": 4, "text": "The owl"}])
    append(folder.log, row(5))
    summary = listener.next("summary", lambda event: event["summary"]["step"] == 5)
    assert summary["run"] == "young"
    assert summary["summary"]["best"] == {"step": 4, "val_loss": 2.0}
    listener.leave()


def test_runs_that_begin_and_go_are_heard_of(running: Running, runs: Path) -> None:
    listener = Listener(running, "run=book")
    assert [run["name"] for run in listener.next("runs")["runs"]] == ["book"]
    begin(runs, "later")
    assert {run["name"] for run in listener.next("runs")["runs"]} == {"book", "later"}
    assert running.ask("GET", "/glass/runs/later")[0] == 200
    assert running.ask("GET", "/v1/models/later")[0] == 404  # there is nothing to write with yet
    shutil.rmtree(runs / "later")
    shutil.rmtree(runs / "book")
    while listener.next("runs")["runs"]:
        pass
    assert running.ask("GET", "/glass/runs")[2] == {"runs": []}
    assert running.ask("GET", "/glass/runs/book")[0] == 404
    listener.leave()


def put_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


HARMLESS = {
    "half a log",
    "zeros",
    "infinities",
    "no log",
    "samples: no text",
    "config: empty",
}  # told as far as it goes
DAMAGE: dict[str, Callable[[RunFolder], object]] = {
    "half a log": lambda run: run.log.write_text(HEADER + row(1) + "2,12"),
    "no header": lambda run: run.log.write_text("step,tok"),
    "words": lambda run: run.log.write_text(HEADER + "one,two\n"),
    "zeros": lambda run: run.log.write_bytes(HEADER.encode() + bytes(4096)),
    "no text": lambda run: run.log.write_bytes(b"\xff\xfe" * 50 + b"\n"),
    "infinities": lambda run: run.log.write_text(HEADER + "1,64,inf,nan,-inf,nan,inf,nan,,nan\n"),
    "a folder": lambda run: put_folder(run.log),
    "no log": lambda run: run.log.unlink(),
    "config: no YAML": lambda run: run.config.write_text("{[: no"),
    "config: foreign": lambda run: run.config.write_text("n_heads: 7\nbeauty: 1\n"),
    "config: empty": lambda run: run.config.write_bytes(b""),
    "samples: no text": lambda run: run.samples.write_bytes(b"=== step 3 ===\n\xff\xfe\n"),
    "samples: a folder": lambda run: put_folder(run.samples),
    "eval: no JSON": lambda run: (run.path / "eval.json").write_text('{"evaluations": [{"step": NaN'),
}


def test_a_damaged_run_is_told_of_and_never_an_error_of_the_server(running: Running, runs: Path) -> None:
    for number, harm in enumerate(DAMAGE.values()):
        harm(begin(runs, f"run-{number}"))
    status, _, told = running.ask("GET", "/glass/runs")
    assert status == 200
    found = {run["name"]: run for run in told["runs"]}
    assert found.keys() == {"book", *(f"run-{number}" for number in range(len(DAMAGE)))}
    for number, what in enumerate(DAMAGE):
        status, _, whole = running.ask("GET", f"/glass/runs/run-{number}")
        assert status == 200, what
        lines = [*whole["problems"], found[f"run-{number}"].get("problem", "")]
        assert not any("\n" in line for line in lines), what
        assert any(lines) is (what not in HARMLESS), what
    listener = Listener(running, "&".join(f"run=run-{number}" for number in range(len(DAMAGE))))
    assert len(listener.next("runs")["runs"]) == len(DAMAGE) + 1
    listener.leave()


def test_what_a_log_says_beyond_all_numbers_is_nothing(running: Running, runs: Path) -> None:
    DAMAGE["infinities"](begin(runs, "odd"))
    columns = running.ask("GET", "/glass/runs/odd")[2]["columns"]
    assert columns["step"] == [1]
    assert all(columns[name] == [None] for name in ("seconds", "train_loss", "val_loss", "floor"))


def test_many_who_follow_share_one_look_and_further_ones_are_refused(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(runs, "young")
    reads: list[RunFolder] = []
    read = watch.rows_of

    def counted(run: RunFolder) -> dict[str, list[Any]]:
        reads.append(run)
        return read(run)

    monkeypatch.setattr(watch, "rows_of", counted)
    with serving(runs, preload=None, limits=Limits(followers=64)) as running:
        before = open_files()
        listeners = [Listener(running, "run=young&from=3") for _ in range(70)]
        assert sorted(listener.status for listener in listeners) == [200] * 64 + [429] * 6
        those = [listener for listener in listeners if listener.status == 200]
        for listener in those:
            listener.next("runs")
        count = len(reads)
        append(folder.log, row(4))
        for listener in those:
            assert listener.next("rows")["columns"]["step"] == [4]
        assert len(reads) == count + 1
        for listener in listeners:
            listener.leave()
        wait_until(lambda: open_files() <= before)


def open_files() -> int:
    """Of this process, where the system tells."""
    place = Path("/proc/self/fd")
    return len(list(place.iterdir())) if place.is_dir() else 0


def test_a_server_that_is_stopped_lets_its_followers_go(running: Running) -> None:
    listener = Listener(running, "run=book")
    listener.next("runs")
    running.desk.draining = True
    assert all(line.startswith(("data: ", ": ")) or not line for line in listener.lines())  # which end
    listener.leave()
    assert running.ask("GET", "/glass/follow")[0] == 503


def test_where_nothing_happens_the_connection_is_kept_alive(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "HEARTBEAT_S", 0.05)
    listener = Listener(running)
    assert next(line for line in listener.lines() if line == ": still here")
    listener.leave()


def test_what_takes_long_to_read_is_read_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    now, worked = [0.0], [0.0]
    monkeypatch.setattr(watch, "SHARE", 0.005)
    monkeypatch.setattr(watch, "LOOK_S", 1.0)
    monkeypatch.setattr("glassgpt.serve.watch.time.monotonic", lambda: now[0])
    monkeypatch.setattr("glassgpt.serve.watch.time.thread_time", lambda: worked[0])

    def read() -> float:
        now[0] += 0.5  # of which it waited four fifths for others: they are not its work
        worked[0] += 0.1
        return now[0]

    reading = watch.Reading(None)
    times = 0
    for second in range(1000):
        now[0] = max(now[0], float(second))
        times += reading.renew((second,), read)
    assert 0.1 * times <= 0.0055 * 1000
    assert times >= 30
    assert math.isfinite(reading.value)


def test_who_looks_while_a_file_has_just_begun_anew_is_told_it_whole() -> None:
    run = watch.Watched("young", RunFolder(Path("young")))  # its values are new, and its age is still the old one
    run.rows.reading = watch.Reading({"step": [1, 2]}, stamp=())
    run.samples.reading = watch.Reading([{"step": 1, "text": "a"}], stamp=())
    place = routes.Place("young", 0, rows=(0, 9), samples=(0, 9))
    rows, samples = place.news(run)
    assert (rows["from_step"], rows["columns"]) == (0, {"step": [1, 2]})
    assert (samples["from_step"], len(samples["samples"])) == (0, 1)


def test_what_nobody_follows_any_more_is_not_kept(runs: Path) -> None:
    run = watch.Watched("young", begin(runs, "young"))
    run.look(whole=True)
    assert len(run.rows.reading.value["step"]) == 3
    age = run.rows.age
    run.look(whole=False)
    assert run.rows.reading.value == {"step": []}
    run.look(whole=True)
    assert len(run.rows.reading.value["step"]) == 3
    assert run.rows.age > age  # of two who follow one after the other, none takes the other's place for its own


def test_a_reading_counts_as_read_when_its_value_is_there() -> None:
    reading = watch.Reading(watch.NO_ROWS)
    seen: list[bool] = []

    def read() -> dict[str, list[int]]:
        seen.append(reading.was_read)
        return {"step": [1]}

    reading.renew((1,), read)
    assert (seen, reading.was_read, reading.value) == ([False], True, {"step": [1]})
