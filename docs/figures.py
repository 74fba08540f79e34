"""`python docs/figures.py`: draws the figures of theory.md from our own code, into docs/images.

Two of them look into a model. Without --run one is trained for that, of tales, in a temporary folder: a minute or two.
The same model gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))  # a clone works before it is installed

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import glassgpt
from glassgpt.config import SamplingConfig, TrainingConfig
from glassgpt.data import tales
from glassgpt.device import choose_machine
from glassgpt.files import write_atomically
from glassgpt.lab.baselines import ngram_loss
from glassgpt.lab.panels import COLOURS, FAINT, INK, PAPER, TITLE
from glassgpt.library import LanguageModel
from glassgpt.model.attention import Attention, attend
from glassgpt.model.derivatives import gelu, relu2
from glassgpt.model.rope import Rope, rotate
from glassgpt.sampling.filters import apply_temperature, odds
from glassgpt.training.evaluate import score_stories
from glassgpt.training.muon import COEFFICIENTS, ROUNDS
from glassgpt.training.schedule import learning_rate_share

HERE = Path(__file__).resolve().parent
BLUE, ORANGE, GREEN, PINK, YELLOW, *_ = COLOURS
SENTENCE = "Once upon a time, Felix the fox was grumpy. He slept in a striped "
LOOKED_AT = "Felix the fox was grumpy. He slept in a boot"
COLOURS_KEPT = 96  # of some thousand that smooth edges have: nobody sees it, and the file is a third
HEADS = ((0, 0), (1, 2))  # layer and head, counted from 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the figures of docs/theory.md.")
    parser.add_argument("--run", help="a run of tales to look into; left out, one is trained")
    parser.add_argument("--out", type=Path, default=HERE / "images", help="where the pictures go")
    asked = parser.parse_args()
    for name, draw in PLAIN.items():
        save(draw(), asked.out / f"{name}.png")
    with tempfile.TemporaryDirectory() as folder:
        lm = glassgpt.load(asked.run or train(Path(folder) / "tales"), device="cpu")
        for name, look in OF_A_MODEL.items():
            save(look(lm), asked.out / f"{name}.png")


def train(out: Path) -> Path:
    print("training a model of tales to look into; --run RUN takes one that is there", flush=True)
    return glassgpt.train(out=out).folder


# What needs no model.


def bends() -> Figure:
    """What the hidden numbers of an MLP go through."""
    figure, (axes,) = canvas("what the MLP bends with", height=3.4)
    x = torch.linspace(-3, 3, 400)
    for name, y, colour in (
        ("GELU", gelu(x), BLUE),
        ("ReLU squared", relu2(x), ORANGE),
        ("SiLU, the gate of SwiGLU", torch.nn.functional.silu(x), GREEN),
    ):
        axes.plot(x, y, color=colour, linewidth=2, label=name)
    axes.set(ylim=(-0.5, 4), xlabel="in", ylabel="out")
    legend(axes, loc="upper left")
    return figure


def schedules() -> Figure:
    """The share of the peak learning rate at every step."""
    figure, (axes,) = canvas("learning rate, as a share of its peak, over 1000 steps", height=3.2)
    whole: dict[str, Any] = {"max_steps": 1000, "warmup_steps": 100, "min_lr_ratio": 0.1, "decay_fraction": 1.0}
    for name, config, colour in (
        ("cosine", TrainingConfig(**whole, schedule="cosine"), BLUE),
        ("linear, over the last 0.7", TrainingConfig(**whole | {"decay_fraction": 0.7}, schedule="linear"), ORANGE),
        ("constant", TrainingConfig(**whole, schedule="constant"), GREEN),
    ):
        shares = [learning_rate_share(step, config) for step in range(1000)]
        axes.plot(shares, color=colour, linewidth=2, label=name)
    axes.set(ylim=(0, 1.08), xlabel="step")
    legend(axes, loc="lower left", bbox_to_anchor=(0.12, 0.03))
    return figure


def distances() -> Figure:
    """A query's score against a key, both turned to their places: only the distance between them counts."""
    figure, (axes,) = canvas("score of one query against one key, over the distance between them", height=3.4)
    K, places = 32, 320
    rope = Rope(K, places, base=10_000.0)
    q_K = torch.ones(K) / K**0.5
    for last, width, colour in ((100, 6.0, FAINT), (200, 3.5, YELLOW), (300, 1.3, BLUE)):
        positions = torch.arange(last + 1).unsqueeze(0)
        turned_TK = rotate(q_K.expand(1, 1, last + 1, K), rope(positions, dtype=torch.float32))[0, 0]
        scores = turned_TK @ turned_TK[last]
        axes.plot(range(last + 1), scores.flip(0), color=colour, linewidth=width, label=f"query at position {last}")
    axes.set(xlabel="distance in tokens", xlim=(0, 300))
    legend(axes, loc="upper right")
    return figure


