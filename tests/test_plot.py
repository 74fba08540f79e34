"""Pictures of runs: whole, quiet, and drawn from whatever a killed run left."""

from __future__ import annotations

import html
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from glassgpt.cli.main import main
from glassgpt.cli.plot import _home
from glassgpt.errors import RunError
from glassgpt.lab.logs import read_log, read_logs
from glassgpt.lab.panels import COLOURS, GREY, INK, Look, draw_panel, smooth
from glassgpt.lab.plot import draw_loss, plot_runs

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


def rows_of(picture: Path, colour: str) -> int:
    """The most pixels of a colour in one row: a line across the picture has many."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    pixels = (imread(picture)[..., :3] * 255).round()
    return int((pixels == (red, green, blue)).all(axis=-1).sum(axis=1).max())


def test_a_run_becomes_one_picture_with_both_losses_in_their_colours(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run", *(line(step, val_loss="1.0" if step % 20 == 0 else "") for step in range(60)))
    draw_loss(log, tmp_path / "loss.png")
    assert all(shows(tmp_path / "loss.png", colour) for colour in COLOURS[:2])
    assert not shows(tmp_path / "loss.png", COLOURS[2])


def test_the_floor_is_drawn_where_the_log_has_it_and_references_where_they_are_given(tmp_path: Path) -> None:
    lines = [line(step) for step in range(50)]
    log = write_log(tmp_path / "run", *lines)
    draw_loss(log, tmp_path / "bare.png")
    plot_runs([log], tmp_path / "reference", Look(references={"theirs": 0.5}))
    assert shows(tmp_path / "reference" / "loss.png", GREY)
    log.write_text("\n".join([f"{HEADER},floor", *(f"{text},0.36" for text in lines)]) + "\n", encoding="utf-8")
    draw_loss(log, tmp_path / "floor.png")
    assert rows_of(tmp_path / "floor.png", INK) > rows_of(tmp_path / "bare.png", INK)


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    log = write_log(tmp_path / "run", *(line(step, val_loss="1") for step in range(5)))
    for kind in ("png", "svg"):
        once, twice = (tmp_path / f"{name}.{kind}" for name in ("once", "twice"))
        draw_loss(log, once)
        draw_loss(log, twice)
        assert once.read_bytes() == twice.read_bytes()


def test_several_runs_share_each_of_the_pictures(tmp_path: Path) -> None:
    logs = [write_log(tmp_path / name, *(line(step) for step in range(9))) for name in ("a", "b/run", "c/run")]
    pictures = plot_runs(logs, tmp_path / "plots")
    assert [path.stem for path in pictures] == ["loss", "learning_rate", "gradient_norm", "throughput", "curves"]
    for picture in pictures:
        assert shows(picture, COLOURS[2])  # the third run's, drawn last


def test_more_runs_than_colours_still_differ(tmp_path: Path) -> None:
    logs = [write_log(tmp_path / str(name), line(1), line(2)) for name in range(len(COLOURS) + 2)]
    axes = Figure().add_subplot()
    draw_panel(axes, "throughput", read_logs(logs), Look())
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == len(logs)


def test_labels_are_as_short_as_they_can_be_and_tell_the_logs_apart(tmp_path: Path) -> None:
    names = ["a/run", "b/run", "c"]
    logs = [write_log(tmp_path / name, line(1)) for name in names]
    copy = tmp_path / "training.csv"
    copy.write_bytes(logs[0].read_bytes())
    assert [log.label for log in read_logs([*logs, copy, logs[2]])] == ["a/run", "b/run", "c", "training"]
    long = write_log(tmp_path / ("x" * 100), line(1))
    assert len(read_logs([long])[0].label) < 50


@pytest.mark.parametrize("x", ["step", "tokens", "seconds"])
def test_curves_run_over_steps_tokens_or_time(tmp_path: Path, x: str) -> None:
    log = write_log(tmp_path / "run", line(5), line(9, val_loss="1.5"), line(20, val_loss="2.5"))
    places = {"step": [5.0, 9.0, 20.0], "tokens": [2560.0, 4608.0, 10240.0], "seconds": [0.5, 0.9, 2.0]}
    assert read_log(log).points("train_loss", x)[0] == places[x]
    assert read_log(log).best(x) == (places[x][1], 1.5)
    axes = Figure().add_subplot()
    draw_panel(axes, "loss", [read_log(log)], Look(x=x))
    assert axes.get_xlabel() == {"step": "step", "tokens": "tokens read", "seconds": "seconds of training"}[x]
    assert axes.get_lines()[0].get_xdata().tolist() == places[x]  # type: ignore[union-attr]


def test_a_run_drawn_into_its_own_folder_gets_the_picture_that_it_has(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(home / "runs" / "book", "runs/book")
    picture = Path("runs/book/loss.png")
    before = picture.read_bytes()
    assert main(["plot"]) == 0
    assert str(picture) in capsys.readouterr().out
    assert picture.read_bytes() == before
    assert main(["plot", "--smooth", "0"]) == 0  # another picture does not take its place
    assert capsys.readouterr().out.startswith("plots")
    assert picture.read_bytes() == before


def test_a_copy_of_a_log_needs_no_run_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_log(Path("logs"), line(1), line(2)).rename("logs/training.csv")
    assert main(["plot", "--log", "logs/training.csv", "--output", "plots/", "--format", "both"]) == 0
    assert len(list(Path("plots").iterdir())) == 10
    assert _home([Path("logs/training.csv")], own_way=True) == Path("plots")
    assert [path.name for path in Path("logs").iterdir()] == ["training.csv"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--x", "steps"], "--x steps: choose step, tokens, seconds; did you mean step?"),
        (["--smooth", "much"], "--smooth much: give a number of points"),
        (["--smooth=-1"], "--smooth -1: give a number of points"),
        (["--format", "jpg"], "--format jpg: choose png, svg, both"),
        (["--reference", "1.47"], '--reference "1.47": write a name and a loss'),
        (["--reference", "theirs=low"], "write a name and a loss above zero"),
        (["--log", "nowhere.csv"], "there is no log nowhere.csv"),
        (["theirs.csv"], "its first line names the columns iter, loss, and not 'step'"),
        (["log.csv", "--out", "theirs.csv"], "theirs.csv is a file; name a folder"),
        (["log.csv", "--x", "tokens"], "log.csv has no column 'tokens'; draw it over another: --x step"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("theirs.csv").write_text("iter,loss\n1,2\n", encoding="utf-8")
    Path("log.csv").write_text("step,train_loss\n1,2\n", encoding="utf-8")
    assert main(["plot", *flags]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not Path("plots").exists()


def test_a_run_may_be_called_anything(tmp_path: Path) -> None:
    names = ["_hidden", "$x_1$", "a & b", "学校"]
    logs = [write_log(tmp_path / name, *(line(step) for step in range(9))) for name in names]
    for log in logs:
        draw_loss(log, log.with_name("loss.svg"))
        text = log.with_name("loss.svg").read_text(encoding="utf-8")
        assert f">{html.escape(log.parent.name)}: loss" in text
    plot_runs(logs, tmp_path / "plots", formats=["svg"])
    text = (tmp_path / "plots" / "throughput.svg").read_text(encoding="utf-8")
    assert all(f"{html.escape(name)}</text>" in text for name in names)


@pytest.mark.parametrize("lines", [[], [line(0)], [line(0, val_loss="4.1")]])
def test_the_first_moments_of_a_run_can_be_plotted(tmp_path: Path, lines: list[str]) -> None:
    log = write_log(tmp_path / "run", *lines)
    for picture in plot_runs([log], tmp_path / "plots"):
        assert imread(picture).std() > 0


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
        (b"", "its first line names the columns none, and not 'step'"),
        (b"step,loss\n1,2\n", "its first line names the columns step, loss, and not 'step' with 'train_loss'"),
        (b"step,train_loss\n1,2\n2,banana\n", "line 3: '2,banana' is not one number for each column"),
        (b"step,train_loss\n1\n", "line 2: '1' is not one number for each column"),
        (b"step,train_loss\n,2\n", "line 2: step=nan is no step"),
        (b"\x89PNG\r\n\xff", "cannot be read"),
        (b"step,train_loss\n1,\x00\n", "is not one number for each column"),
        (b"step,train_loss\n" + b"x" * 9999 + b"\n", f"line 2: '{'x' * 80}' is not one number for each column"),
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
        "from glassgpt.lab.plot import plot_runs\n"
        "plot_runs([Path(sys.argv[1])], Path(sys.argv[2]), formats=['png', 'svg'])\n"
        "assert 'matplotlib.pyplot' not in sys.modules; assert matplotlib.rcParams.copy() == before\n"
    )
    command = [sys.executable, "-W", "error", "-c", program, str(log), str(tmp_path / "plots")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
