"""Numerical solvers against closed forms, scipy, mpmath, brute force and optimality conditions."""

from __future__ import annotations

import itertools
import math

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sixgym.envs.backend import solvers

F64 = torch.float64
seeds = st.integers(0, 2**31)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_bisection_finds_cube_roots_rising_and_falling() -> None:
    target = torch.tensor([0.1, 1.0, 8.0, 20.0], dtype=F64)
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=F64)
    low, high = torch.zeros(4, dtype=F64), torch.full((4,), 3.0, dtype=F64)
    root = solvers.bisect(lambda x: sign * (x**3 - target), low, high, 60)
    torch.testing.assert_close(root, target ** (1 / 3), rtol=1e-15, atol=1e-15)


def test_bisection_halves_the_interval_and_goes_to_the_nearer_end() -> None:
    low, high = torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64)
    assert solvers.bisect(lambda x: x - 0.3, low, high, 1).item() == 0.25
    shift = torch.tensor([2.0, -2.0, 2.0, -2.0], dtype=F64)
    sign = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=F64)
    at = solvers.bisect(lambda x: sign * (x + shift), low.expand(4), high.expand(4), 40)
    assert at.tolist() == pytest.approx([0.0, 1.0, 0.0, 1.0], abs=1e-11)


def test_bisection_equals_scipy_brentq() -> None:
    """Stationarity of dossier 3.3 (T9): e^(a s) rising against ln^2(1/s)/s falling."""
    scale = draw(0, 20) * 5 + 0.1
    root = solvers.bisect(
        lambda s: torch.exp(s) - scale * torch.log(1 / s) ** 2 / s,
        torch.full_like(scale, 1e-3),
        torch.ones_like(scale),
        60,
    )
    for a, got in zip(scale.tolist(), root.tolist(), strict=True):
        expected = scipy.optimize.brentq(
            lambda s, a=a: math.exp(s) - a * math.log(1 / s) ** 2 / s, 1e-3, 1.0, xtol=1e-15
        )
        assert got == pytest.approx(expected, rel=1e-12)


def test_golden_section_finds_every_minimum_of_a_batch() -> None:
    centre = torch.tensor([[-0.7, 0.0, 0.2], [0.9, 1.0, -1.0]], dtype=F64)
    ends = torch.ones_like(centre)
    found = solvers.golden_section(lambda x: (x - centre).abs(), -ends, ends, 60)
    torch.testing.assert_close(found.point, centre, atol=2e-12, rtol=0)
    assert found.value.max().item() < 2e-12
    smooth = solvers.golden_section(lambda x: torch.cosh(x - centre), -ends, ends, 45)
    torch.testing.assert_close(smooth.point, centre, atol=5e-8, rtol=0)