def rounds_of_muon() -> Figure:
    """Where Newton-Schulz moves a singular value."""
    figure, (axes,) = canvas(f"a singular value before and after {ROUNDS} rounds of Newton-Schulz", height=3.2)
    a, b, c = COEFFICIENTS
    before = torch.logspace(-4, 0, 400, dtype=torch.float64)
    after = before
    for number, colour in enumerate((FAINT, FAINT, FAINT, FAINT, BLUE), start=1):
        after = a * after + b * after**3 + c * after**5
        last = number == ROUNDS
        label = f"after round {number}" if last else "after rounds 1 to 4" if number == 1 else None
        axes.plot(before, after, color=colour, linewidth=2.4 if last else 1.4, label=label)
    axes.plot(before, before, color=ORANGE, linewidth=1.6, label="before")
    axes.set(xscale="log", xlabel="singular value of the momentum, its length being 1", ylim=(0, 1.3))
    legend(axes, loc="center left", bbox_to_anchor=(0.01, 0.55))
    return figure


# What looks into a model of tales.


def contexts(lm: LanguageModel) -> Figure:
    """What counting reaches with more and more context, and what a model of some hundred thousand numbers does."""
    figure, (axes,) = canvas("tales: loss by how far back one looks, in nats per character", height=3.6)
    before, told = "".join(tales.corpus(1, 1_000_000)), [tales.story(9, number) for number in range(60)]
    text = "".join(tale + tales.SEPARATOR for tale in told)
    orders = range(1, 9)
    losses = [ngram_loss(before, text, order) for order in orders]
    counted: dict[str, Any] = {"color": BLUE, "linewidth": 2, "marker": "o", "label": "counting, after a megabyte"}
    axes.plot([order - 1 for order in orders], losses, **counted)
    nothing = math.log(lm.tokenizer.vocab_size)
    axes.axhline(nothing, color=YELLOW, linewidth=2, linestyle="dotted", label=f"knowing nothing: {nothing:.2f}")
    loss, floor = model_loss(lm, told), tales.floor(told)
    axes.axhline(loss, color=ORANGE, linewidth=2, label=f"the GPT, which sees {lm.model.context}: {loss:.2f}")
    axes.axhline(floor, color=INK, linestyle=(0, (6, 4)), label=f"the floor: {floor:.2f}")
    axes.set(yscale="log", xlabel="characters before")
    axes.set_yticks([0.15, 0.25, 0.5, 1, 2, 4], labels=["0.15", "0.25", "0.5", "1", "2", "4"])
    axes.minorticks_off()
    legend(axes, loc="upper right", bbox_to_anchor=(1, 0.93))
    return figure


