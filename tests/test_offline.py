"""No network is used at run time but by what is named for it: a text to be downloaded, the hub, Weights & Biases.

Thirty students in a room without one must notice nothing. A hook of the interpreter sees every attempt to connect or
to look up a name, refuses what is not this machine itself, and keeps a list; under it run tests, and a newcomer's day.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICK = (
    "rope", "reading", "files", "runs", "token_cache",
)  # fmt: skip
SLOW = (
    "bpe",
    "checkpoint",
    "dropout",
    "evaluate",
    "sampling",
    "model",
    "tokenizer",
    "tales",
    "training",
    "resume",
    "integration",
    "cli",
    "library",
    "plot",
    "exam",
    "bigram",
    "lean",
)
NETWORK = {"urllib", "http", "socket", "ssl", "ftplib", "smtplib", "socketserver", "asyncio", "requests", "httpx",
           "aiohttp", "urllib3", "datasets", "huggingface_hub", "wandb", "fsspec"}  # fmt: skip
NAMED_FOR_IT = {
    "data.answer": {"http", "urllib"},  # asks a server for a text; `data.download` gathers what comes
    "data.hub": {"datasets", "huggingface_hub", "urllib"},  # hf:NAME
    "lab.track": {"wandb"},  # --wandb
    "lab.study": {"socket"},  # gethostname: which machine has a trial in hand
    # Serving listens, and asks nobody.
    "cli.serve": {"socket"},
    "serve.api": {"asyncio"},
    "serve.desk": {"asyncio"},
    "serve.glass": {"asyncio"},
    "serve.guard": {"urllib", "asyncio"},
    "serve.worker": {"asyncio"},
    "serve.server": {"socket", "asyncio"},
    "serve.story": {"asyncio"},
    "serve.watch": {"asyncio"},
}
GUARD = """
import sys

def _watch(place):
    def own(host):
        name = str(host or "").strip("[]")
        return name in {"", "localhost", "0.0.0.0", "::", "::1"} or name[:4] == "127."

    def host_of(event, arguments):
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            address = arguments[1]
            return address[0] if isinstance(address, tuple) else None  # a path: a unix socket
        if event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}:
            host = arguments[0]
            return host.decode() if isinstance(host, bytes) else host
        return None

    def hook(event, arguments):
        if event[:7] == "socket." and not own(host := host_of(event, arguments)):
            with open(place, "a", encoding="utf-8") as record:
                record.write(f"{event} {host}\\n")
            raise OSError(101, "the network is cut off")

    sys.addaudithook(hook)

_watch(RECORD)
"""
DAY = """
import sys
from glassgpt.cli.main import main
for line in (
    "train tales:20KB --eval-every 0 --sample-every 0 --d-model 32 --n-heads 2 --n-layers 1",
    "sample --max-new-tokens 9", "eval --stories 1", "info", "info --config", "data list", "tokenizer show Once",
):
    if main(line.split()):
        sys.exit(line)
"""


def cut_off(
    folder: Path, code: str, *arguments: str, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What a process under the hook said, and the attempts that it made. Processes that it starts are watched too,
    where they find their modules as it does."""
    record = folder / "attempts.txt"
    guard = GUARD.replace("_watch(RECORD)", f"_watch({str(record)!r})")
    (folder / "guard").mkdir(exist_ok=True)
    (folder / "guard" / "sitecustomize.py").write_text(guard, encoding="utf-8")
    paths = os.pathsep.join([str(folder / "guard"), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8",
        timeout=1200, check=False, env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip
    return done, record.read_text(encoding="utf-8").splitlines() if record.is_file() else []


def run_tests(folder: Path, names: Sequence[str]) -> None:
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in names]
    options = [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        f"--rootdir={ROOT}",
        f"--basetemp={folder / 'base'}",
    ]
    code = f"import os, sys, pytest; os.chdir({str(ROOT)!r}); sys.exit(pytest.main(sys.argv[1:]))"
    done, attempts = cut_off(folder, code, *options, *files)
    assert attempts == []
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout or "[100%]" in done.stdout


def test_many_files_of_tests_pass_without_a_network_and_none_asks_for_one(tmp_path: Path) -> None:
    run_tests(tmp_path, QUICK)


@pytest.mark.slow
def test_the_core_passes_without_a_network_and_none_asks_for_one(tmp_path: Path) -> None:
    run_tests(tmp_path, SLOW)


def test_a_newcomers_day_opens_no_connection_whatever_is_installed(tmp_path: Path) -> None:
    done, attempts = cut_off(tmp_path, DAY, GLASSGPT_MAX_STEPS="2", GLASSGPT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert attempts == []
    assert (tmp_path / "runs" / "tales" / "best.safetensors").is_file()


@pytest.mark.parametrize(
    ("code", "attempt"),
    [
        ("import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)", "socket.getaddrinfo 192.0.2.1"),
        ("import socket; socket.socket().connect(('192.0.2.1', 80))", "socket.connect 192.0.2.1"),
        ("import socket; socket.gethostbyname('example.org')", "socket.gethostbyname example.org"),
        ("import urllib.request; urllib.request.urlopen('http://example.org')", "socket.getaddrinfo example.org"),
        ("import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'', ('192.0.2.1', 53))",
         "socket.sendto 192.0.2.1"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-c', 'import socket; "
         "socket.gethostbyname(\"example.org\")'], check=True)", "socket.gethostbyname example.org"),
    ],
)  # fmt: skip
def test_the_cut_is_a_real_one(code: str, attempt: str, tmp_path: Path) -> None:
    done, attempts = cut_off(tmp_path, code)
    assert done.returncode != 0
    assert attempts == [attempt]


def test_the_machine_itself_can_be_reached_all_the_same(tmp_path: Path) -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(s.getsockname(), timeout=5); socket.getaddrinfo('localhost', 80)"
    )
    done, attempts = cut_off(tmp_path, code)
    assert done.returncode == 0, done.stderr
    assert attempts == []


def network_of(file: Path) -> Iterator[str]:
    """The modules for networks that a file takes, be it only to take an address apart."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [str(word.value) for word in node.args if isinstance(word, ast.Constant)]
        yield from (name.split(".")[0] for name in names if name.split(".")[0] in NETWORK)


def test_only_the_files_named_for_it_know_of_a_network() -> None:
    files = [*(ROOT / "src" / "glassgpt").rglob("*.py"), *ROOT.glob("*.py")]
    names = {".".join(file.with_suffix("").parts[-2:]): file for file in files}
    assert {name: used for name, file in names.items() if (used := set(network_of(file)))} == NAMED_FOR_IT
