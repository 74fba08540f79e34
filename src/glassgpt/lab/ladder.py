"""From the bigram model to the GPT, one part more at each rung, and what each part gains on the same text.

Every rung sees the same batches, as many tokens, under the same schedule, and is marked on the same windows of the
held-out text. Nothing is trained here: a step is `training/step.py`'s, a mark is `training/evaluate.py`'s. The story
with its figures is in docs/ladder.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from glassgpt.config import ModelConfig, TrainingConfig
from glassgpt.data.prepare import Prepared
from glassgpt.device import Machine, switched_on
from glassgpt.model.base import Predictor
from glassgpt.model.bigram import Bigram
from glassgpt.model.chain import Chain
from glassgpt.model.gpt import GPT
from glassgpt.training.evaluate import evaluate
from glassgpt.training.step import trainer_of

# GPT-2's form, whose parts are the plainest; the widths keep the whole ladder near a minute on two cores.
SHAPE = ModelConfig(
    d_model=64, n_heads=4, n_layers=3, max_seq_len=32, position="learned", norm="layernorm", mlp="gelu", bias=True,
    tie_weights=False, qk_norm=False,
)  # fmt: skip
# fp32 everywhere: so small a model gains nothing from less, and the figures are the same on more machines.
TRAINING = TrainingConfig(
    batch_size=32, seq_len=32, max_steps=1000, optimizer="adamw", weight_decay=0.1, gradient_clip=1.0,
    schedule="cosine", decay_fraction=1.0, warmup_steps=100, precision="fp32", compile="off",
)  # fmt: skip
MOST_MARKED = 100  # batches of the held-out text: fixed windows, a hundred thousand tokens


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What is added, how the model is made, and the learning rate at which it learns best.

    The rates were chosen among 3, 6, 10, 20 and 30 thousandths by the loss on the last tenth of the training
    part of tinyshakespeare, on which those models were not trained; the held-out part had no say.
    """

    added: str
    build: Callable[[ModelConfig, int], Predictor]
    learning_rate: float


RUNGS = (
    Rung(added="the bigram model", learning_rate=0.03,
         build=lambda shape, seed: Bigram(shape.but(architecture="bigram"), seed=seed)),
    Rung(added="+ positions, one attention head", learning_rate=0.01,
         build=lambda shape, seed: Chain(shape.but(n_heads=1), with_mlp=False, seed=seed)),
    Rung(added=f"+ {SHAPE.n_heads} heads of a quarter's width", learning_rate=0.03,
         build=lambda shape, seed: Chain(shape, with_mlp=False, seed=seed)),
    Rung(added="+ feed-forward", learning_rate=0.02,
         build=lambda shape, seed: Chain(shape, with_mlp=True, seed=seed)),
    Rung(added="+ residual stream and norms", learning_rate=0.01,
         build=lambda shape, seed: GPT(shape.but(n_layers=1), seed=seed)),
    Rung(added=f"+ depth: {SHAPE.n_layers} blocks, the GPT", learning_rate=0.006,
         build=lambda shape, seed: GPT(shape, seed=seed)),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A rung that was climbed."""

    rung: Rung
    model: Predictor  # trained, in eval mode
    parameters: int
    val_loss: float
    seconds: float


def climb(prepared: Prepared, machine: Machine, *, steps: int, seed: int) -> Iterator[Reached]:
    """Each rung as soon as it is reached, from the bigram model to the GPT."""
    shape = SHAPE.but(vocab_size=prepared.tokenizer.vocab_size)
    with switched_on(machine):
        for rung in RUNGS:
            start = time.perf_counter()
            model = rung.build(shape, seed).to(machine.device)
            _train(model, prepared, machine, training_of(rung, steps=steps, seed=seed))
            marked = evaluate(model.eval(), prepared.val_ids, seq_len=TRAINING.seq_len, batch_size=TRAINING.batch_size,
                              machine=machine, most_batches=MOST_MARKED)  # fmt: skip
            yield Reached(
                rung=rung, model=model, parameters=sum(weight.numel() for weight in model.parameters()),
                val_loss=marked.loss, seconds=time.perf_counter() - start,
            )  # fmt: skip


def training_of(rung: Rung, *, steps: int, seed: int) -> TrainingConfig:
    warmup = min(TRAINING.warmup_steps, steps // 10)
    changed: TrainingConfig = TRAINING.but(
        learning_rate=rung.learning_rate, max_steps=steps, warmup_steps=warmup, seed=seed
    )
    return changed


def _train(model: Predictor, prepared: Prepared, machine: Machine, training: TrainingConfig) -> None:
    trainer = trainer_of(model, prepared.train_ids, training, machine)
    for step in range(training.max_steps):
        trainer.take_step(step)
    trainer.losses()  # read here at last, for one that is no number is refused
