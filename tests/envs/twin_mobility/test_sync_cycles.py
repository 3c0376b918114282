"""Cycles of which every number is known: closed forms, slots, ages, fusion by several agents."""

from __future__ import annotations

import math

import pytest
import torch
from sync_cases import (
    INSTANCE_A,
    ON_THE_SPOT,
    ONE_CYCLE,
    PLAN_A,
    PLAN_SPOT,
    Play,
    spot_instance,
)
from torch import Tensor

from sixgym.envs.twin_mobility import geometry, link
from sixgym.envs.twin_mobility.cycle import Cycle, cycle, fidelity, preservation
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.state import IDLE, MOVE, SENSE, TX
from sixgym.envs.twin_mobility.twin import deviation

TIMES = (22.185647, 6.0, 6.542436, 10.311792, 7.366469)
ENERGIES = (88.298876, 6.0, 41.871592, 41.040934, 1.473294)


def number(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def instance_a() -> Cycle:
    """Instance A in closed form, checking the numbers on the way."""
    p = TwinSyncParams.create(**ONE_CYCLE)
    position, centre = number(900.0, 800.0), number(800.0, 500.0)
    station = number(*p.bs_xy_m)
    way = geometry.move_to_sense_m(position, centre, p.sensing_radius_m)
    assert float(way) == pytest.approx(266.227766, abs=5e-7)
    point = geometry.sensing_point(position, centre, p.sensing_radius_m)
    assert point.tolist() == pytest.approx([815.811388, 547.434165], abs=5e-7)
    ground = geometry.ground_distance(point, station)
    assert float(ground) == pytest.approx(319.353774, abs=5e-7)
    approach = geometry.approach_m(ground, number(0.4), p.approach_limit_m)
    assert float(approach) == pytest.approx(123.741510, abs=5e-6)
    slant = geometry.slant_distance(ground - approach, p.bs_height_m)
    assert float(slant) == pytest.approx(195.867705, abs=5e-6)
    gain = link.gain(slant, p.gain_1m, p.path_loss_exponent)
    assert float(gain) == pytest.approx(3.30931044e-13, rel=1e-7)
    assert p.noise_w_per_hz == pytest.approx(10**-19.5, rel=1e-12)
    rate = link.rate_bps(number(1e6), number(0.2), gain, p.noise_w_per_hz)
    assert float(0.2 * gain / (p.noise_w_per_hz * 1e6)) == pytest.approx(2.0929917, abs=5e-7)
    assert float(rate) == pytest.approx(1629002.9588, abs=0.05)
    return cycle(
        p,
        move_m=way,
        approach_m=approach,
        speed_mps=number(12.0),
        sensing_s=number(6.0),
        cpu_flops=number(4e9),
        compression=number(0.25),
        power_w=number(0.2),
        rate_bps=rate,
        kappa=number(0.4),
    )


def test_instance_a_in_closed_form() -> None:
    one = instance_a()
    assert one.time_s[0].tolist() == pytest.approx(TIMES, abs=1e-6)
    assert float(one.duration_s()) == pytest.approx(52.406345, abs=5e-7)
    assert one.energy_j[0].tolist() == pytest.approx(ENERGIES, abs=1e-6)
    assert float(one.energy_j.sum()) == pytest.approx(178.684696, abs=5e-6)
    assert float(one.raw_bits) == 4.8e7
    assert float(one.work_flop) == pytest.approx(2.616974527e10, rel=1e-9)
    assert float(one.sent_bits) == 1.2e7
    assert float(preservation(number(0.25), 12.0)) == pytest.approx(0.95021877, abs=5e-9)
    assert float(one.information) == pytest.approx(2.28052505, abs=5e-9)
    assert float(fidelity(one.information)) == pytest.approx(0.89776948, abs=5e-9)
    p = TwinSyncParams.create()
    score = deviation(number(0.04), one.duration_s(), one.information, p)
    assert float(score) == pytest.approx(2.19848432, abs=5e-8)


def test_instance_a_slot_by_slot() -> None:
    """The same cycle; stages end within slots, transmission begins with slot 46, ends in 53."""
    play = Play(instance=INSTANCE_A, **ONE_CYCLE)
    spent = torch.zeros(5, dtype=torch.float64)
    stages, off = [], []
    for slot in range(54):
        told = play.step(1, PLAN_A)
        spent += told["energy"][0, 0]
        stages.append(int(play.state.stage[0, 0]))
        off.append(float(told["dev"][0, 0]))
        assert bool(told["delivered"] == 1) == (slot == 53)
        if slot == 22:
            assert float(play.state.cycle_j) == pytest.approx(float(spent.sum()), rel=1e-12)
    assert stages[21] == MOVE
    assert stages[22] == SENSE
    assert stages[44] != TX
    assert stages[45:53] == [TX] * 8
    assert stages[53] == IDLE
    assert float(play.state.twin_stamp) == pytest.approx(28.185647, abs=5e-7)
    assert off[0] == pytest.approx(0.04 + 0.15, abs=1e-12)
    assert off[53] == pytest.approx(1.134805, abs=5e-7)
    closed = instance_a()
    assert off[53] == pytest.approx(
        0.04 * (54 - float(play.state.twin_stamp)) + math.exp(-float(closed.information)), abs=1e-12
    )
    assert spent.tolist() == pytest.approx(closed.energy_j[0].tolist(), abs=1e-9)
    assert float(told["agent_cost_energy"]) == pytest.approx(178.684696 / 160 - 1, abs=1e-7)


def test_one_agent_on_the_spot_has_the_mean_and_peak_age_of_its_cycle() -> None:
    """Cycle C = 9 slots, age at delivery A = 5 s: mean age A + C / 2, peak age A + C."""
    play = Play(instance=spot_instance(1), num_agents=1, **ON_THE_SPOT)
    ages, peaks, offs, deliveries = [], [], [], []
    for slot in range(9 * 6):
        ages.append(float(play.system.observer.ages(play.state)[0]))
        told = play.step(1, PLAN_SPOT)
        offs.append(float(told["mean_deviation"]))
        peaks.append(ages[-1] + 1.0)
        if float(told["accepted"]):
            deliveries.append(slot + 1)
    assert deliveries == [9, 18, 27, 36, 45, 54]
    steady = slice(9, 45)
    assert sum(a + 0.5 for a in ages[steady]) / 36 == pytest.approx(9.5, abs=1e-9)
    assert max(peaks[steady]) == pytest.approx(14.0, abs=1e-9)
    assert sum(offs[steady]) / 36 == pytest.approx(0.05 * 9.5 + math.exp(-2.0), abs=1e-9)
    assert float(play.state.peak[0, 1]) == pytest.approx(14.0, abs=1e-9)


def test_the_rate_and_times_on_the_spot() -> None:
    p = TwinSyncParams.create(num_agents=1, **ON_THE_SPOT)
    gain = link.gain(number(math.hypot(100.0, 10.0)), p.gain_1m, p.path_loss_exponent)
    rate = link.rate_bps(number(4e6), number(0.2), gain, p.noise_w_per_hz)
    assert float(rate) == pytest.approx(11375786.55, abs=0.005)
    zero = number(0.0)
    one = cycle(
        p,
        move_m=zero,
        approach_m=zero,
        speed_mps=number(5.0),
        sensing_s=number(4.0),
        cpu_flops=number(5e9),
        compression=number(0.2),
        power_w=number(0.2),
        rate_bps=rate,
        kappa=number(0.5),
    )
    assert float(one.time_s[0, 2]) == pytest.approx(3.989141, abs=5e-7)
    assert float(one.time_s[0, 4]) == pytest.approx(0.562598, abs=5e-7)
    assert float(one.information) == 2.0


@pytest.mark.parametrize("agents", [1, 3])
def test_agents_that_take_turns_divide_the_age(agents: int) -> None:
    """m agents, evenly staggered: mean age A + C / (2 m), peak age A + C / m."""
    play = Play(instance=spot_instance(agents), num_agents=agents, **ON_THE_SPOT)
    gap = 9 // agents
    ages = []
    for slot in range(9 * 5):
        ages.append(float(play.system.observer.ages(play.state)[0]))
        play.step([int(slot >= n * gap) for n in range(agents)], PLAN_SPOT)
    steady = ages[18:36]
    assert sum(a + 0.5 for a in steady) / 18 == pytest.approx(5 + 9 / (2 * agents), abs=1e-9)
    assert max(steady) + 1.0 == pytest.approx(5 + 9 / agents, abs=1e-9)


def test_without_action_deviations_grow_by_their_drift_and_nothing_is_spent() -> None:
    play = Play(rows=4)
    start_age, start = play.system.observer.ages(play.state)
    drift = play.state.drift
    summed = torch.zeros(4, dtype=torch.float64)
    for slot in range(1, 41):
        told = play.step(0, PLAN_A)
        torch.testing.assert_close(told["dev"], start + drift * slot)
        torch.testing.assert_close(told["aoi"], start_age + slot)
        assert float(told["energy_j"].abs().max()) == 0.0
        summed += told["max_deviation"]
    at = torch.arange(40).double() + 0.5
    closed = (start.unsqueeze(-1) + drift.unsqueeze(-1) * at).amax(1).sum(-1)
    torch.testing.assert_close(summed, closed)


def test_two_equal_agents_need_half_the_time_for_a_fidelity() -> None:
    kappa, target = 0.4, 0.9
    alone = -math.log(1 - target) / kappa
    info = number(kappa * alone / 2, kappa * alone / 2)
    assert float(fidelity(info.sum())) == pytest.approx(target, abs=1e-12)


def test_the_fidelity_of_a_group_is_that_of_independent_looks() -> None:
    info = torch.rand(1000, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3
    together = fidelity(info.sum(-1))
    torch.testing.assert_close(together, 1 - (1 - fidelity(info)).prod(-1), rtol=1e-12, atol=1e-12)


def test_preservation_has_the_values_and_the_shape_that_it_should() -> None:
    eta = number(0.1, 0.2, 0.25, 0.3, 1.0)
    kept = preservation(eta, 12.0)
    assert kept.tolist() == pytest.approx([0.699, 0.909, 0.9502, 0.973, 1.0], abs=6e-4)
    grid = torch.linspace(0.05, 1.0, 500, dtype=torch.float64)
    slope = preservation(grid, 12.0).diff()
    assert bool((slope > 0).all())
    assert bool((slope.diff() < 0).all())
    assert bool((preservation(grid, 0.0) == 1.0).all())


@pytest.mark.parametrize(
    ("rate", "best"),
    [(0.25e6, 0.10635), (0.5e6, 0.14113), (1e6, 0.18727), (2e6, 0.25151), (4e6, 0.35368)],
)
def test_the_compression_of_most_information_in_a_time(rate: float, best: float) -> None:
    p = TwinSyncParams.create()
    eta = torch.linspace(0.05, 1.0, 950001, dtype=torch.float64)
    from sixgym.envs.twin_mobility.cycle import work_per_bit

    time = 1 + 8e6 * (work_per_bit(eta, p) / 5e9 + eta / rate)
    assert float(eta[(preservation(eta, 12.0) / time).argmax()]) == pytest.approx(best, abs=6e-6)


def test_partners_fuse_what_neither_could_alone() -> None:
    """Two looks of 1 nat each: the first is short of 1.61 nat, both together are accepted."""
    setting = {**ON_THE_SPOT, "num_agents": 2}
    play = Play(instance=spot_instance(2), **setting)
    plan = {**PLAN_SPOT, "sensing": 2.0}
    heard = []
    for slot in range(12):
        told = play.step([int(slot == 0), int(slot == 2)], plan)
        heard.append([int(told[k]) for k in ("delivered", "short", "accepted")])
    assert [h for h in heard if any(h)] == [[1, 1, 0], [1, 0, 1]]
    assert float(play.state.twin_info) == pytest.approx(2.0, abs=1e-12)
    # the older of the two stamps counts
    assert float(play.state.twin_stamp) == pytest.approx(2.0, abs=1e-12)
