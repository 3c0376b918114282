"""Every switch does what it says: one behaviour a variant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_cases import (
    INSTANCE_A,
    ON_THE_SPOT,
    ONE_CYCLE,
    PLAN_A,
    PLAN_SPOT,
    Play,
    spot_instance,
    sync,
)
from torch import Tensor

import sixgym
from sixgym.envs.twin_mobility import link
from sixgym.envs.twin_mobility.layout import place_regions
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.sharing import min_bandwidth, share_band
from sixgym.envs.twin_mobility.state import MOVE, SENSE, TX

sixgym  # noqa: B018  (registers the ids)
seeds = st.integers(0, 2**31 - 1)


def double(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


# ------------------------------------------------------------------------------- cooperation


def test_at_a_barrier_partners_begin_to_sense_together() -> None:
    """The near agent waits, free of charge, until a slot begins with nobody on the way."""
    setting = {**ON_THE_SPOT, "num_agents": 2}
    instance = spot_instance(2)
    instance["pos"] = [[600.0, 500.0], [600.0, 597.0]]  # 47 m of way, 9.4 s at 5 m/s
    stamps = {}
    for mode in ("fusion", "barrier"):
        play = Play(instance=instance, coop_mode=mode, **setting)
        for slot in range(14):
            told = play.step(1, PLAN_SPOT)
            if mode == "barrier" and slot < 10:
                assert int(play.state.stage[0, 0]) == SENSE
                assert float(told["energy"][0, 0].sum()) == 0.0
        stamps[mode] = play.state.stamp[0].tolist()
    assert stamps["barrier"] == pytest.approx([14.0, 14.0], abs=1e-9)
    assert stamps["fusion"][1] == pytest.approx(13.4, abs=1e-9)


def test_at_a_barrier_nobody_waits_for_those_who_go_elsewhere() -> None:
    setting = {**ON_THE_SPOT, "num_regions": 2, "num_agents": 2, "coop_mode": "barrier"}
    instance = {
        "pos": [[600.0, 500.0], [100.0, 100.0]],
        "reg_xy": [[600.0, 500.0], [800.0, 800.0]],
    }
    play = Play(instance=instance, **setting)
    play.step([1, 2], PLAN_SPOT)
    assert play.state.stage[0].tolist() == [SENSE, MOVE]
    told = play.step([1, 2], PLAN_SPOT)  # alone, it begins with the next slot
    assert float(told["energy"][0, 0, 1]) == pytest.approx(1.0)


# ------------------------------------------------------------------------------- uplink


def test_the_band_is_shared_by_requests() -> None:
    sends = torch.tensor([[True, True, False, True]])
    weight = double([[1.0, 0.5, 1.0, 0.5]])
    bits, received = torch.full((1, 4), 1e6).double(), torch.full((1, 4), 1e-13).double()
    p = TwinSyncParams.create(num_agents=4)
    got = share_band(sends, weight, bits, received, p)
    assert got[0].tolist() == [2e6, 1e6, 0.0, 1e6]
    p = TwinSyncParams.create(num_agents=4, bw_mode="equal")
    got = share_band(sends, weight, bits, received, p)
    assert got[0].tolist() == pytest.approx([4e6 / 3, 4e6 / 3, 0.0, 4e6 / 3])
    assert share_band(torch.zeros_like(sends), weight, bits, received, p).sum() == 0.0


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from([0.0, 3.0]))
def test_minmax_equalises_the_remaining_times(seed: int, cap: float) -> None:
    rng = np.random.default_rng(seed)
    p = TwinSyncParams.create(num_agents=5, bw_mode="minmax", se_max=cap)
    sends = torch.as_tensor(rng.random((20, 5)) < 0.7)
    bits = double(10.0 ** rng.uniform(3, 7.5, (20, 5)))
    received = double(0.2 * 10.0 ** rng.uniform(-13.5, -11.0, (20, 5)))
    band = share_band(sends, torch.ones(20, 5).double(), bits, received, p)
    some = sends.any(-1)
    torch.testing.assert_close(band.sum(-1)[some], torch.full((int(some.sum()),), 4e6).double())
    assert bool((band[~sends] == 0.0).all())
    rate = link.rate_bps(band, received, double(1.0), p.noise_w_per_hz, cap)
    time = torch.where(sends, bits / torch.where(sends, rate, 1.0), 0.0)
    longest = time.amax(-1, keepdim=True).expand_as(time)
    torch.testing.assert_close(time[sends], longest[sends], rtol=1e-6, atol=1e-9)
    equal = 4e6 / sends.sum(-1, keepdim=True).clamp_min(1) * sends
    other = link.rate_bps(equal.double(), received, double(1.0), p.noise_w_per_hz, cap)
    worst = torch.where(sends, bits / torch.where(sends, other, 1.0), 0.0).amax(-1)
    assert bool((time.amax(-1) <= worst * (1 + 1e-9)).all())


def test_the_least_bandwidth_of_a_rate() -> None:
    """a = 3.2 MHz, q = 1.5 Mbit/s take 535 082.218 Hz; a / ln 2 cannot be reached."""
    need = min_bandwidth(double([1.5e6, 4616624.14, 0.0]), double(3.2e6))
    assert need.tolist() == [pytest.approx(535082.218, abs=1e-3), math.inf, 0.0]
    twice = min_bandwidth(double(3e6), double(6.4e6))
    assert float(twice) == pytest.approx(2 * 535082.218, abs=2e-3)


def test_minmax_plays() -> None:
    play = Play(rows=2, bw_mode="minmax", num_agents=3, num_regions=2)
    u = torch.full((7,), 0.5, dtype=torch.float64)
    bits = 0.0
    for _ in range(60):
        bits += float(play.step([1, 2, 1], u)["band_use"].sum())
    assert bits > 0.0
    assert not bool(play.system.observer.components(torch.tensor([[TX]]))[0, 0, 7])


@pytest.mark.parametrize("kind", ["rayleigh", "rician"])
def test_fading_has_mean_one_and_its_variance(kind: str) -> None:
    system = sync(fading=kind, rician_k=4.0, num_agents=64)
    key = torch.arange(4000, dtype=torch.int64) * 7919
    factor = system._fading(system.step_draws.draw(key, torch.ones(4000, dtype=torch.int64)))
    assert factor is not None
    variance = 1.0 if kind == "rayleigh" else (2 * 4.0 + 1) / 25
    assert float(factor.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(factor.var()) == pytest.approx(variance, rel=0.03)


def test_fading_changes_the_rate_and_nothing_before_it() -> None:
    calm, rough = Play(seed=4), Play(seed=4, fading="rayleigh")
    u = torch.full((7,), 0.4, dtype=torch.float64)
    differs = False
    for _ in range(80):
        a, b = calm.step(torch.arange(8) % 4 + 1, u), rough.step(torch.arange(8) % 4 + 1, u)
        differs = bool((a["band_use"] != b["band_use"]).any())
        if differs:
            break
        assert torch.equal(calm.state.position, rough.state.position)
    assert differs


def test_shadowing_belongs_to_the_pair_of_agent_and_region() -> None:
    play = Play(rows=500, shadowing_db=6.0)
    level = 10.0 * play.state.shadow.log10()
    assert float(level.mean()) == pytest.approx(0.0, abs=0.15)
    assert float(level.std()) == pytest.approx(6.0, rel=0.03)
    plain = Play(rows=500)
    u = torch.full((7,), 0.5, dtype=torch.float64)
    ratio = play.system.kernel.power_gain(play.state, None) / plain.system.kernel.power_gain(
        plain.state, None
    )
    assert torch.equal(ratio, torch.ones_like(ratio))
    for one in (play, plain):
        one.step(2, u)
    ratio = play.system.kernel.power_gain(play.state, None) / plain.system.kernel.power_gain(
        plain.state, None
    )
    torch.testing.assert_close(ratio, play.state.shadow[..., 1])


# ------------------------------------------------------------------------------- agents


def test_fixed_raw_data_do_not_grow_with_the_look() -> None:
    play = Play(rows=64, raw_mode="fixed")
    drawn = play.state.drawn_bits
    assert 5e6 <= float(drawn.min()) < 5.2e6
    assert 9.8e6 < float(drawn.max()) <= 10e6
    u = torch.tensor([1.0, 0.9, 1.0, 0.5, 0.3, 1.0, 1.0]).double()
    held = torch.zeros_like(drawn, dtype=torch.bool)
    for _ in range(60):
        play.step(torch.arange(8) % 4 + 1, u)
        now = play.state.raw_bits > 0.0
        assert torch.equal(play.state.raw_bits[now], drawn[now])
        held |= now
    assert bool(held.any())


def test_a_random_modality_halves_some_rates() -> None:
    share = Play(rows=200, modality="random").state.kappa
    plain = Play(rows=200).state.kappa
    ratio = share / plain
    assert set(ratio.unique().tolist()) == {0.5, 1.0}
    assert float((ratio == 0.5).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_an_idle_agent_near_the_station_is_charged() -> None:
    instance = {
        "pos": [[510.0, 500.0], [530.0, 500.0]],
        "reg_xy": [[900.0, 500.0]],
        "batt": [100.0, 100.0],
    }
    play = Play(instance=instance, num_agents=2, num_regions=1, recharge_w=12.0, battery_j=130.0)
    u = torch.full((7,), 0.5, dtype=torch.float64)
    charge = []
    for _ in range(4):
        play.step(0, u)
        charge.append(play.state.battery_j[0].tolist())
    assert charge == [[112.0, 100.0], [124.0, 100.0], [130.0, 100.0], [130.0, 100.0]]
    play.step([1, 0], u)
    assert float(play.state.battery_j[0, 0]) < 130.0


def test_a_hovering_agent_pays_for_every_second_at_work() -> None:
    play = Play(instance={**INSTANCE_A, "batt": [120e3]}, preset="uav", **ONE_CYCLE)
    hover = 168.4842
    told = [play.step(int(slot == 0), PLAN_A) for slot in range(54)]
    sensing = sum(float(t["energy_sense_j"]) for t in told)
    assert sensing == pytest.approx((1.0 + hover) * 6.0, rel=1e-9)
    assert float(told[-1]["delivered"]) == 1.0
    assert float(play.step(0, PLAN_A)["energy_j"]) == 0.0  # landed
    assert play.params.best_speed_mps == pytest.approx(18.2951, abs=5e-5)


def test_over_the_cycle_budget_only_the_cost_signal_rises() -> None:
    costs = {}
    for budget in (160.0, 200.0):
        play = Play(instance=INSTANCE_A, cycle_energy_j=budget, **ONE_CYCLE)
        told = [play.step(1, PLAN_A) for _ in range(54)]
        costs[budget] = [float(t["cost_energy"]) for t in told]
        assert float(told[-1]["accepted"]) == 1.0
    assert costs[200.0] == [0.0] * 54
    assert costs[160.0][:-1] == [0.0] * 53
    assert costs[160.0][-1] == pytest.approx(178.684696 / 160 - 1, abs=1e-7)


# ------------------------------------------------------------------------------- the map


@pytest.mark.parametrize("regions", [4, 8])
def test_regions_keep_their_distances(regions: int) -> None:
    system = sync(num_regions=regions, dtype="float64")
    key = torch.arange(2000, dtype=torch.int64) * 104729
    noise = system.start_draws.draw(key, torch.zeros(2000, dtype=torch.int64))
    centre = place_regions(noise["layout"], system.params)
    assert bool(((centre >= 100.0) & (centre <= 900.0)).all())
    gap = torch.cdist(centre, centre) + 1e9 * torch.eye(regions).double()
    station = (centre - 500.0).square().sum(-1).sqrt()
    fits = (gap.amin((1, 2)) >= 200.0 - 1e-9) & (station.amin(-1) >= 150.0)
    assert float(fits.double().mean()) >= (1.0 if regions == 4 else 0.999)


def test_a_region_takes_the_first_candidate_that_fits_else_the_best() -> None:
    p = TwinSyncParams.create(num_regions=2)
    uniform = torch.full((1, 2, 64, 2), 0.5).double()
    uniform[0, 0, 5] = double([0.0, 0.0])
    uniform[0, 0, 9] = double([1.0, 1.0])
    uniform[0, 1] = uniform[0, 0, 5]
    uniform[0, 1, 30] = double([0.05, 0.05])
    got = place_regions(uniform, p)[0]
    assert got[0].tolist() == pytest.approx([100.0, 100.0])
    assert got[1].tolist() == pytest.approx([140.0, 140.0])


def test_worlds_do_not_depend_on_actions_and_grow_by_agents() -> None:
    one, other = Play(rows=3, seed=5), Play(rows=3, seed=5, num_agents=5)
    for name in ("centre", "drift", "theta", "twin_stamp"):
        assert torch.equal(getattr(one.state, name), getattr(other.state, name))
    for name in ("position", "kappa", "cpu_max"):
        assert torch.equal(getattr(one.state, name)[:, :5], getattr(other.state, name))


def test_draws_fill_their_ranges() -> None:
    state = Play(rows=400).state
    for values, low, high in (
        (state.kappa, 0.2, 0.6),
        (state.cpu_max, 3e9, 6e9),
        (state.drift, 0.02, 0.06),
        (1.0 - (-state.theta).exp(), 0.80, 0.95),
        (-state.twin_stamp, 0.0, 30.0),
        (state.position, 0.0, 1000.0),
    ):
        width = high - low
        assert low <= float(values.min()) < low + 0.02 * width
        assert high - 0.02 * width < float(values.max()) <= high
        assert float(values.mean()) == pytest.approx((low + high) / 2, abs=0.03 * width)
