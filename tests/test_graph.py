"""A step that is replayed is the step that would have been taken, whatever happened to the cache in between.

There is no card here, so a card is played: `Recording` writes down the operations of one step, with the tensors and the
numbers they were given, and replays those. Python is not asked again, as with a CUDA graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import create_autospec

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from glassgpt.config import SamplingConfig
from glassgpt.model import derivatives
from glassgpt.model import graph as graphs
from glassgpt.model import product as products
from glassgpt.model.cache import Cache
from glassgpt.model.decoder import Decoder
from glassgpt.model.gpt import GPT
from glassgpt.model.graph import PATIENCE, WARM_UPS, Compute, FixedStep, Replayer, capture_on, on_cuda
from glassgpt.sampling.generate import TokenEvent, generate
from glassgpt.sampling.reader import Reader, Writer
from test_decoding import ALL, V, every_form, model_of, prompted

NEAR = 1e-4  # fp32 over a whole capacity and over its filled part, added up in another order; logits here reach 3
PROMPTS = {"one": [[1, 2, 3]], "even": [[1, 2], [3, 4], [5, 6]], "uneven": [[1], [2, 3, 4, 5], [6, 7]]}
every_prompt = pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
WAITS_FOR_THE_CARD = {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "lift_fresh"}


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What a card would remember of a computation: operations on addresses, and the numbers that Python had then."""

    def __init__(self, compute: Compute) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []
        with self:
            self.answer_BV = compute()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        assert func.overloadpacket.__name__ not in WAITS_FOR_THE_CARD
        made = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, made))
        return made

    def __call__(self) -> Tensor:
        for func, args, kwargs, made in self.calls:
            for then, now in zip(tree_leaves(made), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(then, Tensor) and then.data_ptr() != now.data_ptr():  # else a view, or written in place
                    then.copy_(now)
        return self.answer_BV


class Counted:
    """A way to capture that remembers how often it was asked."""

    def __init__(self, capture: Callable[[Compute], Compute] = Recording) -> None:
        self.capture, self.times = capture, 0

    def __call__(self, compute: Compute) -> Compute:
        self.times += 1
        return self.capture(compute)


@pytest.fixture
def as_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products and bends as a card computes them: numpy, which the processor prefers, would leave no trace on paper."""

    def plain(weight_OI: Tensor, weights: str, rows: int) -> products.Product:
        return products._plain(weight_OI, torch.float32 if weights == "fp32" else torch.bfloat16)

    monkeypatch.setattr(products, "_multiplication", plain)
    monkeypatch.setattr(derivatives, "by_hand", lambda x: False)


on_paper = pytest.mark.usefixtures("as_on_a_card")


def apart(a_BV: Tensor, b_BV: Tensor) -> float:
    return float((a_BV - b_BV).abs().max())


def ids_at(step: int, rows: int) -> Tensor:
    return torch.tensor([(5 * step + 3 * row) % V for row in range(rows)])


# --- the step with fixed shapes -------------------------------------------------------------------------------------


@every_form
@every_prompt
@torch.inference_mode()
def test_a_step_with_fixed_shapes_answers_as_the_ordinary_one(form: str, prompts: list[list[int]]) -> None:
    model = model_of(form)
    decoder, truth, fast = Decoder(model, rows=len(prompts)), prompted(model, prompts), prompted(model, prompts)
    fixed = FixedStep(decoder, fast)
    for step in range(8):
        ids_B = ids_at(step, len(prompts))
        fixed.advance(ids_B)
        fixed.compute()  # a second time: as in a warm-up, nothing changes by it
        assert apart(fixed.compute(), decoder.step(ids_B, truth)) < NEAR
        assert fast.lengths == truth.lengths
    for now, then in zip(fast.tapes(), truth.tapes(), strict=True):
        torch.testing.assert_close(now, then, atol=NEAR, rtol=0)


@every_form
@pytest.mark.parametrize("weights", ALL)
@torch.inference_mode()
def test_a_step_with_fixed_shapes_never_asks_the_device(form: str, weights: Any) -> None:
    model = model_of(form).to("meta")  # tensors without contents: whoever asks for a number fails
    cache = model.make_cache(3)
    fixed = FixedStep(Decoder(model, rows=3, weights=weights), cache)
    assert fixed.compute().shape == (3, V)
    assert fixed.compute().device.type == "meta"


# --- replayed -------------------------------------------------------------------------------------------------------


@on_paper
@every_form
@every_prompt
@pytest.mark.parametrize("weights", ALL)
@torch.inference_mode()
def test_what_was_recorded_once_is_every_later_step(form: str, prompts: list[list[int]], weights: Any) -> None:
    model = model_of(form, max_seq_len=64)
    decoder = Decoder(model, rows=len(prompts), weights=weights)
    truth, fast, capture = prompted(model, prompts), prompted(model, prompts), Counted()
    replayer = Replayer(decoder, capture, patience=1)
    # Two bf16 sums that round apart differ by one part in 256, and carry that from product to product.
    near = NEAR if weights == "fp32" else 0.1
    ids_B = ids_at(0, len(prompts))
    for _ in range(52):
        slow_BV, fast_BV = decoder.step(ids_B, truth), replayer.step(ids_B, fast)
        assert apart(slow_BV, fast_BV) < near
        if weights == "fp32":
            assert torch.equal(slow_BV.argmax(dim=-1), fast_BV.argmax(dim=-1))
        ids_B = slow_BV.argmax(dim=-1)
    assert capture.times == 1


@on_paper
@torch.inference_mode()
def test_an_answer_is_kept_when_the_next_one_comes() -> None:
    model = model_of("qwen3")
    replayer, cache = Replayer(Decoder(model, rows=1), Recording, patience=0), prompted(model, [[1, 2]])
    first_BV = replayer.step(torch.tensor([3]), cache)
    kept_BV = first_BV.clone()
    assert apart(replayer.step(torch.tensor([4]), cache), kept_BV) > 0
    assert torch.equal(first_BV, kept_BV)


class Doings:
    """Things that happen to a cache between steps, done to two of them alike."""

    def __init__(self, model: GPT, prompts: list[list[int]], patience: int) -> None:
        self.model, self.capture = model, Counted()
        self.decoder = Decoder(model, rows=len(prompts))
        self.truth, self.fast = prompted(model, prompts), prompted(model, prompts)
        self.replayer = Replayer(self.decoder, self.capture, patience=patience)
        self.caches: tuple[Cache, Cache] = (self.truth, self.fast)

    def step(self, number: int) -> None:
        if self.truth.longest == self.truth.pen.capacity:
            self.truncate(self.truth.longest // 2)
        ids_B = ids_at(number, len(self.truth.lengths))
        assert apart(self.decoder.step(ids_B, self.truth), self.replayer.step(ids_B, self.fast)) < NEAR
        assert self.fast.lengths == self.truth.lengths

    def truncate(self, number: int) -> None:
        """To this length at most, and each row to another."""
        shorter = [min(length, number + row) for row, length in enumerate(self.truth.lengths)]
        for cache in self.caches:
            cache.truncate(shorter)

    def keep_rows(self, number: int) -> None:
        rows = range(len(self.truth.lengths))
        chosen = [row for row in rows if row != number % 4] or [0]
        for cache in self.caches:
            cache.keep_rows(chosen)

    def replace_rows(self, number: int) -> None:
        row = number % len(self.truth.lengths)
        other = prompted(self.model, [[number % V, 7, 8][: 1 + number % 3]])
        for cache in self.caches:
            cache.replace_rows([row], other)

    def reread(self, number: int) -> None:
        """Reading a text moves the same pen by slices."""
        ids_BT = torch.full((len(self.truth.lengths), 1 + number % 3), number % V)
        for cache in self.caches:
            cache.reset()
            self.model.read(ids_BT, cache=cache)


HAPPENINGS = ("step", "step", "step", "truncate", "keep_rows", "replace_rows", "reread")
happening = st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 8))


@on_paper
@every_form
@settings(max_examples=15, deadline=None)
@given(story=st.lists(happening, max_size=25), patience=st.integers(0, 2))
def test_whatever_happens_to_the_cache_the_next_step_is_the_right_one(
    form: str, story: list[tuple[str, int]], patience: int
) -> None:
    with torch.inference_mode():
        doings = Doings(model_of(form), [[1], [2, 3, 4, 5], [6, 7]], patience)
        for name, number in [*story, ("step", 1)]:
            getattr(doings, name)(number)


@on_paper
@torch.inference_mode()
def test_it_is_recorded_again_only_where_the_memory_moved() -> None:
    doings = Doings(model_of("relu2, one step of shift"), [[1], [2, 3, 4, 5], [6, 7]], patience=0)
    for name in ("truncate", "replace_rows", "reread"):
        getattr(doings, name)(1)
        doings.step(1)
    assert doings.capture.times == 1
    doings.keep_rows(1)
    doings.step(1)
    doings.step(2)
    assert doings.capture.times == 2
    doings.replayer.step(ids_at(0, 1), prompted(doings.model, [[1, 2]]))  # another cache
    assert doings.capture.times == 3


# --- where it cannot be ---------------------------------------------------------------------------------------------


def failing(error: Exception) -> Callable[[Compute], Compute]:
    def capture(compute: Compute) -> Compute:
        compute()  # the warm-up went well
        raise error

    return capture


@pytest.mark.parametrize("kind", [RuntimeError, torch.OutOfMemoryError, torch.AcceleratorError])
@torch.inference_mode()
def test_where_nothing_can_be_recorded_steps_go_on_and_it_is_said_once(kind: type[RuntimeError]) -> None:
    model = model_of("gelu, three steps of shift")
    decoder, truth, cache = Decoder(model, rows=1), prompted(model, [[1, 2]]), prompted(model, [[1, 2]])
    capture = Counted(failing(kind("operation not permitted when stream is capturing")))
    replayer = Replayer(decoder, capture, patience=1)
    with pytest.warns(RuntimeWarning, match="no CUDA graph, so writing is slower: operation not permitted") as told:
        answers = [replayer.step(ids_at(step, 1), cache) for step in range(4)]
    cache.keep_rows([0])  # would be a reason to try again
    answers += [replayer.step(ids_at(step, 1), cache) for step in range(4, 7)]
    for step, answer_BV in enumerate(answers):
        assert apart(answer_BV, decoder.step(ids_at(step, 1), truth)) < NEAR
    assert len(told) == capture.times == 1
    assert cache.lengths == truth.lengths == (9,)


@torch.inference_mode()
def test_a_mistake_of_ours_is_not_taken_for_a_card_that_cannot() -> None:
    model = model_of("gpt2")
    replayer = Replayer(Decoder(model, rows=1), failing(TypeError("ours")), patience=0)
    with pytest.raises(TypeError, match="ours"):
        replayer.step(torch.tensor([3]), prompted(model, [[1, 2]]))


@torch.inference_mode()
def test_a_full_cache_is_found_out_before_anything_is_written() -> None:
    model, capture = model_of("gpt2", max_seq_len=3), Counted()
    decoder, cache = Decoder(model, rows=1), prompted(model, [[1, 2, 3]])
    for stepper in (decoder, Replayer(decoder, capture, patience=0)):
        with pytest.raises(AssertionError, match=r"1 more than \[3\] of 3"):
            stepper.step(torch.tensor([3]), cache)
    assert capture.times == 0


# --- writing --------------------------------------------------------------------------------------------------------


@on_paper
@pytest.mark.parametrize("form", ["gpt2", "qwen3", "gelu, three steps of shift"])
@pytest.mark.parametrize("context", [5, 40, 64])
def test_writing_by_replays_is_writing(form: str, context: int) -> None:
    model, capture = model_of(form, max_seq_len=64), Counted()
    config, prompts = SamplingConfig(max_new_tokens=100, temperature=0.8, seed=3), [[1], [2, 3, 4, 5], [6, 7]]

    def told(writer: Writer) -> list[TokenEvent]:
        return list(generate(writer, prompts, config, context=context))

    for plain, replayed in zip(told(Writer(model)), told(Writer(model, capture=capture)), strict=True):
        assert (replayed.sample, replayed.token_id) == (plain.sample, plain.token_id)
        assert replayed.log_prob == pytest.approx(plain.log_prob, abs=NEAR)
    assert capture.times == 1


@on_paper
def test_texts_that_leave_take_their_rows_along() -> None:
    model, capture = model_of("llama", max_seq_len=64), Counted()
    texts = [[1], [2, 3], [4, 5, 6]]
    plain, replayed = (Reader(writer, texts, context=64) for writer in (Writer(model), Writer(model, capture=capture)))
    for rows in ([0, 1, 2], [2, 0], [1]):
        for step in range(PATIENCE + 3):
            stay = rows if step == 0 else list(range(len(rows)))
            new = [(step + row) % V for row in stay]
            plain.go_on(stay, new)
            replayed.go_on(stay, new)
            assert apart(plain.logits_BV, replayed.logits_BV) < NEAR
    assert capture.times == 3


@on_paper
def test_a_few_tokens_are_not_worth_a_recording() -> None:
    capture = Counted()
    writer = Writer(model_of("llama", max_seq_len=64), capture=capture)
    list(generate(writer, [[1]], SamplingConfig(max_new_tokens=PATIENCE + 1)))  # the first comes with the prompt
    assert capture.times == 0
    list(generate(writer, [[1]], SamplingConfig(max_new_tokens=PATIENCE + 2)))
    assert capture.times == 1


def test_without_a_card_nothing_stands_between_a_reader_and_its_decoder() -> None:
    reader = Reader(Writer(model_of("llama")), [[1]], context=4)
    reader.go_on([0], [2])
    assert type(reader.stepper) is Decoder
    assert capture_on(torch.device("cpu")) is capture_on(torch.device("mps")) is None
    assert capture_on(torch.device("cuda", 1)) is not None


# --- CUDA -----------------------------------------------------------------------------------------------------------


class Card:
    """torch.cuda's part in a recording: which stream work goes to, and what was launched or recorded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> None:
        self.current, self.recording, self.fails, self.done = "main", False, fails, list[str]()
        self.waits: list[str] = []
        fakes = {
            "CUDAGraph": lambda: self,
            "Stream": lambda device: _Stream("side", self),
            "current_stream": lambda: _Stream(self.current, self),
            "stream": self.on,
            "device": lambda device: nullcontext(),
        }
        real_graph = create_autospec(torch.cuda.graph, side_effect=self.record)  # refuses arguments torch does not know
        for name, fake in (fakes | {"graph": real_graph}).items():
            monkeypatch.setattr(torch.cuda, name, fake)
        graphs._side_stream.cache_clear()

    @contextmanager
    def on(self, stream: _Stream) -> Iterator[None]:
        before, self.current = self.current, stream.name
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def record(self, graph: Card, *, stream: _Stream, capture_error_mode: str) -> Iterator[None]:
        assert graph is self
        self.current, self.recording = stream.name, True
        yield
        self.recording = False
        if self.fails:  # then torch leaves its side stream in place
            raise torch.AcceleratorError("operation failed due to a previous error during capture")

    def compute(self) -> Tensor:
        self.done.append(f"{'recorded' if self.recording else 'run'} on {self.current}")
        return torch.tensor([len(self.done)])

    def replay(self) -> None:
        self.done.append(f"replayed on {self.current}")


class _Stream:
    def __init__(self, name: str, card: Card) -> None:
        self.name, self.card = name, card

    def wait_stream(self, other: _Stream) -> None:
        self.card.waits.append(f"{self.name} for {other.name}")


@pytest.fixture
def fresh_streams() -> Iterator[None]:
    yield
    graphs._side_stream.cache_clear()  # so that no test meets another's fake


@pytest.mark.usefixtures("fresh_streams")
def test_a_card_warms_up_and_records_on_one_side_stream_and_replays_on_the_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = Card(monkeypatch)
    replay = on_cuda(card.compute, device=torch.device("cuda"))
    assert card.done == ["run on side"] * WARM_UPS + ["recorded on side"]
    assert replay() is replay()
    assert card.done[-2:] == ["replayed on main"] * 2
    assert card.waits == ["side for main", "main for side"]


@pytest.mark.usefixtures("fresh_streams")
def test_a_recording_that_fails_leaves_the_callers_stream_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, fails=True)
    with pytest.raises(torch.AcceleratorError):
        on_cuda(card.compute, device=torch.device("cuda"))
    assert card.current == "main"
    assert card.waits == ["side for main", "main for side"]
    assert not graphs._one_at_a_time.locked()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: here a recording on paper stands for it")
@every_form
@pytest.mark.parametrize("weights", ALL)
@torch.inference_mode()
def test_on_a_card_the_graph_is_the_step(form: str, weights: Any) -> None:
    device = torch.device("cuda")
    model = copy.deepcopy(model_of(form, max_seq_len=64)).to(device)
    capture = capture_on(device)
    assert capture is not None
    decoder = Decoder(model, rows=3, weights=weights)
    truth, fast, replayer = model.make_cache(3), model.make_cache(3), Replayer(decoder, capture, patience=1)
    near = 1e-3 if weights == "fp32" else 0.1  # TF32 is not on here; other kernels for other shapes are
    for rows in ([0, 1, 2], [2, 0]):
        for cache in (truth, fast):
            cache.keep_rows(rows)
        for step in range(20):
            ids_B = ids_at(step, len(rows)).to(device)
            assert apart(replayer.step(ids_B, fast), decoder.step(ids_B, truth)) < near
        assert replayer.replay is not None
