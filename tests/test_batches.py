from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassgpt.data.batches import NO_TARGET, Batches, evaluation_windows, hashes, piece_of
from glassgpt.errors import ConfigError, DataError

SIZES = st.tuples(st.integers(1, 300), st.integers(1, 20), st.integers(1, 12)).filter(lambda size: size[0] > size[1])
SEEDS = st.integers(0, 2**70)


def _ids(count: int) -> npt.NDArray[np.uint16]:
    return np.arange(count, dtype=np.uint16)  # an id is its own place, so a window shows where it was cut


def _starts(batches: Batches, first_window: int, count: int) -> list[int]:
    """Where the windows of the endless line begin, asked for batch by batch."""
    size = batches.batch_size
    steps = range(first_window // size, -(-(first_window + count) // size))
    line = np.concatenate([batches.batch(step)[0][:, 0] for step in steps])
    skipped = first_window - steps[0] * size
    starts: list[int] = line[skipped : skipped + count].tolist()
    return starts


@settings(deadline=None)
@given(SIZES, SEEDS, st.integers(0, 5))
def test_every_epoch_visits_each_of_its_windows_exactly_once(size: Any, seed: int, epoch: int) -> None:
    count, seq_len, batch_size = size
    batches = Batches(_ids(count), seq_len=seq_len, batch_size=batch_size, seed=seed)
    number = batches.windows_per_epoch
    starts = sorted(_starts(batches, epoch * number, number))
    assert starts == list(range(starts[0], starts[0] + number * seq_len, seq_len))  # side by side, none twice
    assert 0 <= starts[0] < seq_len
    assert starts[-1] + seq_len < count  # the last target exists too
    assert number >= max(1, (count - 1) // seq_len - 1)  # at most one window is given up to move the borders


@settings(deadline=None)
@given(SIZES, SEEDS, st.integers(0, 50))
def test_targets_are_the_tokens_that_come_next(size: Any, seed: int, step: int) -> None:
    count, seq_len, batch_size = size
    x, y = Batches(_ids(count), seq_len=seq_len, batch_size=batch_size, seed=seed).batch(step)
    assert x.shape == y.shape == (batch_size, seq_len)
    assert x.dtype == y.dtype == np.int64
    assert (y == x + 1).all()
    assert (np.diff(x, axis=1) == 1).all()


@settings(deadline=None)
@given(SIZES, SEEDS, st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_a_step_does_not_depend_on_what_was_asked_before(size: Any, seed: int, steps: list[int]) -> None:
    count, seq_len, batch_size = size
    used = Batches(_ids(count), seq_len=seq_len, batch_size=batch_size, seed=seed)
    for step in steps:
        fresh = Batches(_ids(count), seq_len=seq_len, batch_size=batch_size, seed=seed)
        np.testing.assert_array_equal(used.batch(step), fresh.batch(step))


@pytest.mark.parametrize(("world_size", "grad_accum"), [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2), (2, 6), (4, 3)])
def test_processes_and_micro_batches_share_the_one_batch_in_its_order(world_size: int, grad_accum: int) -> None:
    batches = Batches(_ids(1000), seq_len=7, batch_size=12, seed=3)
    for step in (0, 11, 12, 40):  # 142 windows: step 11 straddles two epochs
        whole = batches.batch(step)
        pieces: dict[int, Any] = {}
        for rank in range(world_size):
            for micro in range(grad_accum):
                piece = batches.batch(step, rank=rank, world_size=world_size, micro=micro, grad_accum=grad_accum)
                pieces[piece_of(rank, world_size, micro)] = piece
        assert sorted(pieces) == list(range(world_size * grad_accum))
        together = [np.concatenate([pieces[number][side] for number in sorted(pieces)]) for side in (0, 1)]
        np.testing.assert_array_equal(together, whole)


def test_epochs_differ_in_order_and_in_borders() -> None:
    batches = Batches(_ids(2000), seq_len=10, batch_size=1, seed=1)
    number = batches.windows_per_epoch
    epochs = [_starts(batches, epoch * number, number) for epoch in range(40)]
    orders = {tuple((np.array(epoch) - min(epoch)).tolist()) for epoch in epochs}
    assert len(orders) == 40
    assert len({min(epoch) for epoch in epochs}) == 10  # with 40 draws of 10 places, 1.5 % of seeds would miss one


def test_another_seed_is_another_order() -> None:
    orders = {tuple(_starts(Batches(_ids(500), seq_len=5, batch_size=4, seed=seed), 0, 40)) for seed in range(20)}
    assert len(orders) == 20


def test_the_order_is_shuffled_evenly() -> None:
    """Each window comes first about equally often: chi-squared over 20 windows, 19 degrees of freedom."""
    first = [_starts(Batches(_ids(211), seq_len=10, batch_size=1, seed=seed), 0, 1)[0] // 10 for seed in range(2000)]
    seen = np.bincount(first, minlength=20)
    assert len(seen) == 20
    assert ((seen - 100) ** 2 / 100).sum() < 43.8  # what chance exceeds once in a thousand seeds


def test_the_order_will_be_the_same_in_every_version() -> None:
    """Golden: a run resumed with a later version must see the same batches."""
    assert _starts(Batches(_ids(1003), seq_len=10, batch_size=7, seed=1), 0, 7) == GOLDEN_STARTS


GOLDEN_STARTS = [464, 44, 294, 854, 634, 494, 794]


def test_the_hash_is_splitmix64() -> None:
    """The numbers are those of an independent, slow version in plain integers."""
    mask = (1 << 64) - 1

    def mix(state: int) -> int:
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & mask
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & mask
        return state ^ (state >> 31)

    golden = 0x9E3779B97F4A7C15
    assert mix(1234567 + golden & mask) == 6457827717110365317  # the reference implementation's first for this seed
    state = mix(77 + golden) + golden & mask
    assert hashes(100, 77).tolist() == [mix(state + golden * place & mask) for place in range(1, 101)]


def test_epoch_of_a_step_is_the_epoch_of_its_first_window() -> None:
    batches = Batches(_ids(101), seq_len=10, batch_size=4, seed=1)
    assert batches.windows_per_epoch == 9
    assert [batches.epoch_of(step) for step in range(6)] == [0, 0, 0, 1, 1, 2]


def test_a_batch_may_be_larger_than_an_epoch() -> None:
    x, _ = Batches(_ids(31), seq_len=10, batch_size=8, seed=1).batch(3)
    assert x.shape == (8, 10)


def test_two_million_windows_are_fine() -> None:
    batches = Batches(np.zeros(16_000_000, dtype=np.uint8), seq_len=8, batch_size=4, seed=1)
    assert batches.windows_per_epoch == 1_999_999
    assert batches.batch(0)[0].shape == (4, 8)


def test_a_text_without_a_single_window_is_refused() -> None:
    with pytest.raises(DataError, match=r"has 10 tokens, and one window needs 11 \(seq_len=10"):
        Batches(_ids(10), seq_len=10, batch_size=1, seed=1)
    assert Batches(_ids(11), seq_len=10, batch_size=1, seed=1).batch(5)[1][0, -1] == 10


def test_a_batch_that_does_not_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_size=6 does not split evenly over 2 processes x grad_accum=2"):
        Batches(_ids(100), seq_len=5, batch_size=6, seed=1).batch(0, world_size=2, grad_accum=2)


@settings(deadline=None)
@given(st.integers(2, 300), st.integers(1, 20), st.integers(1, 6))
def test_an_evaluation_asks_for_each_token_once_in_order(count: int, seq_len: int, batch_size: int) -> None:
    batches = list(evaluation_windows(_ids(count), seq_len, batch_size))
    assert all(x.shape == y.shape == (batch_size, seq_len) for x, y in batches)
    x, y = (np.concatenate([batch[side].ravel() for batch in batches]) for side in (0, 1))
    asked = y != NO_TARGET
    assert y[asked].tolist() == list(range(1, count))
    assert (x[asked] + 1 == y[asked]).all()
    assert all((batch[1] != NO_TARGET).any() for batch in batches)  # none is padding alone


def test_an_evaluation_of_one_token_is_refused() -> None:
    with pytest.raises(DataError, match="has 1 tokens"):
        list(evaluation_windows(_ids(1), 4, 2))


@given(length=st.sampled_from([1, 2, 3, 4, 6]), seed=st.integers(0, 99))
def test_shorter_windows_are_a_line_of_their_own_with_as_many_tokens_in_a_batch(length: int, seed: int) -> None:
    batches = Batches(_ids(500), seq_len=12, batch_size=4, seed=seed)
    short = batches.in_windows_of(length)
    assert short.batch(7)[0].shape == (48 // length, length)
    alone = Batches(_ids(500), seq_len=length, batch_size=48 // length, seed=seed)
    assert all((a == b).all() for a, b in zip(short.batch(7), alone.batch(7), strict=True))
    assert batches.in_windows_of(12) is batches
    assert batches.in_windows_of(length) is short
