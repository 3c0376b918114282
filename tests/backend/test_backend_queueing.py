"""Buffers: every bit and every task is accounted for."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sixgym.envs.backend import queueing

F64 = torch.float64
bits = st.floats(0.0, 1e6)
buckets = st.lists(bits, min_size=1, max_size=6)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=F64)


def test_cap_case_of_the_dossier() -> None:
    """Dossier T15: 2e4 semantic bits of 4e4 raw, 7924.8125 sent: q, nu and Delta as tabulated."""
    step = queueing.data_buffer_step(
        scalar(0.0), scalar(0.0), scalar(2e4), scalar(4e4), scalar(7924.8125), 6e4
    )
    assert step.queue_bits.item() == pytest.approx(12075.1875)
    assert step.raw_bits.item() == pytest.approx(24150.375)
    assert step.delivered_raw_bits.item() == pytest.approx(15849.625)
    assert step.dropped_raw_bits.item() == 0.0


@given(bits, bits, bits, bits, bits, bits)
def test_data_buffer_conserves_both_currencies(
    queue: float, raw: float, new: float, new_raw: float, service: float, capacity: float
) -> None:
    step = queueing.data_buffer_step(
        scalar(queue), scalar(raw), scalar(new), scalar(new_raw), scalar(service), capacity
    )
    out = (step.sent_bits + step.dropped_bits + step.queue_bits).item()
    out_raw = (step.delivered_raw_bits + step.dropped_raw_bits + step.raw_bits).item()
    assert out == pytest.approx(queue + new, rel=1e-14, abs=1e-300)
    assert out_raw == pytest.approx(raw + new_raw, rel=1e-14, abs=1e-300)
    assert all(part.item() >= 0.0 for part in step)
    assert step.queue_bits.item() <= capacity
    assert step.sent_bits.item() <= service


def test_empty_buffer_delivers_nothing_and_makes_no_nan() -> None:
    zero = torch.zeros(3)
    step = queueing.data_buffer_step(zero, zero, zero, zero, zero + 5.0, math.inf)
    assert all(bool((part == 0.0).all()) for part in step)


def test_emptied_buffer_keeps_no_dust() -> None:
    """In float32, whatever the mix, a buffer that sends all it has holds exactly nothing."""
    generator = torch.Generator().manual_seed(0)
    queue, raw, new, new_raw = (torch.rand(4, 1000, generator=generator) * 6e4).unbind(0)
    step = queueing.data_buffer_step(queue, raw, new, new_raw, queue + new, 6e4)
    assert not step.queue_bits.any()
    assert not step.raw_bits.any()
    torch.testing.assert_close(step.delivered_raw_bits, raw + new_raw, rtol=0, atol=0)


def test_full_buffer_drops_the_excess_in_proportion() -> None:
    step = queueing.data_buffer_step(
        scalar(6e4), scalar(1.2e5), scalar(2e4), scalar(4e4), scalar(0.0), 6e4
    )
    assert step.queue_bits.item() == 6e4
    assert step.raw_bits.item() == pytest.approx(1.2e5)
    assert step.dropped_bits.item() == pytest.approx(2e4)
    assert step.dropped_raw_bits.item() == pytest.approx(4e4)


@pytest.mark.parametrize(
    ("backlog", "volume"),
    [((6, 0, 0, 0), 6.0), ((2, 6, 0, 0), 4.0), ((0, 0, 0, 8), 2.0), ((1, 1, 4, 10), 4.0)],
)
def test_optimal_available_volumes(backlog: tuple[int, ...], volume: float) -> None:
    """Dossier T11."""
    assert queueing.optimal_available(torch.tensor(backlog, dtype=F64)).item() == volume


def test_burst_is_spread_evenly_over_the_window() -> None:
    """Dossier T11: a burst D in the last of W buckets is served as D/W in each of W slots."""
    backlog, served = torch.tensor([0.0, 0.0, 0.0, 8.0], dtype=F64), []
    for _ in range(4):
        volume = queueing.optimal_available(backlog)
        served.append(volume.item())
        backlog, expired = queueing.shift_buckets(
            queueing.serve_buckets(backlog, volume), scalar(0.0)
        )
        assert expired.item() == 0.0
    assert served == [2.0, 2.0, 2.0, 2.0]
    assert not backlog.any()


def loop_serve(backlog: list[float], volume: float) -> list[float]:
    left = []
    for held in backlog:
        taken = min(held, volume)
        left.append(held - taken)
        volume -= taken
    return left


@given(buckets, bits)
def test_most_urgent_bits_leave_first(backlog: list[float], volume: float) -> None:
    left = queueing.serve_buckets(torch.tensor(backlog, dtype=F64), scalar(volume))
    scale = sum(backlog) + volume + 1.0
    assert left.tolist() == pytest.approx(loop_serve(backlog, volume), abs=1e-12 * scale)


@given(buckets, st.floats(0.0, 1.0), bits)
def test_buckets_conserve_bits(backlog: list[float], share: float, arrival: float) -> None:
    held = torch.tensor(backlog, dtype=F64)
    volume = held.sum() * share
    left = queueing.serve_buckets(held, volume)
    moved, expired = queueing.shift_buckets(left, scalar(arrival))
    assert moved.shape == held.shape
    assert moved[-1].item() == arrival
    total = (moved.sum() + expired + volume).item()
    assert total == pytest.approx(held.sum().item() + arrival, rel=1e-12)
    assert bool((left >= 0).all())


@given(buckets)
def test_optimal_available_never_misses_a_deadline(backlog: list[float]) -> None:
    """Served by the rule until nothing is left, no bit expires and the speed never rises."""
    held = torch.tensor(backlog, dtype=F64)
    speeds = []
    for _ in backlog:
        volume = queueing.optimal_available(held)
        speeds.append(volume.item())
        held, expired = queueing.shift_buckets(queueing.serve_buckets(held, volume), scalar(0.0))
        assert expired.item() <= 1e-9 * (sum(backlog) + 1)
    assert all(a >= b - 1e-9 * (1 + a) for a, b in itertools.pairwise(speeds))
    assert held.sum().item() <= 1e-9 * (sum(backlog) + 1)


def test_window_of_one_is_the_bucket_itself() -> None:
    held = torch.tensor([[3.0], [0.0]])
    assert queueing.optimal_available(held).tolist() == [3.0, 0.0]
    moved, expired = queueing.shift_buckets(held, torch.tensor([7.0, 8.0]))
    assert moved.tolist() == [[7.0], [8.0]]
    assert expired.tolist() == [3.0, 0.0]


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_task_buffer_counts_exactly(
    capacity: int, waiting: int, arrivals: int, service: int
) -> None:
    waiting = min(waiting, capacity)
    step = queueing.task_buffer_step(
        torch.tensor([waiting]), torch.tensor([arrivals]), torch.tensor([service]), capacity
    )
    count, served, admitted, dropped = (part.item() for part in step)
    assert waiting + arrivals == count + served + dropped
    assert arrivals == admitted + dropped
    assert served == min(waiting, service)
    assert 0 <= count <= capacity
    # nothing is dropped while there is room
    assert dropped == 0 or count == capacity
    assert step.waiting.dtype == torch.int64


def test_long_run_conserves_with_heavy_dropping() -> None:
    """Dossier T17 at this level: 2000 slots, capacity 5e3 bit, service far below the load."""
    generator = torch.Generator().manual_seed(4)
    rows, slots = 16, 2000
    zero = torch.zeros(rows, dtype=F64)
    queue, raw, backlog = zero, zero, torch.zeros(rows, 4, dtype=F64)
    arrived, delivered, dropped = zero, zero, zero
    for _ in range(slots):
        arrival, share, factor, service = torch.rand(4, rows, generator=generator, dtype=F64)
        volume = share * backlog.sum(-1)
        left = queueing.serve_buckets(backlog, volume)
        step = queueing.data_buffer_step(
            queue, raw, (0.2 + 0.8 * factor) * volume, volume, 4e3 * service, 5e3
        )
        backlog, expired = queueing.shift_buckets(left, 6e4 * arrival)
        queue, raw = step.queue_bits, step.raw_bits
        arrived = arrived + 6e4 * arrival
        delivered = delivered + step.delivered_raw_bits
        dropped = dropped + step.dropped_raw_bits + expired
    assert bool((dropped > 0.5 * arrived).all())
    total = delivered + dropped + backlog.sum(-1) + raw
    torch.testing.assert_close(total, arrived, rtol=1e-12, atol=0)


def test_wrong_capacity_is_named() -> None:
    zero = torch.zeros(1)
    with pytest.raises(ValueError, match=r"capacity_bits = -1.0, must be >= 0"):
        queueing.data_buffer_step(zero, zero, zero, zero, zero, -1.0)
    with pytest.raises(ValueError, match=r"capacity = -1, must be >= 0"):
        queueing.task_buffer_step(zero.long(), zero.long(), zero.long(), -1)
