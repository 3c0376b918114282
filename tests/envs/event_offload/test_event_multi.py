"""Several devices: one alone is the single system; shares, fairness, batteries, servers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sixgym
from sixgym.envs.core.conformance import check_id
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.event_offload import EventOffloadMulti
from sixgym.envs.event_offload.devices import (
    associate,
    attainable_utility,
    device_pools,
    stand_in_triangle,
    triangle_corners,
    triangle_snr,
)
from sixgym.envs.event_offload.multi_params import EventOffloadMultiParams

sixgym  # noqa: B018  (registers the ids)
MULTI, SINGLE = "sixgym/EventOffloadMulti-v0", "sixgym/EventOffload-v0"
DEVICES = 6


def batch(rows: int, **kwargs: Any) -> Any:
    return gym.make_vec(MULTI, rows, **{"info_level": 1, **kwargs})


def system(**kwargs: Any) -> EventOffloadMulti:
    made = make_system(EventOffloadMulti, **kwargs)
    assert isinstance(made, EventOffloadMulti)
    return made


def joint(env: Any, low: float, high: float) -> NDArray[np.float32]:
    """The same thresholds for all devices of all rows."""
    devices = env.system.params.num_devices
    return np.tile(np.float32([low, high]), (env.num_envs, devices))


# ------------------------------------------------------------------------ one device alone


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"labels": "bursty", "fading_correlation": 0.7, "budget_mode": "battery"},
        {"final_rule": "mid", "scores": "breast_cancer", "split": "test"},
        {"semantics": "confident_local"},
    ],
)
def test_one_device_alone_is_the_single_system(kwargs: dict[str, Any]) -> None:
    """Same seed, same events, same channel: equal counts, energy, ends and first 12 features."""
    alone = batch(
        16, num_devices=1, device_scores=(), capacity_share=1.0, snr_spread_db=0.0, **kwargs
    )
    single = gym.make_vec(SINGLE, 16, objective="tpr", **kwargs)
    seen, _ = alone.reset(seed=3)
    want, _ = single.reset(seed=3)
    generator = np.random.default_rng(0)
    ended = np.zeros(16, bool)
    for t in range(12):
        assert seen.reshape(16, -1)[:, :12] == pytest.approx(want, abs=2e-5)
        pair = generator.random((16, 2)).astype(np.float32)
        seen, _, over, _, infos = alone.step(pair)
        want, _, end, _, told = single.step(pair)
        assert (over == end).all(), t
        ended |= over
        for name in ("tp", "tp_correct", "fp", "n_off", "dropped", "energy_j", "energy_tx_j"):
            assert infos[name] == pytest.approx(told[name], rel=1e-5, abs=1e-6), (t, name)
        assert infos["cost"] == pytest.approx(told["cost"], rel=1e-5)
        assert infos["over_budget"] == pytest.approx(told["over_budget"])
        if "battery" not in str(kwargs):
            utility = told["tp"] / (20 * alone.system.params.stationary_prevalence)
            utility = utility * (1.0 - told["over_budget"])
            assert infos["utility"] == pytest.approx(utility, rel=1e-5)
    assert not ended.any()


# ------------------------------------------------------------------------------- sharing


def test_fair_shares_of_a_slot_by_hand() -> None:
    """Dossier 2.3: b = B/6; cap = floor(0.5 s R / D) with R = 5 MHz log2(1 + gamma); W = 48."""
    env = batch(32)
    env.reset(seed=1)
    state = env.rows.state
    assert env.system.params.server_events == 48
    assert state.band.numpy() == pytest.approx(1 / 6)
    snr = state.snr.numpy().astype(np.float64)
    carried = np.floor(0.5 * 5e6 * np.log2(1.0 + snr) / 1_048_576 + 1e-9)
    cap = np.where(snr >= 0.274141, np.minimum(carried, 20), 0)
    for row in range(32):
        assert state.units[row].tolist() == fair_units_by_hand(cap[row], 48)


def fair_units_by_hand(cap: NDArray[np.float64], total: int) -> list[int]:
    """One unit at a time to whoever has the least and room for more; the lowest index of equals."""
    units = np.zeros(len(cap))
    for _ in range(total):
        room = units < cap
        if not room.any():
            break
        units[np.where(room, units, np.inf).argmin()] += 1
    return [int(u) for u in units]


@pytest.mark.parametrize("alloc", ["pf", "equal", "maxsum", "bid"])
def test_nobody_is_served_beyond_shares_and_nothing_is_lost(alloc: str) -> None:
    """Conservation: requests = served + dropped, served <= units, sum of units <= W, bands <= 1."""
    env = batch(64, alloc=alloc, capacity_share=0.2, mean_snr_db=16.0)
    env.reset(seed=2)
    env.action_space.seed(0)
    for _ in range(5):
        infos = env.step(env.action_space.sample())[4]
        assert (infos["agent_n_off"] <= infos["agent_units"]).all()
        assert (infos["agent_units"].sum(1) <= 24).all()
        assert (infos["agent_units"] <= 20).all()
        assert infos["agent_band"].sum(1) == pytest.approx(1.0, abs=1e-5)
        assert infos["n_off"] == pytest.approx(infos["agent_n_off"].sum(1))
        dropped = 20 * infos["agent_cost_capacity"].sum(1)
        assert infos["dropped"] == pytest.approx(dropped, abs=1e-3)
        assert (infos["tp"] + infos["fp"] == infos["n_off"]).all()
    assert infos["dropped"].sum() > 0


def test_equal_sharing_gives_everybody_the_same_whatever_the_channel() -> None:
    env = batch(16, alloc="equal", mean_snr_db=40.0, weights=(1.0, 2.0, 3.0, 1.0, 2.0, 3.0))
    env.reset(seed=0)
    assert env.rows.state.band.numpy() == pytest.approx(1 / 6)
    assert (env.rows.state.units.numpy() == 8).all()


def test_weights_decide_fair_bandwidth_whatever_the_channel() -> None:
    """Dossier 3.7: b_n = rho_n B / sum rho, independent of SNR."""
    env = batch(16, num_devices=3, weights=(1.0, 2.0, 3.0))
    env.reset(seed=0)
    assert env.rows.state.band[5].tolist() == pytest.approx([1 / 6, 2 / 6, 3 / 6])


def test_a_higher_bid_buys_bandwidth() -> None:
    """Softmax of the raw bids: bids 1 and 0 share as e to 1; shown after the slot, not before."""
    env = batch(4, num_devices=2, alloc="bid", mean_snr_db=10.0)
    seen, _ = env.reset(seed=0)
    assert (seen.reshape(4, 2, 16)[..., 12:14] == 0.0).all()
    action = np.tile(np.float32([0.3, 0.7, 1.0, 0.3, 0.7, 0.0]), (4, 1))
    seen, *_, infos = env.step(action)
    share = math.e / (math.e + 1.0)
    assert infos["agent_band"] == pytest.approx(np.tile([share, 1.0 - share], (4, 1)))
    assert seen.reshape(4, 2, 16)[..., 12] == pytest.approx(infos["agent_band"])


def test_max_sum_units_maximise_attainable_utility_by_enumeration() -> None:
    """Dossier 3.7: the knapsack on sum V_n within the caps; 3 devices, W = 9 of 24 events."""
    settings: dict[str, Any] = {"num_devices": 3, "num_events": 8, "capacity_share": 0.38}
    env = batch(8, alloc="maxsum", mean_snr_db=20.0, device_prevalence=(0.1, 0.5, 0.3), **settings)
    env.reset(seed=0)
    made, state = env.system, env.rows.state
    assert made.params.server_events == 9
    value = attainable_utility(made.pools, made.params)
    carried = 0.5 * 10e6 * np.log2(1.0 + state.snr.numpy().astype(np.float64)) / 1_048_576
    cap = np.where(state.snr.numpy() >= 0.274141, np.minimum(np.floor(carried), 8), 0).astype(int)
    for row in range(8):
        ranges = [range(c + 1) for c in cap[row]]
        best = max(
            sum(value[n, r] for n, r in enumerate(units))
            for units in itertools.product(*ranges)
            if sum(units) <= 9
        )
        got = sum(value[n, int(r)] for n, r in enumerate(state.units[row].tolist()))
        assert got == pytest.approx(best, abs=1e-9)


def test_attainable_utility_rises_to_everything_sent() -> None:
    """V(0) is 0, V does not fall, and V(M) = 1: at (0, 0) every tail is declared."""
    made = system(num_devices=2)
    value = attainable_utility(made.pools, made.params)
    assert value.shape == (2, 21)
    assert (np.diff(value, axis=1) >= 0.0).all()
    assert value[:, 0] == pytest.approx([0.0, 0.0])
    assert value[:, -1] == pytest.approx([1.0, 1.0])


# -------------------------------------------------------------------------------- rewards


def test_the_gradient_reward_is_utility_over_its_mean_before_the_slot() -> None:
    """Dossier 2.3: r = rho u / max(Ubar, .05), Ubar_0 = .5, then .95 Ubar + .05 u."""
    rho = np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0])
    env = batch(16, weights=(1.0, 2.0))
    env.reset(seed=0)
    mean = np.full((16, DEVICES), 0.5)
    for _ in range(6):
        seen, reward, _, _, infos = env.step(joint(env, 0.45, 0.85))
        utility = infos["agent_utility"]
        assert infos["agent_reward"] == pytest.approx(rho * utility / np.maximum(mean, 0.05))
        assert reward == pytest.approx(infos["agent_reward"].sum(1), rel=1e-5)
        mean = 0.95 * mean + 0.05 * utility
        shown = seen.reshape(16, DEVICES, 16)
        assert shown[..., 14] == pytest.approx(np.minimum(mean, 1.0), abs=1e-5)
        everyone = np.repeat(mean.mean(1, keepdims=True), DEVICES, 1)
        assert shown[..., 15] == pytest.approx(everyone, abs=1e-5)


def test_the_team_is_paid_the_fair_value_once_at_the_horizon() -> None:
    """Dossier 2.3: sum rho ln max(U, 1e-3) at the end, U the mean utility; all get the same."""
    env = batch(8, reward="team_log", horizon_slots=5, hard=False)
    env.reset(seed=0)
    total = np.zeros((8, DEVICES))
    for t in range(5):
        _, reward, _, _, infos = env.step(joint(env, 0.4, 0.6))
        total += infos["agent_utility"]
        want = np.log(np.maximum(total / 5, 1e-3)).sum(1) if t == 4 else np.zeros(8)
        assert reward == pytest.approx(want, rel=1e-4)
        assert infos["agent_reward"] == pytest.approx(
            np.repeat(want[:, None], DEVICES, 1), rel=1e-4
        )
        assert infos["fair_value"] == pytest.approx(want, rel=1e-4)
    fair = total.sum(1) ** 2 / (DEVICES * (total**2).sum(1))
    assert infos["jain"] == pytest.approx(fair, rel=1e-4)


def test_a_broken_budget_earns_nothing_unless_it_is_soft() -> None:
    """Sending everything at exit 1 costs 1.52 + 10.10 mJ an event at 10 dB; 5 mJ are allowed."""
    for hard in (True, False):
        env = batch(32, hard=hard, reward="own")
        env.reset(seed=0, options={"gamma_db": 10.0})
        infos = env.step(joint(env, 0.0, 0.0))[4]
        assert (infos["over_budget"] == 1.0).all()
        assert (infos["agent_reward"].sum() == 0.0) == hard
        assert infos["tp"].sum() > 0.0


def test_utility_may_count_what_the_server_names_right() -> None:
    env = batch(64, utility="acc", hard=False, mean_snr_db=20.0)
    env.reset(seed=0)
    infos = env.step(joint(env, 0.0, 0.0))[4]
    assert infos["utility"] == pytest.approx(infos["tp_correct"] / 2.0, rel=1e-5)
    assert infos["tp_correct"].sum() < infos["tp"].sum()


# ------------------------------------------------------------------------------- batteries


def test_devices_leave_one_by_one_when_their_batteries_are_empty() -> None:
    """Agents are gone by name, the others go on, the last one ends the game; nobody overdraws."""
    view = parallel_env(MULTI, budget_mode="battery", horizon_slots=3, budget_j=4e-3)
    view.reset(seed=0)
    store = 3 * 20 * 4e-3
    left: list[str] = []
    for _ in range(60):
        before = list(view.agents)
        moves = {a: np.float32([0.0, 0.1 * int(a[-1])]) for a in before}
        _, rewards, terminated, truncated, infos = view.step(moves)
        assert not any(truncated.values())
        assert all(r >= 0.0 for r in rewards.values())
        gone = [a for a in before if terminated[a]]
        left += gone
        assert view.agents == [a for a in before if a not in gone]
        assert float(view.table.rows.state.energy_j.max()) <= store * (1.0 + 1e-5)
        assert all(infos[a]["cost"] > 0.0 for a in before)
        if not view.agents:
            break
    assert sorted(left) == [f"device_{i}" for i in range(DEVICES)]
    assert len(set(left)) == DEVICES


def test_those_who_left_get_no_bandwidth_and_cost_nothing() -> None:
    env = batch(32, budget_mode="battery", horizon_slots=3, budget_j=4e-3)
    env.reset(seed=0)
    greedy = np.tile(np.float32([0.0, 0.0, *[1.0, 1.0] * 5]), (32, 1))
    for _ in range(6):
        gone = env.system.agent_ids(env.rows.state).numpy() < 0
        infos = env.step(greedy)[4]
        assert (infos["agent_cost"][gone] == 0.0).all()
        assert (infos["agent_band"][gone] == 0.0).all()
        assert (infos["agent_units"][gone] == 0).all()
        assert infos["agent_band"][~gone].min() > 0.0
    assert gone[:, 0].any()
    assert not gone[:, 1:].any()


def test_nobody_escapes_the_teams_closing_payment() -> None:
    """In reward team_log an empty device stays, idle; the end pays everybody, also when early."""
    view = parallel_env(
        MULTI, budget_mode="battery", reward="team_log", horizon_slots=3, budget_j=4e-3
    )
    view.reset(seed=0)
    for _ in range(60):
        before = list(view.agents)
        _, rewards, terminated, _, infos = view.step({a: np.zeros(2, np.float32) for a in before})
        assert len(before) == DEVICES
        if not view.agents:
            break
    assert all(terminated.values())
    assert len(set(rewards.values())) == 1
    assert rewards["device_0"] == pytest.approx(infos["device_0"]["fair_value"])
    assert rewards["device_0"] < 0.0


@pytest.mark.parametrize(
    "check",
    [
        "one_story_in_all_views",
        "names_and_dictionaries",
        "empty_seats_do_not_matter",
        "row_is_single_environment",
        "restored_state_continues",
    ],
)
def test_the_kit_holds_while_devices_leave(check: str) -> None:
    """Batteries of three slots: within six steps devices leave and games end."""
    brief = {"budget_mode": "battery", "horizon_slots": 3, "budget_j": 4e-3}
    (verdict,) = check_id(MULTI, only=[check], **brief)
    assert verdict.passed, verdict.message


# ------------------------------------------------------------------------------ agents' infos


def test_each_agent_is_told_its_own_cost() -> None:
    """Dossier 2.3: infos[n]["cost"] and infos[n]["cost_capacity"]."""
    view = parallel_env(MULTI)
    view.reset(seed=0)
    moves = {a: np.float32([0.0, 0.0]) if a == "device_0" else np.ones(2) for a in view.agents}
    moves = {a: np.asarray(m, np.float32) for a, m in moves.items()}
    infos = view.step(moves)[4]
    # (1, 1) costs block one of all events: 1.5164 of 5 mJ.
    assert infos["device_1"]["cost"] == pytest.approx(1.5164 / 5.0, rel=1e-4)
    assert infos["device_1"]["cost_capacity"] == 0.0
    assert infos["device_0"]["cost"] > infos["device_1"]["cost"]
    assert infos["device_0"]["cost_capacity"] > 0.0


# -------------------------------------------------------------------------------- servers


def test_freds_servers_have_the_capacities_of_its_sweep() -> None:
    """FREDI: W_j in {200, 160, 120, 100, 80, 60} of 600 events at three servers."""
    for share, events in ((1.0, 200), (0.8, 160), (0.6, 120), (0.5, 100), (0.4, 80), (0.3, 60)):
        made = EventOffloadMultiParams.create("fredi", capacity_share=share)
        assert made.server_events == events


def test_devices_of_the_triangle_stand_inside_with_the_mean_snr_of_their_distance() -> None:
    """Dossier 6: 0.2 W, 20 MHz at -174 dBm/Hz, 70 m, exponent 4: 20 m gives 71.9 dB."""
    made = system(preset="fredi")
    corners = torch.from_numpy(triangle_corners(made.params))
    sides = (corners - corners.roll(1, 0)).square().sum(-1).sqrt()
    assert sides.tolist() == pytest.approx([70.0] * 3)
    at = corners[0] + torch.tensor([20.0, 0.0], dtype=torch.float64)
    snr = triangle_snr(at.expand(1, 1, 2), corners, made.params)[0, 0]
    # 23.01 dBm + 174 - 73.01 dB(Hz) - 40 log10(20) = 71.96 dB
    assert 10.0 * math.log10(snr[0]) == pytest.approx(71.96, abs=0.01)
    assert 10.0 * math.log10(snr[1]) == pytest.approx(124.0 - 40.0 * math.log10(50.0), abs=0.01)
    points = stand_in_triangle(torch.rand(2000, 2, dtype=torch.float64), corners)
    weights = torch.linalg.solve(
        torch.cat([corners.T, torch.ones(1, 3, dtype=torch.float64)]),
        torch.cat([points.T, torch.ones(1, 2000, dtype=torch.float64)]),
    )
    assert float(weights.min()) >= -1e-9
    # Uniform in the triangle: the mean is the centroid.
    assert points.mean(0).tolist() == pytest.approx(corners.mean(0).tolist(), abs=1.0)


def test_association_is_balanced_or_strongest_and_obeys_eligibility() -> None:
    snr = torch.tensor([[[9.0, 1.0], [8.0, 1.0], [7.0, 1.0], [6.0, 1.0]]])
    everyone = torch.ones(4, 2, dtype=torch.bool)
    weight = torch.ones(4)
    assert associate(snr, everyone, weight, balanced=False).tolist() == [[0, 0, 0, 0]]
    assert associate(snr, everyone, weight, balanced=True).tolist() == [[0, 1, 0, 1]]
    heavy = torch.tensor([3.0, 1.0, 1.0, 1.0])
    assert associate(snr, everyone, heavy, balanced=True).tolist() == [[0, 1, 1, 1]]
    only = torch.tensor([[False, True], [False, True], [True, True], [True, False]])
    assert associate(snr, only, weight, balanced=True).tolist() == [[1, 1, 0, 0]]
    assert associate(snr, only, weight, balanced=False).tolist() == [[1, 1, 0, 0]]


def test_every_server_shares_among_its_own() -> None:
    """Three servers of 16 events and the whole bandwidth each; two devices each."""
    eligible = tuple((n < 2, 2 <= n < 4, n >= 4) for n in range(DEVICES))
    env = batch(8, num_servers=3, eligible=eligible, mean_snr_db=40.0)
    env.reset(seed=0)
    state = env.rows.state
    assert state.server.tolist() == [[0.0, 0.0, 1.0, 1.0, 2.0, 2.0]] * 8
    assert state.band.numpy() == pytest.approx(0.5)
    assert (state.units.numpy() == 8).all()


def test_devices_take_their_own_pools_in_turn() -> None:
    made = system(num_devices=3, device_scores=("digits38", "digits89"))
    names = [pool.meta["name"] for pool in device_pools(made.params)]
    assert names == ["digits38", "digits89", "digits38"]


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"eligible": ((True,),)}, "eligible"),
        ({"num_servers": 2, "eligible": ((False, False),) * 6}, "eligible"),
        ({"geometry": "triangle"}, "num_servers"),
        ({"weights": (0.0,)}, "weights"),
        ({"weights": (1.0,) * 7}, "weights"),
        ({"device_prevalence": (2.0,)}, "device_prevalence"),
        ({"device_prevalence": (0.1,), "labels": "bursty"}, "device_prevalence"),
        ({"device_scores": ("nothing",)}, "nothing"),
        ({"num_devices": 99}, "num_devices"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(kwargs: dict[str, Any], named: str) -> None:
    with pytest.raises(ParamsError, match=named):
        system(**kwargs)


def test_the_option_of_reset_holds_the_snr_of_all_devices() -> None:
    env = batch(4)
    env.reset(seed=0, options={"gamma_db": 10.0, "split": "test"})
    for _ in range(3):
        assert env.rows.state.snr.numpy() == pytest.approx(10.0)
        # 2.5 MHz s log2(11) / 1.048576 Mbit = 8.25
        assert (env.rows.state.units.numpy() == 8).all()
        infos = env.step(joint(env, 0.5, 0.9))[4]
    assert infos["agent_gamma_db"] == pytest.approx(10.0, abs=1e-4)


@pytest.mark.parametrize("preset", ["default", "battery", "fredi"])
def test_the_picture_is_drawn(preset: str) -> None:
    env: Any = gym.make(MULTI, preset=preset, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    env.step(env.action_space.sample())
    assert first.shape == (400, 600, 3)
    assert (env.render() != first).any()
