r"""What becomes of a training whose checkpoint finds no room: `glassgpt train`, in a process with real limits.

    python benchmarks/full_disk.py

One file may not grow larger than so much (ulimit -f), or a whole file system is full (a small one in memory, where
mounting is allowed). Then there is room again, and `--resume` must end with the bits of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # it starts itself, within smaller bounds

from accidents.disturbed import SIZES, TEXTS, a_world, living_in
from accidents.disturbed_runs import FOLDER
from glassgpt.cli.main import main as glassgpt_command
from glassgpt.files import drafts_in
from glassgpt.recovery import find_state

PAGE = 4096
SAID = re.compile(
    r"glassgpt: \S*last\.safetensors: .*it needs ([\d,]+) bytes, and ([\d,]+) (?:bytes )?are free; make room.*\n"
)
STATES_STEP = 4  # the run ends with step 6, and the state of that one is larger by some bytes of its history


def try_both() -> dict[str, list[str] | str]:
    """Of each way what went wrong; or, as a text, why it could not be tried."""
    with tempfile.TemporaryDirectory() as place:
        small = Path(place) / "small"
        small.mkdir()
        command = [sys.executable, __file__, place]
        mounting = f'mount -t tmpfs -o size=1m none "{small}" && exec "$@"'
        apart = ["unshare", "-rm", "sh", "-c", mounting, "sh"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            if (
                shutil.which("unshare")
                and not subprocess.run([*apart, "true"], check=False, capture_output=True).returncode
            ):
                command = [*apart, *command]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            return {"it": [done.stderr.strip()[-500:]]}
        answer: dict[str, list[str] | str] = json.loads(done.stdout.splitlines()[-1])
        return answer


def in_this_process(place: Path) -> dict[str, list[str] | str]:
    with a_world(place):
        whole = place / "whole"
        whole.mkdir()
        flags = {"data": [str(place / next(iter(TEXTS)))], "out": str(FOLDER.path)}
        (place / "run.yaml").write_text(json.dumps(SIZES | flags), encoding="utf-8")  # JSON is YAML too
        with living_in(whole, place):
            code, said = _typed("train", "--config", str(place / "run.yaml"))
            assert code == 0, said
            limit = FOLDER.previous.stat().st_size
        answer: dict[str, list[str] | str] = {
            "a limit for one file": _tried(place, place / "limited", lambda: _limited(limit))
        }
        if os.path.ismount(place / "small"):
            answer["a full disk"] = _tried(place, place / "small", _crowded)
        else:
            answer["a full disk"] = "mounting a small file system is not permitted here"
    return answer


def _tried(place: Path, home: Path, tight: Callable[[], contextlib.AbstractContextManager[object]]) -> list[str]:
    home.mkdir(exist_ok=True)
    with living_in(home, place):
        with tight():
            code, said = _typed("train", "--config", str(place / "run.yaml"))
        wrong = [] if code == 2 else [f"exit code {code}"]
        figures = SAID.fullmatch(said)
        if figures is None or int(figures[1].replace(",", "")) <= FOLDER.previous.stat().st_size - PAGE:
            wrong.append(f"said {said!r}")
        if drafts_in(FOLDER.path):
            wrong.append("a draft stays")
        step = find_state(FOLDER.path).checkpoint.step
        if step != STATES_STEP:
            wrong.append(f"step {step} was found")
        code, said = _typed("train", "--resume", str(FOLDER.path))
        if code:
            wrong.append(f"resuming it ended with {code}: {said!r}")
        names = (FOLDER.last, FOLDER.best, FOLDER.log, FOLDER.samples)
        whole = place / "whole"
        return wrong + [f"{name} is not the same" for name in names if name.read_bytes() != (whole / name).read_bytes()]


def _typed(*words: str) -> tuple[int, str]:
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        code = glassgpt_command(words)
    return code, err.getvalue()


@contextlib.contextmanager
def _limited(size_bytes: int) -> Iterator[None]:
    """No file may grow larger; the system says EFBIG."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def _crowded() -> Iterator[None]:
    """Room for two states and two best ones, and not for a third state."""
    last, best = ((Path("../whole") / name).stat().st_size for name in (FOLDER.last, FOLDER.best))
    room = (
        2 * _pages(last) + 2 * _pages(best) + 6
    )  # the configuration, the log, the samples, and a draft of one of them
    free = shutil.disk_usage(".").free
    Path("ballast").write_bytes(bytes(free - room * PAGE))
    try:
        yield
    finally:
        Path("ballast").unlink()


def _pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGE)


def main() -> int:
    if len(sys.argv) == 2 and Path(sys.argv[1]).is_dir():
        print(json.dumps(in_this_process(Path(sys.argv[1]))))
        return 0
    answer = try_both()
    for way, wrong in answer.items():
        print(f"{way}: {wrong if isinstance(wrong, str) else '; '.join(wrong) or 'as promised'}")
    return 1 if any(isinstance(wrong, list) and wrong for wrong in answer.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
