"""The time integral of the largest deviation over a round, against sums over fine grids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from round_cases import INSTANCE_A, batch, levels, moves

from sixgym.envs.twin_mobility.round_integral import Twins, of_largest, over_round
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.envs.twin_mobility.twin import deviation

MODES: list[dict[str, Any]] = [
    {},
    {"omega": 0.0},
    {"deviation": "ratio"},
    {"deviation": "ou"},
    {"deviation": "ou", "ou_rate_per_s": 0.5},
]
POINTS = 50_001


def random_round(rows: int, regions: int, seed: int) -> tuple[Any, ...]:
    """Twins before and after, refreshes (a third never), drifts, lengths."""
    torch.manual_seed(seed)
    u = torch.rand(7, rows, regions, dtype=torch.float64)
    length = 10.0 + 60.0 * torch.rand(rows, dtype=torch.float64)
    refresh = u[0] * length.unsqueeze(-1)
    stamp = u[1] * refresh
    never = u[2] < 1 / 3
    refresh = torch.where(never, torch.inf, refresh)
    before = Twins(30.0 * u[3], 1.0 + 2.0 * u[4])
    after = Twins(-stamp, 1.0 + 2.0 * u[5])
    return before, after, refresh, 0.02 + 0.04 * u[6], length


def on_a_grid(
    params: TwinRoundParams, before: Twins, after: Twins, refresh: Any, drift: Any, length: Any
) -> float:
    """The same of one row by the midpoint rule."""
    at = (torch.arange(POINTS, dtype=torch.float64) + 0.5) * (float(length) / POINTS)
    new = at.unsqueeze(-1) >= refresh
    age = torch.where(new, after.age_s, before.age_s) + at.unsqueeze(-1)
    info = torch.where(new, after.info, before.info)
    largest = deviation(drift, age, info, params).amax(-1)
    return float(largest.mean() * length)


@pytest.mark.parametrize("kwargs", MODES, ids=str)
@pytest.mark.parametrize("regions", [1, 4, 9])
def test_the_integral_is_that_of_a_fine_grid(kwargs: dict[str, Any], regions: int) -> None:
    params = TwinRoundParams.create(**kwargs)
    before, after, refresh, drift, length = random_round(6, regions, 7)
    exact = over_round(before, after, refresh, drift, length, params)
    for i in range(6):
        rough = on_a_grid(
            params,
            Twins(before.age_s[i], before.info[i]),
            Twins(after.age_s[i], after.info[i]),
            refresh[i],
            drift[i],
            length[i],
        )
        # the midpoint rule misses a jump by at most one cell
        assert float(exact[i]) == pytest.approx(rough, rel=2e-4)


@pytest.mark.parametrize("kwargs", MODES, ids=str)
def test_single_precision_agrees(kwargs: dict[str, Any]) -> None:
    params = TwinRoundParams.create(**kwargs)
    before, after, refresh, drift, length = random_round(200, 4, 3)
    exact = over_round(before, after, refresh, drift, length, params)
    single = over_round(
        Twins(*(t.float() for t in before)),
        Twins(*(t.float() for t in after)),
        refresh.float(),
        drift.float(),
        length.float(),
        params,
    )
    assert torch.allclose(single.double(), exact, rtol=2e-5)


def test_one_line_is_a_trapezoid() -> None:
    params = TwinRoundParams.create()
    age, info, drift = torch.tensor([[3.0]]), torch.tensor([[2.0]]), torch.tensor([[0.05]])
    area = of_largest(Twins(age, info), drift, torch.tensor([8.0]), params)
    assert float(area) == pytest.approx(8.0 * (0.05 * (3.0 + 4.0) + np.exp(-2.0)), rel=1e-6)


def test_equal_and_parallel_lines_count_once() -> None:
    params = TwinRoundParams.create()
    age = torch.tensor([[3.0, 3.0, 1.0]], dtype=torch.float64)
    info, drift = torch.full_like(age, 2.0), torch.full_like(age, 0.05)
    alone = of_largest(Twins(age[:, :1], info[:, :1]), drift[:, :1], torch.tensor([8.0]), params)
    three = of_largest(Twins(age, info), drift, torch.tensor([8.0]), params)
    assert float(alone) == pytest.approx(float(three), rel=1e-12)


def test_no_time_has_no_integral() -> None:
    before, after, refresh, drift, length = random_round(5, 4, 1)
    area = over_round(before, after, refresh, drift, 0.0 * length, TwinRoundParams.create())
    assert area.tolist() == [0.0] * 5


# ------------------------------------------------------------------------------ in the game


def test_the_reward_is_the_integral_over_60_s() -> None:
    """One agent, instance A: refreshed at the end of the round, after a rise from 0.15."""
    env = batch(1, num_agents=1, num_regions=1, bandwidth_hz=1e6, num_rounds=5)
    env.reset(seed=0, options={"instance": INSTANCE_A})
    u = levels(env.system.params, v=12.0, tau=6.0, eta=0.25, xi=0.4)
    _, reward, _, _, info = env.step(moves([[1]], [[u]]))
    length = 52.406345
    area = 0.15 * length + 0.04 * length**2 / 2
    assert info["deviation_s"][0] == pytest.approx(area, rel=1e-6)
    assert reward[0] == pytest.approx(-area / 60.0, rel=1e-6)


def test_rounds_played_one_by_one_add_up_to_the_horizon() -> None:
    """With nobody moving the sum is the integral up to the horizon, however rounds end."""
    totals = []
    for shortest, rounds in ((10.0, 4), (25.0, 4), (30.0, 4)):
        env = batch(3, num_rounds=rounds, round_min_s=shortest, horizon_s=120.0)
        env.reset(seed=8)
        state = env.rows.state
        total, steps, over = np.zeros(3), 0, False
        while not over:
            stay = moves(np.zeros((3, 8)), np.zeros((3, 8, 7)))
            _, reward, terminated, _, _ = env.step(stay)
            total, steps, over = total + reward, steps + 1, bool(terminated.all())
        assert steps == 4
        totals.append(total)
        want = of_largest(
            Twins(state.age_s, state.twin_info),
            state.drift,
            torch.full((3,), 120.0, dtype=torch.float64),
            env.system.params,
        )
        assert np.allclose(-total * 60.0, want.numpy())
    assert np.allclose(totals[0], totals[1])
    assert np.allclose(totals[0], totals[2])


def test_using_up_the_rounds_early_does_not_pay() -> None:
    """Twenty idle rounds of 10 s alone cost hardly more than 600 s of good service."""
    env = batch(16, preset="rounds")
    env.reset(seed=1)
    paid, closing = np.zeros(16), np.zeros(16)
    for _ in range(20):
        _, reward, terminated, _, info = env.step(moves(np.zeros((16, 8)), np.zeros((16, 8, 7))))
        paid, closing = paid + reward, closing + info["closing"]
    assert terminated.all()
    assert (info["elapsed_s"] == 410.0).all()
    assert (paid - closing).mean() > -24.0  # 600 s at a deviation of 2 cost 20
    assert (paid < -60.0).all()
