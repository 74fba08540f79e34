"""What the model writes while it learns: every `sample_every` steps, and a little more often at first.

Letters become words within the first steps, long before the first of the regular samples: short ones, after 10, 20,
40 steps and so on, show it. They go into samples.txt alone (`samplefile.py`).
"""

from __future__ import annotations

from glassgpt.config import SamplingConfig, TrainingConfig
from glassgpt.data.tales import BEFORE, SEPARATOR
from glassgpt.device import release_memory
from glassgpt.errors import is_out_of_memory
from glassgpt.sampling.generate import write
from glassgpt.sampling.reader import inference
from glassgpt.training.run import Run

SAMPLE_TOKENS = 300
FINAL_SAMPLES = 3  # a run that ends shows a little more of what it has learned
TALE_TOKENS = 1000  # no tale is longer
FIRST_EARLY = 10  # steps; before that, hardly anything is learned
EARLY_TOKENS = 80  # a line or two: enough to tell letters from words, and less than 1 % of the time of a first run


def is_early(step: int, training: TrainingConfig) -> bool:
    """Whether a short sample is due: at 10, 20, 40, ... until the first regular one."""
    doublings, rest = divmod(step, FIRST_EARLY)
    power_of_two = doublings > 0 and doublings & (doublings - 1) == 0
    return rest == 0 and power_of_two and step < min(training.sample_every, training.max_steps)


def sample_if_room(run: Run, *, count: int = 1, most_tokens: int | None = None) -> str | None:
    """None where there is not enough memory for it beside the training: a sample is not worth a run."""
    try:
        return write_sample(run, count=count, most_tokens=most_tokens)
    except Exception as problem:
        if not is_out_of_memory(problem):
            raise
    release_memory(run.machine.device)
    return None


def write_sample(run: Run, *, count: int = 1, most_tokens: int | None = None) -> str:
    """For tales whole stories; for other text a few lines each that follow `sample_prompt`."""
    if run.tells_tales:
        prompt, settings = BEFORE, SamplingConfig(max_new_tokens=TALE_TOKENS, stop=(SEPARATOR,))
    else:
        prompt, settings = run.config.training.sample_prompt, SamplingConfig(max_new_tokens=SAMPLE_TOKENS)
    tokens = settings.max_new_tokens if most_tokens is None else min(most_tokens, settings.max_new_tokens)
    settings = settings.but(num_samples=count, max_new_tokens=tokens)
    shown = "" if run.tells_tales else prompt.lstrip("\n")
    texts = [shown] * count
    with inference(run.model):  # once: a model in training would be switched over and back for every token
        for event in write(run.model, run.prepared.tokenizer, prompt, settings, context=run.config.training.seq_len):
            texts[event.sample] += event.text
    return "\n\n".join(texts)
