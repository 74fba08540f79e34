"""What the model writes while it learns: one sample at a time, and the file that keeps them."""

from __future__ import annotations

import re
from pathlib import Path

from glassgpt.config import SamplingConfig
from glassgpt.data.tales import BEFORE, SEPARATOR
from glassgpt.files import append_text, sync_file, write_text
from glassgpt.sampling.generate import write
from glassgpt.sampling.reader import inference
from glassgpt.training.run import Run

SAMPLE_TOKENS = 300
FINAL_SAMPLES = 3  # a run that ends shows a little more of what it has learned
TALE_TOKENS = 1000  # no tale is longer
HEADING = re.compile(r"^=== step (\d+) ===$", re.MULTILINE)


def write_sample(run: Run, *, count: int = 1) -> str:
    """For tales whole stories; for other text a few lines each that follow `sample_prompt`."""
    if run.tells_tales:
        prompt, settings = BEFORE, SamplingConfig(max_new_tokens=TALE_TOKENS, stop=(SEPARATOR,))
    else:
        prompt, settings = run.config.training.sample_prompt, SamplingConfig(max_new_tokens=SAMPLE_TOKENS)
    settings = settings.but(num_samples=count)
    shown = "" if run.tells_tales else prompt.lstrip("\n")
    texts = [shown] * count
    with inference(run.model):  # once: a model in training would be switched over and back for every token
        for event in write(run.model, run.prepared.tokenizer, prompt, settings, context=run.config.training.seq_len):
            texts[event.sample] += event.text
    return "\n\n".join(texts)


class SampleFile:
    """samples.txt: each sample under the step that wrote it."""

    def __init__(self, path: Path, *, up_to_step: int) -> None:
        """Later samples were written by a run that did not live to save; they will be written again."""
        self._path = path
        written = path.read_bytes() if path.is_file() else b""
        written, _, _ = written.partition(b"\0")  # what a power loss makes of bytes that were not synced
        whole_lines = written[: written.rfind(b"\n") + 1]  # a heading or a character may be half there
        before = whole_lines.decode("utf-8", "replace")
        later = (match.start() for match in HEADING.finditer(before) if int(match[1]) > up_to_step)
        write_text(path, before[: next(later, len(before))])

    def write(self, step: int, text: str) -> None:
        append_text(self._path, f"=== step {step} ===\n{text}\n\n")

    def sync(self) -> None:
        sync_file(self._path)
