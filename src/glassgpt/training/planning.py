"""What to train in the time there is: `--minutes M`.

Each size that could come into question takes a few steps on the real text, with a stopwatch. From its pace follows how
many tokens it would see, and from a formula fitted to runs of our own how far above the best possible loss it would
end; the lowest is taken. What the user set stays as it is. How the run then keeps to its time is told in `deadline.py`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from glassgpt.config import RunConfig
from glassgpt.data.prepare import Prepared
from glassgpt.device import Machine
from glassgpt.errors import ConfigError
from glassgpt.model.count import count_parameters
from glassgpt.settings import Settings, assemble, flat
from glassgpt.shortcut import most_steps
from glassgpt.training.deadline import Deadline
from glassgpt.training.parallel import Team
from glassgpt.training.trying import time_step

# Layers and width, each about twice the work of the one before.
SIZES = (
    (1, 64),
    (2, 64),
    (2, 96),
    (4, 96),
    (4, 128),
    (5, 160),
    (6, 192),
    (6, 256),
    (8, 320),
    (8, 384),
    (8, 512),
    (12, 768),
)
# The form that learned most in a given time: of our measured choices in docs/minutes.md.
FORM: Mapping[str, Any] = {
    "position": "rope", "norm": "rmsnorm", "mlp": "relu2", "qk_norm": True, "bias": False, "tie_weights": False,
    "token_shift": 2, "optimizer": "muon", "schedule": "linear", "decay_fraction": 0.6, "warmup_steps": 0,
    "min_lr_ratio": 0.0, "gradient_clip": 1.0,
}  # fmt: skip
A, ALPHA, B, BETA = 6.28, 0.28, 16.7, 0.26  # of `promise`: 14 runs, of 54 thousand to 2.7 million numbers, off by 0.004
WORTH = 8.0  # readings again after which a text has hardly more to teach (Muennighoff et al. 2023 have 15)
OVERFIT = 0.01  # not fitted: a guess, so that ten million numbers are not proposed for a text that is read twenty times
CALIBRATION_SHARE = 0.05  # of the time, at most, goes into trying sizes
BY_HEART, MOST_DROPOUT = 7.2, 0.4  # numbers for each token of the text, times its readings, that need no dropout yet
SEQ_LEN, FIRST_SEQ_LEN = 512, 64  # a long look back, once what is near is known
EVALUATIONS = 6
RESERVE = 0.03  # of the time, for evaluations and savings


@dataclass(frozen=True)
class Trial:
    """A size that was tried: its whole configuration, its pace, and what it promises."""

    config: RunConfig
    step_s: float  # on average, whatever its windows
    loss: float  # above what no model of this kind can beat

    @property
    def name(self) -> str:
        return f"{self.config.model.n_layers} x {self.config.model.d_model}"


def planned(
    settings: Settings, machine: Machine, prepared: Prepared, team: Team, deadline: Deadline
) -> tuple[Settings, list[str]]:
    """What the first process chose, in all of them, and in that one the lines that say why."""
    if not team.leads:
        told = json.loads(team.as_leader_says(""))
        return Settings(assemble(told["values"]), told["origins"]), []
    chosen, reasons = plan(settings, machine, prepared, deadline)
    team.as_leader_says(json.dumps({"values": flat(chosen.config), "origins": dict(chosen.origins)}))
    return chosen, reasons


def plan(settings: Settings, machine: Machine, prepared: Prepared, deadline: Deadline) -> tuple[Settings, list[str]]:
    """The settings with all that was left open chosen for the minutes that are left, and the lines that say why."""
    minutes = settings.config.training.minutes
    if settings.origins.get("max_steps") == "flag":
        raise ConfigError("--minutes and --max-steps both say how long the run is; choose one")
    trials = list(_trials(settings, machine, prepared, seconds=deadline.left_s))
    best = min(trials, key=lambda trial: trial.loss)
    chosen = _with_steps(settings, best, len(prepared.train_ids), seconds=deadline.left_s)
    before = flat(settings.config)
    changed = {name: f"chosen for {minutes:g} minutes" for name, value in flat(chosen).items() if value != before[name]}
    return Settings(chosen, dict(settings.origins) | changed), _reasons(best, trials, chosen, prepared)


def _trials(settings: Settings, machine: Machine, prepared: Prepared, *, seconds: float) -> Iterator[Trial]:
    """From small to large, until it is plain that larger ones would come to less."""
    begin, lowest, seen = time.monotonic(), math.inf, set()
    most_s = min(CALIBRATION_SHARE * seconds, most_steps() or math.inf)  # a shortcut is one here too
    for layers, width in SIZES:
        size = _size(settings, layers, width, prepared, machine)
        config = assemble(flat(settings.config) | _open(settings, size))
        if config.model in seen:  # the user has set what would differ
            continue
        seen.add(config.model)
        step_s = time_step(config, machine, prepared)
        steps = max(1, int(seconds * (1 - RESERVE) / step_s))
        tokens = steps * config.training.batch_size * config.training.seq_len
        loss = promise(_learned_numbers(config), tokens, len(prepared.train_ids))
        yield Trial(config, step_s, loss)
        if loss > lowest + 0.02 or time.monotonic() - begin > most_s:
            return
        lowest = min(lowest, loss)


def _open(settings: Settings, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Of our wishes, those about which the user, or a preset, has said nothing."""
    return {name: value for name, value in wishes.items() if name not in settings.origins}