def test_golden_section_evaluates_once_a_step() -> None:
    calls = []

    def function(x: Tensor) -> Tensor:
        calls.append(1)
        return (x - 0.3) ** 2

    solvers.golden_section(function, torch.zeros(1), torch.ones(1), 10)
    assert len(calls) == 12


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-15), (torch.float32, 1e-6)])
def test_lambert_w_equals_scipy(dtype: torch.dtype, tolerance: float) -> None:
    """Away from the branch point; scipy itself loses digits close to -1/e."""
    top = 300 if dtype == torch.float64 else 37
    upper = np.concatenate([np.linspace(-0.36, 3, 2000), np.logspace(-top, top, 1000), [0.0]])
    x = torch.tensor(upper, dtype=dtype)
    expected = torch.tensor(scipy.special.lambertw(x.double().numpy(), 0).real)
    torch.testing.assert_close(solvers.lambert_w0(x).double(), expected, rtol=tolerance, atol=0)
    x = torch.tensor(-np.logspace(-top, math.log10(0.36), 2000), dtype=dtype)
    expected = torch.tensor(scipy.special.lambertw(x.double().numpy(), -1).real)
    torch.testing.assert_close(solvers.lambert_wm1(x).double(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize(
    ("dtype", "closest", "tolerance"), [(torch.float64, -15, 2e-14), (torch.float32, -7, 1e-6)]
)
def test_lambert_w_next_to_the_branch_point_equals_mpmath(
    dtype: torch.dtype, closest: int, tolerance: float
) -> None:
    """40 digits are the reference where scipy is off by up to 1e-4."""
    steps = np.logspace(closest, -0.5, 60)
    x = torch.tensor((steps - 1.0) / math.e, dtype=dtype).unique()
    principal, lower = solvers.lambert_w0(x).tolist(), solvers.lambert_wm1(x).tolist()
    with mpmath.workdps(40):
        for value, w0, wm1 in zip(x.tolist(), principal, lower, strict=True):
            exact = mpmath.mpf(value)
            if exact < -1 / mpmath.e:
                continue
            assert w0 == pytest.approx(float(mpmath.lambertw(exact, 0).real), rel=tolerance)
            assert wm1 == pytest.approx(float(mpmath.lambertw(exact, -1).real), rel=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_lambert_w_at_the_edges_of_its_domain(dtype: torch.dtype) -> None:
    x = torch.tensor([-1 / math.e, -0.4, 0.0, math.e, math.inf], dtype=dtype)
    w = solvers.lambert_w0(x).tolist()
    assert w[0] == pytest.approx(-1.0, abs=1e-3)
    assert math.isnan(w[1])
    assert w[2] == 0.0
    assert w[3] == pytest.approx(1.0, rel=1e-6)
    assert w[4] == math.inf
    lower = solvers.lambert_wm1(torch.tensor([-1 / math.e, -0.4, 0.0, 0.1], dtype=dtype)).tolist()
    assert lower[0] == pytest.approx(-1.0, abs=1e-3)
    assert math.isnan(lower[1])
    assert lower[2] == -math.inf
    assert math.isnan(lower[3])


@given(st.floats(-0.36, 1e6), st.floats(-0.36, -1e-12))
def test_lambert_w_inverts_w_exp_w(x: float, negative: float) -> None:
    w0 = solvers.lambert_w0(torch.tensor(x, dtype=F64)).item()
    assert w0 >= -1
    assert w0 * math.exp(w0) == pytest.approx(x, rel=1e-13, abs=1e-300)
    wm1 = solvers.lambert_wm1(torch.tensor(negative, dtype=F64)).item()
    assert wm1 <= -1
    assert wm1 * math.exp(wm1) == pytest.approx(negative, rel=1e-13)


def test_water_filling_by_hand() -> None:
    """Floors 1, 2, 4; a budget of 3 fills two channels to level 3; a budget of 11 all to 6."""
    gain = torch.tensor([1.0, 0.25, 0.5], dtype=F64)
    assert solvers.water_filling(gain, 3.0).tolist() == pytest.approx([2.0, 0.0, 1.0])
    assert solvers.water_filling(gain, 11.0).tolist() == pytest.approx([5.0, 2.0, 4.0])
    assert solvers.water_filling(gain, 0.0).tolist() == [0.0, 0.0, 0.0]


@given(seeds, st.integers(1, 6), st.floats(1e-3, 1e3))
def test_water_filling_meets_its_optimality_conditions(
    seed: int, channels: int, budget: float
) -> None:
    """KKT: sum = budget; one level on the channels used; no unused floor below it."""
    gain = draw(seed, 3, channels) * 10 + 1e-3
    power = solvers.water_filling(gain, budget)
    torch.testing.assert_close(power.sum(-1), torch.full((3,), budget, dtype=F64))
    level = power + 1 / gain
    for row in range(3):
        used = power[row] > 0
        top = level[row][used].max().item()
        assert level[row][used].min().item() == pytest.approx(top, rel=1e-9)
        assert bool((1 / gain[row][~used] >= top * (1 - 1e-9)).all())


def test_water_filling_beats_a_grid_of_splits() -> None:
    gain = torch.tensor([3.0, 1.0, 0.4], dtype=F64)
    best = torch.log1p(gain * solvers.water_filling(gain, 2.0)).sum().item()
    steps = np.linspace(0, 2, 201)
    rates = [
        math.log1p(3 * a) + math.log1p(b) + math.log1p(0.4 * (2 - a - b))
        for a, b in itertools.product(steps, steps)
        if a + b <= 2
    ]
    assert best >= max(rates)
    assert best == pytest.approx(max(rates), abs=1e-4)


def test_water_filling_leaves_dead_channels_dry() -> None:
    gain = torch.tensor([[0.0, 2.0], [0.0, 0.0]], dtype=F64)
    power = solvers.water_filling(gain, torch.tensor([1.0, 1.0], dtype=F64))
    assert power.tolist() == [[0.0, 1.0], [0.0, 0.0]]


@given(seeds, st.integers(1, 7), st.floats(0.1, 10.0))
def test_simplex_projection_is_the_nearest_point(seed: int, n: int, total: float) -> None:
    """The variational inequality (x - p).(y - p) <= 0 for the corners y characterises it."""
    x = 4 * draw(seed, n) - 2
    p = solvers.project_simplex(x, total)
    assert bool((p >= 0).all())
    assert p.sum().item() == pytest.approx(total, rel=1e-12)
    corners = total * torch.eye(n, dtype=F64)
    assert ((corners - p) @ (x - p)).max().item() <= 1e-9
    torch.testing.assert_close(solvers.project_simplex(p, total), p)


def test_box_projection_clamps() -> None:
    x = torch.tensor([-2.0, 0.3, 5.0])
    assert solvers.project_box(x, 0.0, 1.0).tolist() == pytest.approx([0.0, 0.3, 1.0])
    limit = torch.tensor([1.0, 0.1, 4.0])
    assert solvers.project_box(x, -1.0, limit).tolist() == pytest.approx([-1.0, 0.1, 4.0])


def test_projected_gradient_solves_water_filling() -> None:
    """Two codes for one optimum: the gradient method reaches the sorted solution."""
    gain = draw(7, 5, 4) * 3 + 0.5
    step = 1.0 / gain.square().amax(-1, keepdim=True)
    power = solvers.projected_gradient(
        lambda p: -gain / (1 + gain * p),
        lambda p: solvers.project_simplex(p, 2.0),
        torch.full_like(gain, 0.5),
        step,
        3000,
    )
    torch.testing.assert_close(power, solvers.water_filling(gain, 2.0), atol=1e-6, rtol=0)


def test_projected_gradient_stops_at_the_box() -> None:
    centre = torch.tensor([2.0, 0.4, -1.0], dtype=F64)
    x = solvers.projected_gradient(
        lambda p: p - centre,
        lambda p: solvers.project_box(p, 0.0, 1.0),
        torch.zeros(3, dtype=F64),
        0.5,
        100,
    )
    assert x.tolist() == pytest.approx([1.0, 0.4, 0.0])


@pytest.mark.parametrize("items", range(9))
def test_permutation_table_holds_each_once(items: int) -> None:
    table = solvers.all_permutations(items)
    assert table.shape == (math.factorial(items), items)
    assert len({tuple(row) for row in table.tolist()}) == len(table)
    assert table[0].tolist() == list(range(items))
    assert bool((table.sort(-1).values == torch.arange(items)).all())


def test_best_permutation_solves_assignment() -> None:
    """Least-cost assignment of 5 jobs, against scipy's Hungarian method."""
    cost = draw(3, 10, 5, 5)
    table = solvers.all_permutations(5)
    total = cost[:, torch.arange(5), table].sum(-1)
    best = solvers.best_permutation(total, table)
    for row in range(10):
        _, columns = scipy.optimize.linear_sum_assignment(cost[row].numpy())
        assert best[row].tolist() == columns.tolist()


def test_ties_take_the_first_permutation() -> None:
    table = solvers.all_permutations(3)
    assert solvers.best_permutation(torch.zeros(2, 6), table).tolist() == [[0, 1, 2]] * 2


def test_wrong_scalars_are_named() -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match=r"steps = 0, must be >= 1"):
        solvers.bisect(lambda x: x, one, one, 0)
    with pytest.raises(ValueError, match=r"steps = 0, must be >= 1"):
        solvers.golden_section(lambda x: x, one, one, 0)
    with pytest.raises(ValueError, match=r"budget = -1.0, must be >= 0"):
        solvers.water_filling(one, -1.0)
    with pytest.raises(ValueError, match=r"total = 0.0, must be > 0"):
        solvers.project_simplex(one, 0.0)
    with pytest.raises(ValueError, match=r"step = 0.0, must be > 0"):
        solvers.projected_gradient(lambda x: x, lambda x: x, one, 0.0, 5)
    with pytest.raises(ValueError, match=r"num_items = 9, must be from 0 to 8"):
        solvers.all_permutations(9)
    with pytest.raises(ValueError, match=r"cost: last axis is 5, must be 6"):
        solvers.best_permutation(torch.zeros(5), solvers.all_permutations(3))
