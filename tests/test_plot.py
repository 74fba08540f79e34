"""Pictures of runs: whole, quiet, and drawn from whatever a killed run left."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.image import imread

from glassgpt.errors import RunError
from glassgpt.lab.plot import COLOURS, draw_loss, plot_runs, read_log, smooth

HEADER = "step,tokens,seconds,train_loss,val_loss,learning_rate,gradient_norm,tokens_per_s,mfu"


def line(step: int, *, val_loss: str = "") -> str:
    return f"{step},{step * 512},{step * 0.1:.1f},{0.4 + 4 / (1 + step):.4f},{val_loss},0.001,0.5,5120,"


def write_log(folder: Path, *lines: str, end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.csv"
    log.write_text("\n".join([HEADER, *lines]) + end, encoding="utf-8")
    return log


def shows(picture: Path, colour: str) -> bool:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    pixels = (imread(picture)[..., :3] * 255).round()
    return bool((pixels == (red, green, blue)).all(axis=-1).any())


def test_a_run_becomes_one_picture_with_both_losses_in_their_colours(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run", *(line(step, val_loss="1.0" if step % 20 == 0 else "") for step in range(60)))
    draw_loss(log, tmp_path / "loss.png")
    assert all(shows(tmp_path / "loss.png", colour) for colour in COLOURS[:2])
    assert not shows(tmp_path / "loss.png", COLOURS[2])


def test_the_floor_is_drawn_from_the_argument_or_from_the_logs_own_column(tmp_path: Path) -> None:
    lines = [line(step) for step in range(50)]
    log = write_log(tmp_path / "run", *lines)
    draw_loss(log, tmp_path / "bare.png")
    draw_loss(log, tmp_path / "argument.png", floor=0.36)
    log.write_text("\n".join([f"{HEADER},floor", *(f"{text},0.36" for text in lines)]) + "\n", encoding="utf-8")
    draw_loss(log, tmp_path / "column.png")
    assert (tmp_path / "column.png").read_bytes() == (tmp_path / "argument.png").read_bytes()
    assert (tmp_path / "column.png").read_bytes() != (tmp_path / "bare.png").read_bytes()


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run", *(line(step) for step in range(5)))
    pictures = []
    for name in ("one.png", "two.png"):
        draw_loss(log, tmp_path / name)
        pictures.append((tmp_path / name).read_bytes())
    assert pictures[0] == pictures[1]


def test_several_runs_share_each_of_four_pictures(tmp_path: Path) -> None:
    logs = [write_log(tmp_path / name, *(line(step) for step in range(9))) for name in ("a", "b/run", "c/run")]
    pictures = plot_runs(logs, tmp_path / "plots")
    assert [path.name for path in pictures] == ["loss.png", "learning_rate.png", "gradient_norm.png", "throughput.png"]
    for picture in pictures:
        assert shows(picture, COLOURS[2])  # the third run's, drawn last


@pytest.mark.parametrize("name", ["_hidden", "$x_1$", "a & b", "学校"])
def test_a_run_may_be_called_anything(tmp_path: Path, name: str) -> None:
    logs = [write_log(tmp_path / name, *(line(step) for step in range(9)))]
    draw_loss(logs[0], tmp_path / "loss.png")
    assert len(plot_runs(logs, tmp_path / "plots")) == 4


@pytest.mark.parametrize("lines", [[], [line(0)], [line(0, val_loss="4.1")]])
def test_the_first_moments_of_a_run_can_be_plotted(tmp_path: Path, lines: list[str]) -> None:
    log = write_log(tmp_path / "run", *lines)
    draw_loss(log, tmp_path / "loss.png")
    plot_runs([log], tmp_path / "plots")
    assert imread(tmp_path / "loss.png").shape == imread(tmp_path / "plots" / "loss.png").shape


def test_a_line_cut_by_a_kill_does_not_count_wherever_it_was_cut(tmp_path: Path) -> None:
    whole = [line(1), line(2)]
    for length in range(len(line(3)) + 1):  # even all of it: the number may have gone on
        log = write_log(tmp_path / "run", *whole, line(3)[:length], end="")
        assert read_log(log).columns["step"] == [1, 2]


def test_a_resumed_run_overwrites_the_steps_that_it_took_again(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run", line(10), line(20), line(30), line(20, val_loss="2.5"), line(30))
    assert read_log(log).columns["step"] == [10, 20, 30]
    assert read_log(log).points("val_loss") == ([20], [2.5])


def test_a_loss_that_is_no_number_leaves_a_gap_and_no_warning(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run", line(1), "2,1024,0.2,nan,inf,0.001,nan,5120,", line(3))
    draw_loss(log, tmp_path / "loss.png")
    assert read_log(log).points("train_loss")[0] == [1, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its first line names no column 'step'"),
        (b"epoch,loss\n1,2\n", "its first line names no column 'step'"),
        (b"step,train_loss\n1,2\n2,banana\n", "line 3: '2,banana' is not one number for each column"),
        (b"step,train_loss\n1\n", "line 2: '1' is not one number for each column"),
        (b"step,train_loss\n,2\n", "line 2: step=nan is no step"),
        (b"\x89PNG\r\n\xff", "cannot be read"),
        (b"step,train_loss\n1,\x00\n", "is not one number for each column"),
        (b'step,train_loss\n1,"2\n', "is not one number for each column"),
    ],
)
def test_a_damaged_log_is_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    log = tmp_path / "log.csv"
    log.write_bytes(content)
    with pytest.raises(RunError) as caught:
        draw_loss(log, tmp_path / "loss.png")
    assert message in str(caught.value)
    assert str(log) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "loss.png").exists()


def test_a_missing_log_and_no_log_at_all_say_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"there is no log .*; name a run"):
        draw_loss(tmp_path / "log.csv", tmp_path / "loss.png")
    with pytest.raises(RunError, match="name at least one run"):
        plot_runs([], tmp_path)


def test_smoothing_keeps_a_straight_line_and_calms_a_noisy_one() -> None:
    straight = [0.5 * place for place in range(200)]
    assert smooth(straight)[:-10] == pytest.approx(straight[:-10])
    noisy = [(-1) ** place for place in range(200)]
    assert max(abs(value) for value in smooth(noisy)[40:]) < 0.2
    assert smooth([]) == []
    assert math.isclose(smooth([3.0])[0], 3.0)


def test_drawing_leaves_matplotlibs_global_state_alone(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run", line(1), line(2))
    program = (
        "import sys; from pathlib import Path; import matplotlib; before = matplotlib.rcParams.copy()\n"
        "from glassgpt.lab.plot import draw_loss; draw_loss(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules; assert matplotlib.rcParams.copy() == before\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(log), str(tmp_path / "loss.png")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
