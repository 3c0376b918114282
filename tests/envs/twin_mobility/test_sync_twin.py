"""Twins: deviations, buffers and fusion against enumeration, the idle tail against loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_cases import INSTANCE_A, ONE_CYCLE, PLAN_A, Play, spot_instance
from torch import Tensor

from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.twin import (
    EMPTY,
    Fusion,
    Packets,
    deviation,
    fuse,
    idle_tail,
    insert,
)

DEVIATIONS = ("additive", "ratio", "ou")
seeds = st.integers(0, 2**31 - 1)


def double(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def params(**kwargs: Any) -> TwinSyncParams:
    return TwinSyncParams.create(**kwargs)


def buffers(rng: np.random.Generator, rows: int, regions: int, places: int) -> Packets:
    """Packets with random stamps, some places empty, sorted as the station keeps them."""
    stamp = rng.uniform(0.0, 90.0, (rows, regions, places))
    stamp[rng.random(stamp.shape) < 0.3] = EMPTY
    stamp = -np.sort(-stamp, axis=-1)
    info = np.where(np.isfinite(stamp), rng.uniform(0.05, 2.0, stamp.shape), 0.0)
    return packets(stamp, info)


def packets(stamp: Any, info: Any) -> Packets:
    t, i = double(stamp), double(info)
    return Packets(t, i, t[..., :0])


def best_by_enumeration(
    stamp: Tensor, info: Tensor, theta: float, drift: float, now: float, p: TwinSyncParams
) -> tuple[float, float, float] | None:
    """The best of the newest 1, 2, ... packets: value, stamp, information."""
    found = []
    for j in range(1, len(stamp) + 1):
        together = float(info[:j].sum())
        if stamp[j - 1] > EMPTY and together >= theta:
            oldest = float(stamp[j - 1])
            value = deviation(
                double(drift),
                double(now - oldest),
                double(together),
                p,
            )
            found.append((float(value), oldest, together))
    return min(found) if found else None


@pytest.mark.parametrize("mode", DEVIATIONS)
def test_fusion_is_the_best_of_the_newest_packets(mode: str) -> None:
    p = params(deviation=mode)
    rng = np.random.default_rng(3)
    kept = buffers(rng, 40, 3, 6)
    theta, drift = (torch.as_tensor(rng.uniform(*b, (40, 3))) for b in ((0.5, 3), (0.01, 0.06)))
    now = torch.as_tensor(rng.uniform(90.0, 120.0, 40))
    got: Fusion = fuse(kept, theta, drift, now, p)
    for row in range(40):
        for r in range(3):
            want = best_by_enumeration(
                kept.stamp[row, r],
                kept.info[row, r],
                float(theta[row, r]),
                float(drift[row, r]),
                float(now[row]),
                p,
            )
            assert bool(got.is_possible[row, r]) == (want is not None)
            if want is not None:
                told = (got.value[row, r], got.stamp[row, r], got.info[row, r])
                assert [float(x) for x in told] == pytest.approx(want, rel=1e-12)
            else:
                assert float(got.value[row, r]) == math.inf


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_a_buffer_holds_the_newest_packets_in_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept, new = buffers(rng, 5, 3, 8), buffers(rng, 5, 3, 4)
    order = torch.from_numpy(rng.permutation(4))
    new = packets(new.stamp[..., order], new.info[..., order])
    got = insert(kept, new)
    stamp = torch.cat([kept.stamp, new.stamp], -1)
    info = torch.cat([kept.info, new.info], -1)
    want, at = stamp.sort(-1, descending=True)
    assert torch.equal(got.stamp, want[..., :8])
    assert torch.equal(got.info, info.gather(-1, at)[..., :8])


def test_with_no_drift_the_freshest_of_equals_is_not_required() -> None:
    """A stale partner is used only where it pays: 0.05 / s against what it adds to the sight."""
    p = params()
    theta = double([[1.0]])
    now = double([10.0])
    kept = packets([[[9.0, 3.0]]], [[[1.5, 1.5]]])
    for drift, stamp, info in ((0.05, 9.0, 1.5), (0.01, 3.0, 3.0)):
        got = fuse(kept, theta, double([[drift]]), now, p)
        assert [float(got.stamp), float(got.info)] == [stamp, info]


@pytest.mark.parametrize("mode", DEVIATIONS)
def test_deviation_grows_with_age_and_falls_with_information(mode: str) -> None:
    p = params(deviation=mode, ou_rate_per_s=0.004)
    drift = double(0.05)
    age = torch.linspace(0.0, 200.0, 300).double()
    info = torch.linspace(0.5, 6.0, 50).double()
    value = deviation(drift, age.unsqueeze(1), info, p)
    assert bool((value.diff(dim=0) > 0).all())  # lambda / (2 theta) = 6.25 > omega e^-I
    assert bool((value.diff(dim=1)[1:] < 0).all())


def test_deviations_have_their_formulas() -> None:
    drift, age, info = (double(x) for x in (0.04, 25.0, 2.0))
    assert float(deviation(drift, age, info, params(omega=2.0))) == pytest.approx(
        0.04 * 25 + 2 * math.exp(-2), rel=1e-14
    )
    ratio = deviation(drift, age, info, params(deviation="ratio"))
    assert float(ratio) == pytest.approx(1.0 / (1 - math.exp(-2)), rel=1e-14)
    ou = deviation(drift, age, info, params(deviation="ou"))
    kept = math.exp(-0.5)
    assert float(ou) == pytest.approx(2.0 * (1 - kept) + math.exp(-2) * kept, rel=1e-14)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(DEVIATIONS), st.sampled_from([0.5, 1.0, 3.0]))
def test_the_idle_tail_is_the_sum_over_its_slots(seed: int, mode: str, slot_s: float) -> None:
    p = params(deviation=mode)
    rng = np.random.default_rng(seed)
    rows, regions = 6, int(rng.integers(1, 7))
    drift = torch.as_tensor(rng.choice([0.0, 0.02, 0.03, rng.uniform(0, 0.1)], (rows, regions)))
    info = torch.as_tensor(rng.choice([1.0, rng.uniform(0.1, 4.0)], (rows, regions)))
    start = torch.as_tensor(rng.choice([0.0, 5.0, rng.uniform(0, 60)], (rows, regions)))
    slots = torch.as_tensor(rng.integers(0, 120, rows).astype(float))
    got = idle_tail(start, info, drift, slots, p, slot_s)
    largest, each = torch.zeros(rows).double(), torch.zeros(rows, regions).double()
    for i in range(120):
        value = deviation(drift, start + (i + 0.5) * slot_s, info, p)
        on = (i < slots).double()
        largest += on * value.amax(-1)
        each += on.unsqueeze(-1) * value
    torch.testing.assert_close(got.largest, largest, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(got.each, each, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mode", DEVIATIONS)
def test_an_update_never_raises_the_deviation_though_its_stamp_may_fall_back(mode: str) -> None:
    play = Play(rows=24, seed=5, num_agents=6, num_regions=2, deviation=mode, battery_j=1e5)
    generator = torch.Generator().manual_seed(1)
    accepted, older = 0.0, 0
    for _ in range(150):
        before = play.state
        u = torch.rand(24, 6, 7, generator=generator)
        told = play.step(torch.randint(0, 3, (24, 6), generator=generator), u)
        age = play.state.slot.unsqueeze(-1) - before.twin_stamp
        unchanged = deviation(before.drift, age, before.twin_info, play.params)
        updated = play.state.twin_info != before.twin_info
        accepted += float(told["accepted"].sum())
        older += int((play.state.twin_stamp < before.twin_stamp).sum())
        torch.testing.assert_close(told["dev"][~updated], unchanged[~updated])
        assert bool((told["dev"][updated] < unchanged[updated]).all())
    assert accepted > 40
    assert older > 0 or mode != "additive"


def test_only_enough_information_is_accepted() -> None:
    play = Play(instance={**INSTANCE_A, "f_min": [0.95]}, **ONE_CYCLE)
    for _ in range(54):
        told = play.step(1, PLAN_A)
    assert [float(told[k]) for k in ("delivered", "accepted", "short")] == [1.0, 0.0, 1.0]
    assert float(told["aoi"]) == 54.0


def test_a_sampled_twin_errs_by_its_deviation_in_the_mean_square() -> None:
    """10 000 paths of one fixed schedule: mean (X - twin)^2 within three standard errors."""
    rows = 10_000
    setting = {
        "num_agents": 1,
        "num_regions": 1,
        "compression_loss": 0.0,
        "battery_j": 1e6,
        "twin_mode": "sampled",
    }
    instance = spot_instance(1)
    instance |= {"aoi0": [4.0], "f_min": [0.8]}
    play = Play(rows=rows, instance=instance, **setting)
    plan = {"speed": 5.0, "sensing": 3.7, "cpu": 1.0, "eta": 0.2, "approach": 0.0, "power": 0.2}
    updates = 0
    for _ in range(20):
        told = play.step(1, plan)
        updates += int(told["accepted"][0])
        error = told["squared_error"][:, 0]
        want = told["dev"][0, 0]
        off = (error.mean() - want) / (error.std() / math.sqrt(rows))
        assert abs(float(off)) < 3.0
        assert bool((told["dev"] == want).all())
    assert updates == 2
    assert float(play.state.twin_stamp[0, 0]) % 1.0 == pytest.approx(0.7, abs=1e-9)