def attention(lm: LanguageModel) -> Figure:
    """How much each character of a sentence takes from each before it, in two of the heads."""
    weights_LHTS = torch.stack(attention_weights(lm, LOOKED_AT))
    figure = Figure(figsize=(9.6, 5), dpi=100, facecolor=PAPER, layout="constrained")
    letters = [character.replace(" ", "\u00b7") for character in LOOKED_AT]
    for place, (layer, head) in enumerate(HEADS, start=1):
        weights_TS = weights_LHTS[layer % len(weights_LHTS), head % weights_LHTS.shape[1]]
        axes = figure.add_subplot(1, len(HEADS), place)
        axes.imshow(weights_TS, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(f"layer {layer + 1}, head {head + 1}", **TITLE)
        axes.set_xticks(range(len(letters)), labels=letters, fontsize=7)
        axes.set_yticks(range(len(letters)), labels=letters, fontsize=7)
        axes.tick_params(colors=INK, length=0, pad=2)
        axes.spines[:].set_color(FAINT)
    return figure


def temperatures(lm: LanguageModel) -> Figure:
    """The odds of the next character, warmer and colder, and what the filters leave of them."""
    figure, (left, right) = canvas("", height=3.6, panels=2)
    logits_BV = next_logits(lm, SENTENCE)
    ids = logits_BV[0].topk(9).indices
    names = [lm.decode([token]).replace(" ", "space").replace("\n", "line end") for token in ids.tolist()]
    for place, (temperature, colour) in enumerate(((0.5, BLUE), (1.0, GREEN), (1.5, ORANGE))):
        probs_V = apply_temperature(logits_BV, temperature).softmax(dim=-1)[0]
        bars(left, probs_V[ids], place, colour=colour, label=f"temperature {temperature:g}")
    kept: dict[str, dict[str, Any]] = {
        "top-k 4": {"top_k": 4},
        "top-p 0.8": {"top_p": 0.8},
        "min-p 0.1": {"min_p": 0.1},
    }
    for place, ((name, choice), colour) in enumerate(zip(kept.items(), (PINK, YELLOW, BLUE), strict=True)):
        settings = SamplingConfig(**{"temperature": 1.0, "min_p": 0.0, **choice})
        probs_V = odds(logits_BV, torch.zeros_like(logits_BV, dtype=torch.bool), settings)[0]
        bars(right, probs_V[ids], place, colour=colour, label=name)
    left.set_title('after "He slept in a striped "', **TITLE)
    right.set_title("the same at temperature 1, filtered", **TITLE)
    for axes in (left, right):
        axes.set_xticks(range(len(names)), labels=names)
        legend(axes, loc="upper right")
    return figure


def bars(axes: Axes, values: Tensor, place: int, *, colour: str, label: str) -> None:
    """The `place`-th of three bars beside each other, for each value."""
    width = 0.8 / 3
    at = [number - 0.4 + (place + 0.5) * width for number in range(len(values))]
    axes.bar(at, values.tolist(), width, color=colour, label=label)


@torch.inference_mode()
def next_logits(lm: LanguageModel, text: str) -> Tensor:
    logits_BTV, _ = lm.model.eval()(torch.tensor([lm.encode(tales.BEFORE + text)]))
    last_BV: Tensor = logits_BTV[:, -1].float()
    return last_BV


def model_loss(lm: LanguageModel, told: list[str]) -> float:
    machine = choose_machine(TrainingConfig(precision="fp32", compile="off"), "cpu")
    context = lm.model.context
    return score_stories(lm.model, lm.tokenizer, told, context=context, batch_size=16, machine=machine).loss


@torch.inference_mode()
def attention_weights(lm: LanguageModel, text: str) -> list[Tensor]:
    """weights_HTS of every layer: with the unit vectors for values, what `attend` answers is its weights."""
    heard: list[Tensor] = []

    def listen(part: Attention, inputs: tuple[Any, ...], _: object) -> None:
        x_BTD, rotation, *_ = inputs
        qkv_BHTK = part.qkv(x_BTD).unflatten(-1, (-1, part.head_width)).transpose(1, 2)
        q_BHTK, k_BHSK, _ = qkv_BHTK.split(part.split, dim=1)
        if part.q_norm is not None and part.k_norm is not None:
            q_BHTK, k_BHSK = part.q_norm(q_BHTK), part.k_norm(k_BHSK)
        if rotation is not None:
            q_BHTK, k_BHSK = rotate(q_BHTK, rotation), rotate(k_BHSK, rotation)
        T = x_BTD.shape[1]
        one_hot_BHSS = torch.eye(T).expand(1, q_BHTK.shape[1], T, T)
        heard.append(attend(q_BHTK, part.share(k_BHSK), one_hot_BHSS, torch.ones(T, T, dtype=torch.bool).tril())[0])

    hooks = [part.register_forward_hook(listen) for part in lm.model.modules() if isinstance(part, Attention)]
    lm.model.eval()(torch.tensor([lm.encode(text)]))
    for hook in hooks:
        hook.remove()
    return heard


# How all of them look.


def canvas(title: str, *, height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(8 if panels == 1 else 9.5, height), dpi=100, facecolor=PAPER, layout="constrained")
    drawn = [figure.add_subplot(1, panels, place + 1) for place in range(panels)]
    for axes in drawn:
        axes.set_facecolor(PAPER)
        axes.set_title(title, **TITLE)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(FAINT)
        axes.grid(axis="y", color=FAINT, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", colors=INK, length=0)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
    return figure, drawn


def legend(axes: Axes, **where: Any) -> None:
    axes.legend(frameon=False, labelcolor=INK, fontsize=9, **where)


def save(figure: Figure, path: Path) -> None:
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    Image.open(drawn).convert("RGB").quantize(COLOURS_KEPT).save(small, format="png", optimize=True)
    write_atomically(path, [small.getvalue()])
    print(path)


PLAIN: dict[str, Callable[[], Figure]] = {
    "bends": bends, "schedules": schedules, "rope": distances, "muon": rounds_of_muon,
}  # fmt: skip
OF_A_MODEL: dict[str, Callable[[LanguageModel], Figure]] = {
    "contexts": contexts, "attention": attention, "sampling": temperatures,
}  # fmt: skip

if __name__ == "__main__":
    main()
