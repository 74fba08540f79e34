"""`glassgpt sample`: a model writes, and one sees it come."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glassgpt import names, settings
from glassgpt.cli.chosen import (
    RUN_HELP,
    aside,
    chosen_checkpoint,
    chosen_text,
    new_file,
    read_text_file,
    refuse_other_tokenizer,
)
from glassgpt.cli.flags import Parser, add_sampling_settings, only, unescape
from glassgpt.cli.terminal import dim
from glassgpt.config import SamplingConfig
from glassgpt.errors import ConfigError, DataError
from glassgpt.files import write_text

if TYPE_CHECKING:
    from glassgpt.library import LanguageModel

USAGE = "[RUN] [--prompt TEXT | --prompt-file FILE] [--num-samples N] [--SETTING VALUE ...]"
EPILOG = r"""
examples:
  glassgpt sample                                     the newest run begins by itself
  glassgpt sample --prompt "Once upon a time"
  glassgpt sample runs/book --num-samples 3 --temperature 0.8 --top-k 50 --seed 7
  glassgpt sample --prompt "ROMEO:\n" --stop "\n\n"    \n is a line break, \t a tab, \\ a backslash
  cat start.txt | glassgpt sample --prompt - > whole.txt
"""


def run(argv: Sequence[str]) -> int:
    asked = _parser().read(argv)
    wanted = settings.sampling({name: _unescaped(name, asked[name]) for name in _sampling_names(asked)})
    prompt = _prompt(asked)
    if asked["out"] is not None:
        new_file("--out", asked["out"])
    from glassgpt.library import ready

    checkpoint = chosen_checkpoint(asked["RUN"] or asked["model"]).checkpoint
    lm = ready(checkpoint, device=asked["device"], unknown=asked["unknown"])
    if asked["tokenizer"] is not None:
        refuse_other_tokenizer(asked["tokenizer"], lm.tokenizer)
    _tell_what_is_left_out(lm, prompt)
    texts = show(lm, prompt, wanted)
    if wanted.weights != "fp32":
        paid = lm.price(wanted.weights)
        aside(
            f"{wanted.weights} weights: loss {paid.light:.4f} instead of {paid.exact:.4f}, "
            f"{paid.light - paid.exact:+.4f} on {paid.tokens:,} tokens that the exact model wrote"
        )
    if asked["out"] is not None:
        write_text(Path(asked["out"]), "\n\n".join(texts) + "\n")
        aside(f"also in {asked['out']}")
    return 0


def _parser() -> Parser:
    parser = Parser("sample", USAGE, "Let a model write.", epilog=EPILOG)
    parser.add_argument("RUN", nargs="?", help=RUN_HELP)
    parser.add_argument("--model", "--checkpoint", metavar="RUN", help="the same, as a flag")
    parser.add_argument("--tokenizer", metavar="FILE", help="a tokenizer.json that must be the model's own")
    parser.add_argument("--prompt", metavar="TEXT", help=r"what to go on from; - reads it from standard input")
    parser.add_argument("--prompt-file", metavar="FILE", help="what to go on from, as it stands in a file")
    parser.add_argument("--out", metavar="FILE", help="also write the text there")
    parser.add_argument("--unknown", metavar="{error,skip,replace}", default="error", help="unknown characters")
    parser.add_argument("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add_sampling_settings(parser)
    return parser


def _sampling_names(asked: dict[str, Any]) -> dict[str, Any]:
    return only(asked, [*SamplingConfig.model_fields, *names.ALIASES])


def _unescaped(name: str, value: Any) -> Any:
    return [unescape(text) for text in value] if name == "stop" else value


def _prompt(asked: dict[str, Any]) -> str | None:
    if asked["RUN"] is not None and asked["model"] is not None:
        raise ConfigError(f"both {asked['RUN']} and --model {asked['model']} are given; name one model")
    if asked["prompt"] is not None and asked["prompt_file"] is not None:
        raise ConfigError("both --prompt and --prompt-file are given; choose one")
    if asked["prompt_file"] is not None:
        return _with_plain_line_ends(read_text_file(asked["prompt_file"]), asked["prompt_file"])
    if asked["prompt"] == "-":
        return _with_plain_line_ends(chosen_text("-"), "standard input")
    return None if asked["prompt"] is None else unescape(asked["prompt"])


def _with_plain_line_ends(text: str, place: str) -> str:
    """A prompt as the texts are that the model learned from, wherever it was saved."""
    if not text:
        raise DataError(f"{place} is empty; leave it out, and the model begins by itself")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _tell_what_is_left_out(lm: LanguageModel, prompt: str | None) -> None:
    from glassgpt.sampling.reader import how_much_is_read

    context = lm.model.context
    if prompt is None or len(prompt.encode("utf-8", "surrogatepass")) <= context:  # no token is less than a byte
        return
    tokens = len(lm.encode(prompt))
    if (read := how_much_is_read(tokens, context=context)) < tokens:
        aside(f"the prompt has {tokens:,} tokens, more than the {context:,} that the model can look at: "
              f"it goes on from the last {read:,}")  # fmt: skip


def show(lm: LanguageModel, prompt: str | None, wanted: SamplingConfig) -> list[str]:
    """One sample as it comes; of several the first as it comes, and the others, written beside it, behind."""
    shown = lm.shown(prompt).lstrip("\n")
    events = lm.stream(prompt, **wanted.model_dump())  # a prompt that cannot be read is refused before it is shown
    waiting = [""] * wanted.num_samples
    _heading(0, wanted.num_samples)
    print(dim(shown), end="", flush=True)
    for event in events:
        if event.sample == 0:
            print(event.text, end="", flush=True)
        waiting[event.sample] += event.text
    print()
    for sample, text in list(enumerate(waiting))[1:]:
        _heading(sample, wanted.num_samples)
        print(dim(shown) + text)
    return [shown + text for text in waiting]


def _heading(sample: int, count: int) -> None:
    """Between several texts one wants to see where each begins, on a screen and in a file."""
    if count > 1:
        print(dim(f"{'' if sample == 0 else chr(10)}--- sample {sample + 1} of {count} ---"))
    sys.stdout.flush()