def _size(settings: Settings, layers: int, width: int, prepared: Prepared, machine: Machine) -> dict[str, Any]:
    """A wider model takes more text in a step: its gradients are worth it."""
    asked = settings.config
    width = asked.model.d_model if "d_model" in settings.origins else width
    seq_len = min(SEQ_LEN, len(prepared.train_ids) // 4, len(prepared.val_ids) - 1)
    seq_len = max(seq_len // FIRST_SEQ_LEN * FIRST_SEQ_LEN, min(seq_len, FIRST_SEQ_LEN))
    seq_len = asked.training.seq_len if "seq_len" in settings.origins else seq_len
    seq_len = min(seq_len, asked.model.max_seq_len) if "max_seq_len" in settings.origins else seq_len
    batch_size = max(1, (2048 if width <= 160 else 4096 if width <= 320 else 8192) // seq_len)
    if machine.device.type != "cpu":
        batch_size *= 4  # a small batch would leave it waiting
    return {
        **FORM, "n_layers": layers, "d_model": width, "n_heads": heads_of(width), "max_seq_len": seq_len,
        "seq_len": seq_len, "first_seq_len": None if seq_len % FIRST_SEQ_LEN else FIRST_SEQ_LEN,
        "batch_size": batch_size, "vocab_size": prepared.tokenizer.vocab_size,
    }  # fmt: skip


def heads_of(width: int) -> int:
    """About one for each 64 channels, two at least, and of an even width, which rotary positions turn in pairs."""
    wanted = max(2, width // 64)
    return next((heads for heads in range(wanted, 0, -1) if width % heads == 0 and width // heads % 2 == 0), 1)


def promise(numbers: float, tokens: float, text_tokens: float) -> float:
    """Nats above the best possible: what too few numbers cost, and too few tokens (Hoffmann et al. 2022).

    A text read again teaches less each time, and the more so the more numbers could learn it by heart. The constants
    are a fit to runs of ours, see docs/minutes.md.
    """
    repeats = max(0.0, tokens / text_tokens - 1)
    fresh = min(tokens, text_tokens) * (1 + WORTH * (1 - math.exp(-repeats / WORTH)))
    by_heart = OVERFIT * numbers / text_tokens * math.log1p(repeats)
    too_few: float = A / numbers**ALPHA + B / fresh**BETA
    return too_few + by_heart


def _learned_numbers(config: RunConfig) -> int:
    return count_parameters(config.model).without_embeddings


def _with_steps(settings: Settings, best: Trial, text_tokens: int, *, seconds: float) -> RunConfig:
    """Rates fall with the length of the run, and what is read many times is learned with parts left out."""
    training = best.config.training
    steps = max(EVALUATIONS, int(seconds * (1 - RESERVE) / best.step_s))
    tokens = steps * training.batch_size * training.seq_len
    rate = 0.03 * min(1.0, (300 / steps) ** 0.3)
    every = -(-steps // EVALUATIONS)
    wishes = {
        "max_steps": steps, "muon_learning_rate": float(f"{rate:.3g}"), "learning_rate": float(f"{rate / 3:.3g}"),
        "muon_momentum": 0.95 if steps > 500 else 0.9, "weight_decay": 0.1 if tokens > 1.5 * text_tokens else 0.0,
        "dropout": dropout_for(_learned_numbers(best.config), tokens, text_tokens),
        "eval_every": every, "save_every": every, "sample_every": every,
        "eval_batches": max(2, round(0.01 * steps * 3 / EVALUATIONS)), "log_every": max(1, min(10, steps // 50)),
    }  # fmt: skip
    forced = {} if settings.origins.get("max_steps") == "GLASSGPT_MAX_STEPS" else {"max_steps": steps}
    return assemble(flat(best.config) | _open(settings, wishes) | forced)


def dropout_for(numbers: float, tokens: float, text_tokens: float) -> float:
    """A tenth each time that what could be learned by heart doubles: more numbers, or more readings. Steps of 0.05."""
    wanted = 0.1 * math.log2(max(1.0, numbers * tokens / text_tokens**2 / BY_HEART))
    return min(MOST_DROPOUT, math.floor(20 * wanted + 1e-9) / 20)


def _reasons(best: Trial, trials: list[Trial], chosen: RunConfig, prepared: Prepared) -> list[str]:
    model, training = chosen.model, chosen.training
    times = training.max_steps * training.batch_size * training.seq_len / len(prepared.train_ids)
    others = ", ".join(f"{trial.name} {trial.loss - best.loss:+.2f}" for trial in trials if trial is not best)
    line = (
        f"{training.minutes:g} minutes: {model.n_layers} layers of width {model.d_model}, {training.max_steps} steps "
        f"of {training.batch_size} x {training.seq_len} tokens ({times:.1f} times the text), "
        f"{1000 * best.step_s:.0f} ms each"
    )
    return [line] + ([f"tried beside it, with the loss that would be expected above its: {others}"] if others else [])
