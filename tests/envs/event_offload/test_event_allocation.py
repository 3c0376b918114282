"""Sharing rules: closed forms, enumeration, and laws that hold for any input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sixgym.envs.event_offload.allocation import (
    bid_shares,
    fair_units,
    jain,
    knapsack,
    rank_descending,
    water_filling,
    weight_shares,
    whole_units,
)

F64 = torch.float64


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def whole(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def test_fair_shares_of_sixty_with_one_small_cap() -> None:
    """Dossier 9.14: W = 60, caps (100, 100, 10), equal weights -> (25, 25, 10), Jain 8/9."""
    share = water_filling(tensor(1, 1, 1), tensor(100, 100, 10), tensor(60)[0])
    assert share.tolist() == [25.0, 25.0, 10.0]
    # (60)^2 / (3 (625 + 625 + 100)) = 3600 / 4050 = 8/9.
    assert jain(share).item() == pytest.approx(8 / 9, abs=1e-15)


def test_fair_shares_follow_the_weights_without_caps() -> None:
    """Dossier 9.14: weights (1, 2, 3) of 60 -> (10, 20, 30)."""
    loose = tensor(1e6, 1e6, 1e6)
    share = water_filling(tensor(1, 2, 3), loose, tensor(60)[0])
    assert share.tolist() == pytest.approx([10.0, 20.0, 30.0])
    assert (60 * weight_shares(tensor(1, 2, 3))).tolist() == pytest.approx([10.0, 20.0, 30.0])


def test_jain_of_one_who_takes_all_is_one_over_n() -> None:
    """Dossier 9.14: Jain([1, 0, 0]) = 1/3."""
    assert jain(tensor(1, 0, 0)).item() == pytest.approx(1 / 3)
    assert jain(tensor(0, 0, 0)).item() == 1.0
    assert jain(tensor(2, 2, 2)).item() == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), min_size=1, max_size=7),
    st.integers(0, 120),
)
def test_fair_shares_meet_the_optimality_conditions(
    devices: list[tuple[int, int]], total: int
) -> None:
    """KKT: within caps, all used up, and x/rho equal among those below their caps."""
    weight = tensor(*[w for w, _ in devices])
    cap = tensor(*[c if w else 0 for w, c in devices])
    share = water_filling(weight, cap, tensor(total)[0])
    assert bool((share >= 0).all() and (share <= cap + 1e-9).all())
    assert share.sum().item() == pytest.approx(min(total, cap.sum().item()))
    below = share < cap - 1e-9
    if below.any():
        level = share[below] / weight[below]
        assert level.max().item() == pytest.approx(level.min().item())
        full = ~below & (weight > 0)
        assert bool((share[full] / weight[full] <= level.max() + 1e-9).all())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), min_size=1, max_size=7),
    st.integers(0, 120),
)
def test_whole_units_keep_the_sum_and_stay_within_one_of_the_share(
    devices: list[tuple[int, int]], total: int
) -> None:
    weight = tensor(*[w for w, _ in devices])
    cap = whole(*[c if w else 0 for w, c in devices])
    units = fair_units(weight, cap, whole(total)[0])
    share = water_filling(weight, cap.double(), tensor(total)[0])
    assert units.sum().item() == min(total, int(cap.sum()))
    assert bool((units <= cap).all() and (units >= 0).all())
    assert bool(((units - share).abs() < 1.0 + 1e-6).all())


def test_left_over_units_go_to_the_largest_fractions_then_the_lowest_index() -> None:
    """10 among three: 3.33 each, the unit left goes to the first."""
    assert fair_units(tensor(1, 1, 1), whole(9, 9, 9), whole(10)[0]).tolist() == [4, 3, 3]
    # Shares 1.25, 2.5, 6.25 of 10: the unit left goes to the fraction .5.
    share = tensor(1.25, 2.5, 6.25)
    assert whole_units(share, whole(9, 9, 9), whole(10)[0]).tolist() == [1, 3, 6]


def test_a_third_in_single_precision_loses_no_unit() -> None:
    """48 units of six equal devices are 8 each, though 48/6 has no exact level in float32."""
    weight = torch.full((6,), 1 / 3, dtype=torch.float32)
    assert fair_units(weight, whole(*[20] * 6), whole(48)[0]).tolist() == [8] * 6


def test_shares_of_rows_and_servers_do_not_meet() -> None:
    """Leading axes are independent: each row alone gives what it gives in the batch."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(5, 2, 4, generator=generator, dtype=F64)
    cap = torch.randint(0, 20, (5, 2, 4), generator=generator)
    total = torch.randint(0, 50, (5, 2), generator=generator)
    together = fair_units(weight, cap, total)
    for i, j in itertools.product(range(5), range(2)):
        alone = fair_units(weight[i, j], cap[i, j], total[i, j])
        assert alone.tolist() == together[i, j].tolist()


