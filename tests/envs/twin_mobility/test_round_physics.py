"""A round of `sixgym/TwinRound-v0`: the numbers of instance A, the model again in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_cases import INSTANCE_A, batch, levels, moves, plain_round

from sixgym.envs.core.make import make_system
from sixgym.envs.twin_mobility import TwinRound

ONE = {"num_agents": 1, "num_regions": 1, "age_range_s": (0.0, 0.0)}


def one_agent(**kwargs: Any) -> Any:
    env = batch(**{**ONE, "bandwidth_hz": 1e6, "hard_energy": False, **kwargs})
    env.reset(seed=0, options={"instance": INSTANCE_A})
    return env


def step(env: Any, region: Any, u: Any) -> Any:
    _, reward, terminated, _, info = env.step(moves(region, u))
    return reward, terminated, info


# ------------------------------------------------------------------------------ instance A


def test_one_agents_cycle_has_the_numbers_computed_by_hand() -> None:
    """Checks, item 9: v 12, tau 6, f 4e9, eta .25, xi_x .4, P .2, b 1e6."""
    env = one_agent()
    u = levels(env.system.params, v=12.0, tau=6.0, eta=0.25, xi=0.4)
    reward, terminated, info = step(env, [[1]], [[u]])
    state = env.rows.state
    times = [22.185647, 6.0, 6.542436, 10.311792, 7.366469]
    assert state.stage_s[0, 0].tolist() == pytest.approx(times, abs=5e-7)
    joules = [88.298876, 6.0, 41.871592, 41.040934, 1.473294]
    assert info["energy"][0, 0].tolist() == pytest.approx(joules, abs=5e-7)
    assert info["round_s"][0] == pytest.approx(52.406345, abs=5e-7)
    assert info["energy_j"][0] == pytest.approx(178.684696, abs=5e-7)
    assert state.sensed_at[0, 0].tolist() == pytest.approx([815.811388, 547.434165], abs=5e-7)
    assert info["agent_approach_m"][0, 0] == pytest.approx(123.741510, abs=5e-7)
    assert info["agent_information"][0, 0] == pytest.approx(2.28052505, abs=5e-9)
    assert info["refresh_fidelity"][0] == pytest.approx(0.89776948, abs=5e-9)
    assert info["gamma"][0] == pytest.approx(2.19848432, abs=5e-9)
    assert reward[0] == -info["gamma"][0]
    assert terminated[0]


def test_the_reward_of_one_round_is_minus_the_largest_score() -> None:
    env = batch(64)
    env.reset(seed=4)
    rng = np.random.default_rng(0)
    region, u = rng.integers(0, 5, (64, 8)), rng.random((64, 8, 7))
    reward, _, info = step(env, region, u)
    assert reward.tolist() == (-info["score"].max(1)).tolist()


# ------------------------------------------------------------------------------ the model again

VARIANTS: list[dict[str, Any]] = [
    {},
    {"preset": "uav"},
    {"preset": "paper_strict"},
    {"preset": "power_active", "circuit_power_w": 0.05},
    {"preset": "tight_energy", "battery_j": 90.0},
    {"fading": "rayleigh", "shadowing_db": 8.0, "modality": "random"},
    {"fading": "rician", "se_max": 2.0, "idle_power_w": 0.3},
    {"overlap_proc_move": True, "deviation": "ratio"},
    {"deviation": "ou", "hard_energy": False, "num_rounds": 5, "horizon_s": 1e6},
]


@pytest.mark.parametrize("kwargs", VARIANTS, ids=str)
def test_a_batch_plays_what_plain_python_plays(kwargs: dict[str, Any]) -> None:
    rows, rounds = 24, 2 if kwargs.get("num_rounds") else 1
    env = batch(rows, **kwargs)
    env.reset(seed=11)
    rng = np.random.default_rng(5)
    p = env.system.params
    for _ in range(rounds):
        # one choice of the region for several, so that some regions are served
        region = rng.integers(0, p.num_regions + 1, (rows, p.num_agents))
        u = rng.random((rows, p.num_agents, 7)) ** 0.5
        leaves = [leaf.numpy() for leaf in env.rows.state]
        before = [type(env.rows.state)(*(leaf[i] for leaf in leaves)) for i in range(rows)]
        masks = env.system._report.masks(env.rows.state)[0].numpy()
        region = np.where(np.take_along_axis(masks, region[..., None], 2)[..., 0], region, 0)
        step(env, region, u)
        after = env.rows.state
        for i, one in enumerate(before):
            want = plain_round(p, one, region[i], u[i])
            close = {"rel": 1e-9, "abs": 1e-9}
            assert after.refreshed[i].tolist() == want.refreshed
            assert after.score[i].tolist() == pytest.approx(want.scores, **close)
            assert after.age_s[i].tolist() == pytest.approx(want.ages, **close)
            assert after.twin_info[i].tolist() == pytest.approx(want.infos, **close)
            assert after.battery_j[i].tolist() == pytest.approx(want.battery, **close)
            assert np.allclose(after.stage_s[i], want.stage_s, rtol=1e-9)
            assert np.allclose(after.stage_j[i], want.stage_j, rtol=1e-9)
            assert float(after.time_s[i]) - float(one.time_s) == pytest.approx(
                want.length_s, **close
            )


# ------------------------------------------------------------------------------ the band, groups


def test_the_band_is_split_by_weight_among_those_who_set_out() -> None:
    env = batch(1, num_agents=3, num_regions=2)
    env.reset(seed=1)
    p = env.system.params
    u = [levels(p, w=1.0), levels(p, w=0.25), levels(p, w=1.0)]
    _, _, info = step(env, [[1, 2, 0]], [u])
    assert info["agent_band_hz"][0].tolist() == pytest.approx([3.2e6, 0.8e6, 0.0])


def test_two_agents_need_half_the_sensing_time_of_one() -> None:
    """Checks, item 6: information adds, so F = 1 - prod (1 - F_n)."""
    env = batch(1, num_agents=2, num_regions=1, compression_loss=0.0)
    twice = {"pos": [[820.0, 500.0]] * 2, "reg_xy": [[800.0, 500.0]], "kappa": [0.4, 0.4],
             "f_max": [5e9, 5e9], "f_min": [0.9]}  # fmt: skip
    p = env.system.params
    fidelity = []
    for region, tau in (([1, 0], 8.0), ([1, 1], 4.0)):
        env.reset(seed=0, options={"instance": twice})
        _, _, info = step(env, [region], [[levels(p, 5e9, tau=tau)] * 2])
        fidelity.append(float(info["refresh_fidelity"][0]))
    assert fidelity[0] == pytest.approx(1 - np.exp(-3.2), abs=1e-12)
    assert fidelity[0] == pytest.approx(fidelity[1], abs=1e-12)


def test_a_refresh_waits_for_the_last_and_is_as_old_as_the_first() -> None:
    env = batch(1, num_agents=2, num_regions=1, hard_energy=False)
    places = {"pos": [[850.0, 500.0], [950.0, 900.0]], "reg_xy": [[800.0, 500.0]],
              "kappa": [0.6, 0.6], "aoi0": [7.0], "drift": [0.05]}  # fmt: skip
    env.reset(seed=0, options={"instance": places})
    _, _, info = step(env, [[1, 1]], [[levels(env.system.params)] * 2])
    times, state = info["agent_time_s"][0], env.rows.state
    sensed = state.stage_s[0, :, :2].sum(-1)
    assert times[1] > times[0]
    assert info["round_s"][0] == times[1]
    score = 0.05 * (7.0 + times[1]) + np.exp(-float(state.twin_info[0, 0]))
    assert info["gamma"][0] == pytest.approx(score)
    assert info["aoi"][0, 0] == pytest.approx(times[1] - float(sensed.min()))


def test_a_refresh_counts_even_if_the_deviation_rises() -> None:
    env = batch(1, **ONE, hard_energy=False)
    here = {**INSTANCE_A, "f_min": [0.5], "kappa": [0.2]}
    env.reset(seed=0, options={"instance": here})
    info_before = 5.0
    state = env.rows.state._replace(twin_info=env.rows.state.twin_info * 0 + info_before)
    env.rows._state = state
    _, _, info = step(env, [[1]], [[levels(env.system.params, tau=6.0)]])
    assert info["refreshed"][0] == 1
    assert float(env.rows.state.twin_info[0, 0]) < info_before


def test_nobody_loses_by_standing_elsewhere_in_the_order() -> None:
    env = batch(2)
    env.reset(seed=[5, 5])
    rng = np.random.default_rng(3)
    order = rng.permutation(8)
    state = env.rows.state
    fields = ("position", "kappa", "cpu_max", "battery_j")
    swapped = {k: getattr(state, k).clone() for k in fields}
    for value in swapped.values():
        value[1] = value[1][order]
    env.rows._state = state._replace(**swapped)
    region, u = rng.integers(0, 5, 8), rng.random((8, 7))
    step(env, [region, region[order]], [u, u[order]])
    score = env.rows.state.score
    assert score[0].tolist() == pytest.approx(score[1].tolist(), rel=1e-12)


# ------------------------------------------------------------------------------ misses, energy


def test_a_missed_region_costs_13_above_its_deviation_at_the_end() -> None:
    env = batch(8)
    env.reset(seed=2)
    before = env.rows.state
    _, _, info = step(env, np.zeros((8, 8)), np.zeros((8, 8, 7)))
    late = before.drift * (before.age_s + 10.0) + (-before.theta).exp() + 13.0
    assert np.allclose(info["score"], late)
    assert (info["round_s"] == 10.0).all()
    assert (info["missed"] == 4).all()
    assert (info["feasible"] == 0).all()
    assert (info["energy_j"] == 0).all()


def test_no_miss_beats_a_plan_of_at_most_180_s() -> None:
    """13 > lambda_max (30 + 180) + 1 - F_min: the worst served region scores below any miss."""
    p = TwinRound.params_type.create()
    worst_served = p.drift_range[1] * (p.age_range_s[1] + 180.0) + 1.0 - p.fidelity_range[0]
    assert worst_served < p.miss_penalty


def test_over_the_budget_nothing_is_delivered_where_it_is_hard() -> None:
    soft, hard = one_agent(), one_agent(hard_energy=None)
    u = levels(soft.system.params, v=12.0, tau=6.0, eta=0.25, xi=0.4)
    told = [step(env, [[1]], [[u]])[2] for env in (soft, hard)]
    assert [t["agent_delivered"][0, 0] for t in told] == [1, 0]
    assert [t["refreshed"][0] for t in told] == [1, 0]
    assert [t["feasible"][0] for t in told] == [0, 0]
    over = 178.684696 / 160.0 - 1.0
    assert [t["cost_energy"][0] for t in told] == pytest.approx([over, over], abs=1e-8)
    places = [env.rows.state.position[0, 0].tolist() for env in (soft, hard)]
    assert places[0] == places[1]
    assert told[1]["energy_j"][0] == pytest.approx(178.684696, abs=5e-7)
    assert told[1]["round_s"][0] == 10.0


def test_who_delivers_nothing_keeps_the_part_of_the_band() -> None:
    env = batch(1, num_agents=2, num_regions=1)
    places = {"pos": [[850.0, 500.0], [0.0, 0.0]], "reg_xy": [[800.0, 500.0]]}
    env.reset(seed=0, options={"instance": places})
    p = env.system.params
    _, _, info = step(env, [[1, 1]], [[levels(p, v=10.0), levels(p, v=20.0)]])
    assert info["agent_delivered"][0].tolist() == [1, 0]
    assert info["agent_band_hz"][0].tolist() == [2e6, 2e6]
    assert info["round_s"][0] == pytest.approx(max(10.0, info["agent_time_s"][0, 0]))


def test_whose_battery_does_not_last_delivers_nothing_and_is_dead() -> None:
    env = batch(1, **ONE, bandwidth_hz=1e6, num_rounds=3)
    env.reset(seed=0, options={"instance": {**INSTANCE_A, "batt": [100.0]}})
    u = [[levels(env.system.params, v=12.0, tau=6.0, eta=0.25, xi=0.4)]]
    _, _, info = step(env, [[1]], u)
    assert info["deaths"][0] == 1
    assert info["delivered"][0] == 0
    assert info["energy"].sum() == pytest.approx(100.0)
    assert info["energy"][0, 0, 0] == pytest.approx(100.0 * 88.298876 / 178.684696)
    assert not info["region_mask"].any()
    assert not info["component_mask"].any()
    place = env.rows.state.position.clone()
    _, _, info = step(env, [[1]], u)
    assert (env.rows.state.position == place).all()
    assert info["dispatched"][0] == info["energy_j"][0] == info["deaths"][0] == 0


def test_a_battery_of_exactly_the_energy_delivers() -> None:
    env = batch(1, **ONE, num_rounds=3)
    u = [[levels(env.system.params, v=5.0)]]
    env.reset(seed=0, options={"instance": INSTANCE_A})
    _, _, info = step(env, [[1]], u)
    need = float(info["agent_energy_j"][0, 0])
    env.reset(seed=0, options={"instance": {**INSTANCE_A, "batt": [need]}})
    _, _, info = step(env, [[1]], u)
    assert info["delivered"][0] == 1
    assert info["deaths"][0] == 1


def test_stage_energies_add_up_to_what_the_batteries_lose() -> None:
    env = batch(64, num_rounds=5, battery_j=250.0, horizon_s=1e6)
    env.reset(seed=9)
    rng = np.random.default_rng(1)
    for _ in range(4):
        before = env.rows.state.battery_j.clone()
        _, _, info = step(env, rng.integers(0, 5, (64, 8)), rng.random((64, 8, 7)))
        lost = (before - env.rows.state.battery_j).numpy()
        assert np.allclose(info["energy"].sum(-1), lost, atol=1e-9)
        assert (env.rows.state.battery_j >= 0).all()


def test_a_region_out_of_reach_counts_as_staying() -> None:
    env = batch(1, **ONE)
    env.reset(seed=0, options={"instance": {**INSTANCE_A, "batt": [60.0]}})
    u = [[levels(env.system.params)]]
    _, _, info = step(env, [[1]], u)  # 266 m at 0.25 J/m want 66.6 J
    assert info["invalid"][0] == 1
    assert info["agent_invalid"][0, 0] == 1
    assert info["dispatched"][0] == 0
    assert info["region_mask"][0, 0].tolist() == [1, 0]


# ------------------------------------------------------------------------------ the channel


def test_fading_is_drawn_for_each_round_before_the_agents_choose() -> None:
    env = batch(512, num_rounds=3, fading="rayleigh")
    env.reset(seed=0)
    first = env.rows.state.fading.clone()
    stay = moves(np.zeros((512, 8)), np.zeros((512, 8, 7)))
    env.step(stay)
    second = env.rows.state.fading
    assert not (first == second).any()
    assert float(first.mean()) == pytest.approx(1.0, abs=0.05)
    assert float(second.mean()) == pytest.approx(1.0, abs=0.05)


def test_a_link_without_any_gain_takes_long_but_stays_finite() -> None:
    env = make_system(TwinRound, path_loss_exponent=8.0, area_m=1e6)
    rows = batch(4, path_loss_exponent=8.0, area_m=1e6, dtype="float32", battery_j=1e9)
    assert env.params.area_m == 1e6
    rows.reset(seed=0)
    _, reward, _, _, info = rows.step(moves(np.ones((4, 8)), np.full((4, 8, 7), 0.5)))
    assert np.isfinite(reward).all()
    assert all(np.isfinite(v).all() for k, v in info.items() if not k.startswith("_"))
