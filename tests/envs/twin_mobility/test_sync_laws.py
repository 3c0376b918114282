"""Laws of all plans: a cycle in slots is the cycle in closed form; random play keeps the books."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sync_cases import (
    Play,
)
from torch import Tensor

import sixgym
from sixgym.envs.twin_mobility import geometry, link
from sixgym.envs.twin_mobility.actions import resources
from sixgym.envs.twin_mobility.cycle import Cycle, cycle
from sixgym.envs.twin_mobility.state import DEAD, IDLE

sixgym  # noqa: B018  (registers the ids)
seeds = st.integers(0, 2**31 - 1)


def double(value: Any) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def closed_form(play: Play, u: Tensor) -> Cycle:
    """The cycle of agents who have the band to themselves, from the state at its beginning."""
    p, state = play.params, play.state
    can = resources(u.unsqueeze(1), state.cpu_max, p)
    centre, station = state.centre[:, :1], double(p.bs_xy_m)
    point = geometry.sensing_point(state.position, centre, p.sensing_radius_m)
    ground = geometry.ground_distance(point, station)
    approach = geometry.approach_m(ground, can.approach, p.approach_limit_m)
    slant = geometry.slant_distance(ground - approach, p.bs_height_m)
    gain = link.gain(slant, p.gain_1m, p.path_loss_exponent)
    band = torch.full_like(gain, p.bandwidth_hz)
    rate = link.rate_bps(band, can.power_w, gain, p.noise_w_per_hz, p.se_max)
    return cycle(
        p,
        move_m=geometry.move_to_sense_m(state.position, centre, p.sensing_radius_m),
        approach_m=approach,
        speed_mps=can.speed_mps,
        sensing_s=can.sensing_s,
        cpu_flops=can.cpu_flops,
        compression=can.compression,
        power_w=can.power_w,
        rate_bps=rate,
        kappa=state.kappa[:, :, 0],
        drawn_bits=state.drawn_bits if p.raw_mode == "fixed" else None,
    )


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"preset": "uav"},
        {"preset": "power_active", "circuit_power_w": 0.1, "idle_power_w": 0.7},
        {"preset": "paper_strict"},
        {"overlap_proc_move": True},
        {"overlap_proc_move": True, "platform": "uav", "se_max": 2.0},
        {"slot_s": 0.5, "compression_loss": 0.0},
    ],
)
def test_a_cycle_in_slots_is_the_cycle_in_closed_form(kwargs: dict[str, Any]) -> None:
    """Any plan: ceil(T1 + .. + T4) + ceil(T5) slots, and the same energies and information."""
    setting = {"num_agents": 1, "num_regions": 1, "battery_j": 1e9, **kwargs}
    play = Play(rows=24, seed=11, **setting)
    u = torch.rand(24, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    u[:, 0] = 0.3 + 0.7 * u[:, 0]  # not for ever on the way, or transmitting
    u[:, 5] = 0.5 + 0.5 * u[:, 5]
    u[:, 3] *= 0.6
    closed, delta = closed_form(play, u), play.params.slot_s
    before = closed.duration_s(overlap=play.params.overlap_proc_move)[:, 0] - closed.time_s[:, 0, 4]
    slots = (before / delta).ceil() + (closed.time_s[:, 0, 4] / delta).ceil()
    spent = torch.zeros(24, 5, dtype=torch.float64)
    done = torch.zeros(24, dtype=torch.int64)
    info = torch.zeros(24, dtype=torch.float64)
    going = torch.ones(24, dtype=torch.bool)
    limit = int(slots.max())
    assert limit < 800
    for slot in range(1, limit + 1):
        told = play.step(going.long().unsqueeze(1), u.unsqueeze(1))
        spent += told["energy"][:, 0]
        arrived = told["delivered"] == 1
        assert not bool((arrived & ~going).any())
        done[arrived] = slot
        info = torch.where(arrived, play.state.packet_info[:, 0, 0], info)
        going &= ~arrived
    assert done.tolist() == slots.long().tolist()
    torch.testing.assert_close(spent, closed.energy_j[:, 0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(info, closed.information[:, 0], rtol=1e-12, atol=0.0)


@settings(max_examples=8, deadline=None)
@given(seeds, st.sampled_from(["fusion", "barrier"]), st.booleans(), st.sampled_from([0.0, 30.0]))
def test_laws_hold_in_random_play(seed: int, coop: str, overlap: bool, recharge: float) -> None:
    """Energies add up, nothing is negative, stages go round, what is seen is in its space."""
    play = Play(
        rows=8, seed=seed, coop_mode=coop, overlap_proc_move=overlap, recharge_w=recharge,
        battery_j=260.0, num_agents=5, num_regions=3, fading="rayleigh", modality="random",
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    space = play.system.groups[0].observation_space
    for _ in range(50):
        before = play.state
        told = play.step(
            torch.randint(0, 4, (8, 5), generator=generator),
            torch.rand(8, 5, 7, generator=generator),
        )
        after = play.state
        lost = before.battery_j - after.battery_j
        if recharge == 0.0:
            torch.testing.assert_close(told["energy"].sum(-1), lost, rtol=1e-9, atol=1e-9)
        else:
            gained = told["energy"].sum(-1) - lost
            assert bool((gained >= -1e-9).all())
            assert bool((gained <= recharge + 1e-9).all())
        assert bool((told["energy"] >= 0.0).all())
        assert bool((after.battery_j >= 0.0).all())
        assert bool((after.remaining >= 0.0).all())
        assert bool((after.remaining <= after.length).all())
        assert bool((told["band_use"] >= 0.0).all())
        idle = (after.stage == IDLE) | (after.stage == DEAD)
        assert torch.equal(after.target < 0, idle)
        assert bool(((after.position >= 0.0) & (after.position <= 1000.0)).all())
        assert bool((after.packet_stamp.diff(dim=-1).nan_to_num(0.0) <= 0.0).all())
        views = play.system.perceive(after, {})["agent"].numpy()
        assert space.contains(views[0, 0])
        assert np.isfinite(views).all()
        assert np.abs(views).max() <= 5.0