def brute_force(value: np.ndarray, total: int) -> float:
    """The best sum over all allocations of at most ``total`` units."""
    devices, choices = value.shape
    best = -math.inf
    for units in itertools.product(range(choices), repeat=devices):
        if sum(units) <= total:
            best = max(best, sum(value[n, r] for n, r in enumerate(units)))
    return best


@pytest.mark.parametrize("total", [0, 1, 5, 12])
def test_knapsack_equals_enumeration_of_three_devices(total: int) -> None:
    """Dossier 9.15: exact for 3 devices, W <= 12; values need not be concave or monotone."""
    generator = np.random.default_rng(total)
    for _ in range(10):
        value = generator.normal(size=(3, 7))
        value[generator.random((3, 7)) < 0.2] = -np.inf
        value[:, 0] = generator.normal(size=3)
        packed = knapsack(torch.from_numpy(value), total)
        units = packed.units.tolist()
        assert sum(units) <= total
        assert packed.value.item() == pytest.approx(brute_force(value, total), abs=1e-12)
        reached = sum(value[n, r] for n, r in enumerate(units))
        assert reached == pytest.approx(packed.value.item(), abs=1e-12)


def test_knapsack_of_a_batch_is_that_of_its_rows() -> None:
    generator = torch.Generator().manual_seed(1)
    value = torch.rand(4, 2, 3, 6, generator=generator, dtype=F64)
    together = knapsack(value, 9)
    for i, j in itertools.product(range(4), range(2)):
        alone = knapsack(value[i, j], 9)
        assert alone.units.tolist() == together.units[i, j].tolist()
        assert alone.value.item() == together.value[i, j].item()


def test_a_fair_knapsack_of_logarithms_is_water_filling_when_utility_is_linear() -> None:
    """max sum ln r_n with caps (10, 10, 2) and W = 12 is (5, 5, 2), as continuous filling gives."""
    units = torch.arange(11, dtype=F64)
    value = torch.log(units.clamp_min(1e-9)).expand(3, -1).clone()
    value[2, 3:] = -torch.inf
    assert knapsack(value, 12).units.tolist() == [5, 5, 2]
    assert fair_units(tensor(1, 1, 1), whole(10, 10, 2), whole(12)[0]).tolist() == [5, 5, 2]


def test_bids_are_shared_by_softmax_among_those_present() -> None:
    """Bids (ln 1, ln 3) are shares (1/4, 3/4); who is absent gets nothing."""
    bid = tensor(0.0, math.log(3.0), 50.0)
    present = torch.tensor([True, True, False])
    assert bid_shares(bid, present).tolist() == pytest.approx([0.25, 0.75, 0.0])
    assert bid_shares(bid, torch.zeros(3, dtype=torch.bool)).tolist() == [0.0, 0.0, 0.0]


def test_ranks_count_ties_by_index() -> None:
    assert rank_descending(tensor(0.5, 0.7, 0.5, 0.7)).tolist() == [2, 0, 3, 1]


def test_sharing_compiles_as_one_graph() -> None:
    """No host synchronisation and no data-dependent shape anywhere."""

    def step(weight: Tensor, cap: Tensor, total: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        return fair_units(weight, cap, total), knapsack(value, 8).units

    arguments = (torch.rand(2, 3), torch.randint(0, 9, (2, 3)), whole(7, 9), torch.rand(2, 3, 5))
    traced = torch.compile(step, fullgraph=True, backend="eager")(*arguments)
    for got, want in zip(traced, step(*arguments), strict=True):
        assert torch.equal(got, want)
