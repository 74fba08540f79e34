"""Evaluation: exact means, the same at every call; stories scored whole, from their first character."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from glassgpt.config import ModelConfig, TrainingConfig
from glassgpt.data import tales
from glassgpt.device import choose_machine
from glassgpt.model.gpt import GPT
from glassgpt.text.chars import CharTokenizer
from glassgpt.training.evaluate import evaluate, score_stories

MACHINE = choose_machine(TrainingConfig(precision="fp32", threads=1), "cpu")
STORIES = [tales.story(5, index) for index in range(7)]
TOKENIZER = CharTokenizer.train(tales.corpus(1, 100_000))


def model(context: int) -> GPT:
    config = ModelConfig(vocab_size=TOKENIZER.vocab_size, d_model=16, n_layers=1, n_heads=2, max_seq_len=context)
    return GPT(config, seed=2)


def nats_by_hand(gpt: GPT, text: str) -> float:
    """Every character of the story and its end, asked for one by one, with all that came before it."""
    ids = TOKENIZER.encode(tales.BEFORE + text + tales.SEPARATOR)
    start = len(tales.BEFORE)
    log_probs = F.log_softmax(gpt.eval()(torch.tensor([ids]))[0][0].detach().double(), dim=-1)
    return -sum(float(log_probs[place - 1, ids[place]]) for place in range(start, len(ids)))


def test_stories_are_scored_from_their_first_character_to_their_end() -> None:
    gpt = model(1024)
    by_hand = sum(nats_by_hand(gpt, story) for story in STORIES) / sum(len(story) + 2 for story in STORIES)
    scored = score_stories(gpt, TOKENIZER, STORIES, context=1024, batch_size=3, machine=MACHINE)
    assert scored.loss == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize("context", [16, 100, 257])
def test_every_character_counts_once_however_small_the_context(context: int) -> None:
    gpt = model(context)
    torch.nn.init.zeros_(gpt.token_embedding.weight)  # every character has the same odds: the loss counts them
    scored = score_stories(gpt, TOKENIZER, STORIES, context=context, batch_size=4, machine=MACHINE)
    assert scored.tokens == sum(len(story) + 2 for story in STORIES)
    assert scored.loss == pytest.approx(np.log(TOKENIZER.vocab_size), rel=1e-5)


def test_the_loss_of_a_text_is_the_mean_over_all_its_windows() -> None:
    gpt = model(32)
    ids = np.asarray(TOKENIZER.encode(STORIES[0])[:101], dtype=np.uint16)
    losses = []
    for start in range(0, 100, 32):
        window = torch.from_numpy(ids[start : start + 33].astype(np.int64))
        logits = gpt.eval()(window[None, :-1])[0][0]
        losses.append(float(F.cross_entropy(logits.detach(), window[1:], reduction="sum")))
    found = evaluate(gpt, ids, seq_len=32, batch_size=3, machine=MACHINE)
    assert found.tokens == 100
    assert found.loss == pytest.approx(sum(losses) / 100, rel=1e-5)


def test_a_limited_evaluation_is_the_first_part_of_the_whole_one() -> None:
    gpt = model(16)
    ids = np.asarray(TOKENIZER.encode("".join(STORIES)), dtype=np.uint16)
    part = evaluate(gpt, ids, seq_len=16, batch_size=4, machine=MACHINE, most_batches=3)
    assert part.tokens == 3 * 4 * 16
    assert part == evaluate(gpt, ids[: part.tokens + 1], seq_len=16, batch_size=4, machine=MACHINE)


def test_evaluation_leaves_the_model_in_the_mode_it_was_in() -> None:
    gpt = model(16)
    ids = np.zeros(40, dtype=np.uint16)
    gpt.train()
    evaluate(gpt, ids, seq_len=16, batch_size=2, machine=MACHINE)
    assert gpt.training
