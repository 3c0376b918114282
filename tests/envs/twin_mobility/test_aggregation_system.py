"""Missions of agent aggregation: rounds, conservation, failure, reward, views, options, faults."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from aggregation_cases import (
    ID,
    batch,
    controls,
    one_round,
    pair_state,
    play,
    sends_to,
    steady,
    system,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sixgym.envs.core.conformance import check_id
from sixgym.envs.core.errors import ActionError, OptionsError, ParamsError
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.twin_mobility.aggregation_observation import OTHER, OWN
from sixgym.envs.twin_mobility.aggregation_round import potential_j
from sixgym.envs.twin_mobility.aggregation_state import AggregationState

STAY = [0.0, 0.0, 0.0, 1.0, 1.0]
"""Nobody moves, senders compress nothing, receivers keep eta_req."""
EASY = {"power_max_w": 1000.0, "round_time_s": 60.0}
"""No link fails."""


# ----------------------------------------------------------------------------------------- missions


@pytest.mark.parametrize(
    ("num_agents", "rounds"), [(2, 1), (4, 2), (8, 3), (3, 2), (5, 3), (7, 3), (9, 4), (12, 4)]
)
def test_a_mission_without_failures_takes_log2_rounds(num_agents: int, rounds: int) -> None:
    """Item 24: N = 2^K takes K rounds, others ceil(log2 N); the root then holds all sources."""
    env = batch(4, num_agents=num_agents, **EASY)
    env.reset(seed=0)
    told = play(env, steady(env, STAY), rounds)
    assert env.system.params.rounds == rounds
    assert [t["over"].all() for t in told] == [False] * (rounds - 1) + [True]
    assert [t["completed"].all() for t in told] == [False] * (rounds - 1) + [True]
    assert (env.rows.state.num_active == 1).all()
    assert (env.rows.state.sources.sum(1) == 2**num_agents - 1).all()
    assert sum(t["handovers"] for t in told).tolist() == [num_agents - 1] * 4


def test_without_compression_the_root_holds_all_that_there_was() -> None:
    """Item 24: eta = 1 with eta_req = 1 gives L_root = sum of L_i."""
    env = batch(8, num_agents=8, compression_required=1.0, dtype="float64", **EASY)
    env.reset(seed=3)
    total = env.rows.state.payload_bit.sum(1)
    told = play(env, steady(env, STAY), 3)
    assert told[-1]["root_bit"] == pytest.approx(total.numpy(), rel=1e-6)


def test_every_agent_is_in_one_pair_and_exactly_as_many_as_there_can_be() -> None:
    """Equations 16: floor(N_k / 2) pairs; who sits idle neither moves nor computes."""
    env = batch(32, num_agents=9)
    env.reset(seed=1)
    action = steady(env, [0.2, 1.0, 0.5, 0.8, 0.8])
    for _ in range(4):
        active = env.rows.state.active.numpy()
        (told,) = play(env, action, 1)
        partner = told["agent_partner"].astype(int)
        paired = partner >= 0
        rows = np.arange(32)[:, None]
        assert (partner[rows, partner][paired] == np.arange(9)[None].repeat(32, 0)[paired]).all()
        assert (paired.sum(1) == active.sum(1) // 2 * 2).all()
        assert not (paired & ~active).any()
        idle = ~paired
        for name in ("agent_energy_j", "agent_moved_m", "agent_power_w", "agent_time_left_s"):
            assert (told[name][idle] == 0.0).all()


def test_redundancy_is_that_of_the_fused_areas_as_they_were_before() -> None:
    """Equation 5: rho = Jaccard of both areas before the fusion; kept by who sat idle."""
    env = batch(16, num_agents=5, dtype="float64", **EASY)
    env.reset(seed=2)
    action = steady(env, STAY)
    assert (env.rows.state.redundancy == 1.0).all()
    for _ in range(2):
        before = env.rows.state
        (told,) = play(env, action, 1)
        after = env.rows.state
        partner, deed = told["agent_partner"].astype(int), told["agent_deed"].astype(int)
        for row in range(16):
            for i in range(5):
                if deed[row, i] == 2:
                    want = before.jaccard[row, i, partner[row, i]]
                    assert after.redundancy[row, i] == want
                else:
                    assert after.redundancy[row, i] == before.redundancy[row, i]


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.sampled_from(["default", "stress", "hmap", "central", "leaving"]))
def test_nothing_is_lost_or_made_in_any_mission(seed: int, preset: str) -> None:
    """Sources stay a partition of all agents, payloads come from payloads, energies add up."""
    env = batch(4, preset=preset, num_agents=7, dtype="float64")
    env.reset(seed=seed)
    env.action_space.seed(seed)
    everybody = 2**7 - 1
    for _ in range(env.system.params.max_rounds):
        before = env.rows.state
        _, reward, over, _, infos = env.step(env.action_space.sample())
        after = env.rows.state
        assert (after.sources.sum(1) == everybody).all()
        joined = [int(np.bitwise_or.reduce(s)) for s in after.sources.numpy()]
        assert joined == [everybody] * 4
        assert (after.payload_bit.sum(1) <= before.payload_bit.sum(1) * (1.0 + 1e-12)).all()
        assert ((after.payload_bit > 0.0) == after.active).all()
        off = (after.position - after.centre).square().sum(-1).sqrt()
        assert (off <= after.radius * (1.0 + 1e-9)).all()
        way = (after.position - before.position).square().sum(-1).sqrt()
        limit = env.system.params.speed_max_mps * env.system.params.reach_time_s
        assert (way <= limit * (1.0 + 1e-9)).all()
        assert torch.allclose(way, torch.from_numpy(infos["agent_moved_m"]), atol=1e-6)
        parts = infos["move_j"] + infos["compute_j"] + infos["send_j"]
        assert infos["energy_j"] == pytest.approx(parts)
        assert infos["energy_j"] == pytest.approx(infos["agent_energy_j"].sum(1))
        spent = (after.spent_j - before.spent_j).sum((1, 2)).numpy()
        assert infos["energy_j"] == pytest.approx(spent)
        mission = infos["energy_j"] + 10.0 * infos["stranded"]
        assert infos["mission_j"] == pytest.approx(mission)
        assert reward == pytest.approx(-mission / 0.5 - infos["failures"], rel=1e-6)
        assert (over == (infos["completed"] + (infos["stranded"] > 0) > 0)).all()
        if over.any():
            break


# ------------------------------------------------------------------------------------------ failure


def test_links_that_fail_change_nothing_and_the_episode_ends_as_failed() -> None:
    """K + 2 rounds; both stay active, work is charged, then N - 1 are stranded: 10 J each."""
    env = batch(4, num_agents=6, power_max_w=1e-12)
    env.reset(seed=0)
    first = env.rows.state.payload_bit.clone()
    told = play(env, steady(env, STAY), 5)
    assert [t["over"].all() for t in told] == [False] * 4 + [True]
    assert not any(t["late"].any() for t in told)
    assert all((t["failures"] == 3).all() and (t["handovers"] == 0).all() for t in told)
    assert all((t["send_j"] == 0).all() and (t["compute_j"] > 0).all() for t in told)
    assert torch.equal(env.rows.state.payload_bit, first)
    assert [t["stranded"].tolist() for t in told] == [[0.0] * 4] * 4 + [[5.0] * 4]
    assert told[-1]["mission_j"] == pytest.approx(told[-1]["energy_j"] + 50.0)
    assert told[-1]["reward"] == pytest.approx(-told[-1]["mission_j"] / 0.5 - 3.0)
    assert (told[-1]["completed"] == 0).all()


@pytest.mark.parametrize("preset", ["default", "stress"])
def test_letting_links_fail_never_pays(preset: str) -> None:
    """Eta = 1 without motion over dead links is the cheapest failure; a mission done is better."""
    lazy = batch(16, preset=preset, power_max_w=1e-12)
    plain = batch(16, preset=preset)
    returns = []
    for env in (lazy, plain):
        env.reset(seed=0)
        # Sent at .2 and kept at .2 in every round: no plan, but feasible nearly always.
        ratio = 1.0 if env is lazy else 0.2
        u = controls(env.system, send=ratio, keep=0.6 if env is lazy else 0.2)
        told = play(env, steady(env, u), 6)
        alive, total = np.ones(16, bool), np.zeros(16)
        for t in told:
            total += np.where(alive, t["reward"], 0.0)
            alive &= ~t["over"]
        returns.append(total.mean())
    assert returns[0] < 2.0 * returns[1] < 0.0


def test_no_more_than_10_ms_is_no_time() -> None:
    """The way takes all but 10 ms of the round; a link that needs 5 ms fails."""
    made = system(num_agents=2, pairing="central", move_margin_s=0.0)
    state = pair_state(made, 20.0, [1e3, 1e3])
    for share, fails in ((1.0, 1.0), (0.99, 0.0)):
        u = [controls(made, length=0.1, time=share, send=0.05), controls(made)]
        _, told, _ = one_round(made, state, sends_to(made, 0, 1), u)
        assert told["failures"] == fails


# ----------------------------------------------------------------------------------------- actions


def test_ways_keep_to_the_disc_the_speed_and_the_time() -> None:
    """u1 is a share of min(v_max 5.8 s, way to the border); T_mob = max(d / v_max, u2 5.8 s)."""
    made = system(num_agents=2, pairing="central")
    state = pair_state(made, 200.0, [8e6, 6e6])
    near = state.position.clone()
    near[0, 0, 0] = 100.0 + 80.0  # 10 m to the border, eastwards
    state = state._replace(position=near)
    u = [controls(made, length=1.0), controls(made, angle=math.pi / 2, length=1.0)]
    new, told, _ = one_round(made, state, sends_to(made, 0, 1), u)
    assert told["agent_moved_m"] == pytest.approx([10.0, 29.0])
    assert new.position[0, 0].tolist() == pytest.approx([190.0, 250.0])
    assert new.position[0, 1].tolist() == pytest.approx([300.0, 279.0])
    assert told["move_j"] == pytest.approx(
        (0.2 * 2.0 + 0.5 + 0.01 * 100 / 2.0) + (0.2 * 5.8 + 0.05 * 29 + 0.01 * 29**2 / 5.8)
    )
    u = [controls(made, length=0.5, time=0.5), controls(made)]
    _, told, _ = one_round(made, state, sends_to(made, 0, 1), u)
    assert told["move_j"] == pytest.approx(0.2 * 2.9 + 0.05 * 5 + 0.01 * 25 / 2.9)


@pytest.mark.parametrize("pairing", ["bids", "hmap", "central"])
def test_both_layouts_of_an_action_tell_one_story(pairing: str) -> None:
    """Agent by agent bids and controls, or all bids, then all controls."""
    n = 6
    flat, hybrid = (
        batch(8, num_agents=n, pairing=pairing, action_mode=mode) for mode in ("flat", "hybrid")
    )
    bids = 0 if pairing == "hmap" else n
    assert flat.single_action_space.shape == (n * (bids + 5),)
    assert hybrid.single_action_space.shape == (n * (bids + 5),)
    flat.reset(seed=4)
    hybrid.reset(seed=4)
    generator = np.random.default_rng(0)
    for _ in range(3):
        one = generator.random((8, n, bids + 5)).astype(np.float32)
        parts = [one[..., :bids].reshape(8, -1), one[..., bids:].reshape(8, -1)]
        a, b = flat.step(one.reshape(8, -1)), hybrid.step(np.concatenate(parts, 1))
        assert (a[0] == b[0]).all()
        assert (a[1] == b[1]).all()


def test_a_controller_of_all_decides_pairs_and_directions_by_one_matrix() -> None:
    """pairing central: row i of the matrix is the bids of agent i; entry (i, j) is i to j."""
    env = batch(1, num_agents=4, pairing="central", **EASY)
    env.reset(seed=0)
    action = np.zeros((4, 9), np.float32)
    action[:, 4:] = STAY
    action[3, 1] = 1.0
    action[0, 2] = 0.5
    infos = env.step(action.reshape(1, -1))[4]
    assert infos["agent_partner"].tolist() == [[2.0, 3.0, 0.0, 1.0]]
    assert infos["agent_deed"].tolist() == [[1.0, 2.0, 2.0, 1.0]]


@pytest.mark.parametrize("death_mode", ["masked", "remove"])
def test_moves_of_those_who_handed_over_do_not_matter(death_mode: str) -> None:
    env, other = (batch(16, num_agents=6, death_mode=death_mode) for _ in range(2))
    env.reset(seed=0)
    other.reset(seed=0)
    action = steady(env, [0.3, 0.1, 0.4, 0.7, 0.6])
    generator = np.random.default_rng(0)
    for _ in range(4):
        mixed = action.reshape(16, 6, 11).copy()
        gone = ~env.rows.state.active.numpy()
        mixed[gone] = generator.random(mixed.shape)[gone]
        a, b = env.step(action), other.step(mixed.reshape(16, -1))
        assert (a[0] == b[0]).all()
        assert (a[1] == b[1]).all()


# ----------------------------------------------------------------------------- reward, observation


def test_shaping_leaves_the_discounted_return_but_for_the_start() -> None:
    """sum gamma^t (gamma Phi' - Phi) = -Phi(0), as Phi is 0 at the end of any mission."""
    kwargs: dict[str, Any] = {"num_agents": 6, "dtype": "float64"}
    shaped, plain = batch(8, shaping_weight=1.0, **kwargs), batch(8, **kwargs)
    shaped.reset(seed=0)
    plain.reset(seed=0)
    state: AggregationState = plain.rows.state
    params = plain.system.params
    field = potential_j(params, state.position, state.active, state.payload_bit).sum(1)
    action = steady(plain, [0.3, 0.4, 0.4, 0.9, 0.6])
    difference, alive = np.zeros(8), np.ones(8, bool)
    for t in range(params.max_rounds):
        a, b = shaped.step(action), plain.step(action)
        difference += np.where(alive, 0.99**t * (a[1] - b[1]), 0.0)
        alive &= ~b[2]
    assert not alive.any()
    assert difference == pytest.approx((field / 0.5).numpy())


def test_the_team_is_paid_once_to_a_controller_and_to_each_agent() -> None:
    env = batch(4, num_agents=6)
    env.reset(seed=0)
    _, reward, _, _, infos = env.step(steady(env, STAY))
    assert (infos["agent_reward"] == reward[:, None]).all()


def test_observations_have_the_sizes_and_meanings_of_the_dossier() -> None:
    """10 + 8 (N - 1) for an agent; own blocks and the Jaccard matrix for a controller."""
    env = batch(4, dtype="float64")
    seen, _ = env.reset(seed=0)
    n, state = 10, env.rows.state
    assert seen.shape == (4, n * OWN + n * n)
    assert env.system.groups[0].observation_space.shape == (OWN + OTHER * (n - 1),)
    env.step(steady(env, [0.3, 0.4, 0.4, 0.6, 0.6]))
    state = env.rows.state
    own = env.system.perceive(state, {})["agent"].double()
    row, me, you = 2, 3, 7
    block, other = own[row, me, :OWN], own[row, me, OWN:].reshape(n - 1, OTHER)[you - 1]
    place, disc = state.position[row], state.disc[row]
    active = state.active[row].double()
    mean = (place * active[:, None]).sum(0) / active.sum()
    want = [
        *((place[me] - disc[me, :2]) / disc[me, 2]), *(disc[me, :2] / 500.0), disc[me, 2] / 100.0,
        state.payload_bit[row, me] / 2e7, state.redundancy[row, me],
        bin(int(state.sources[row, me])).count("1") / 10, active[me], 1 / 4,
    ]  # fmt: skip
    assert block.tolist() == pytest.approx([float(v) for v in want], abs=1e-6)
    distance = math.dist(place[me].tolist(), place[you].tolist())
    gain = math.log10(1e-4 * distance**-3)
    want = [
        *((place[you] - place[me]) / 500.0), state.payload_bit[row, you] / 2e7,
        bin(int(state.sources[row, you])).count("1") / 10, state.jaccard[row, me, you],
        (gain + 9.0) / 5.0, active[you], math.dist(place[you].tolist(), mean.tolist()) / 500.0,
    ]  # fmt: skip
    assert other.tolist() == pytest.approx([float(v) for v in want], abs=1e-6)


@pytest.mark.parametrize("death_mode", ["masked", "remove"])
def test_what_agents_see_follows_from_what_a_controller_sees(death_mode: str) -> None:
    env = batch(16, death_mode=death_mode)
    seen, _ = env.reset(seed=0)
    for _ in range(3):
        told = env.system.seen(torch.from_numpy(seen))
        want = env.system.perceive(env.rows.state, {})["agent"]
        assert torch.allclose(told["agent"], want, atol=2e-5)
        if death_mode == "remove":
            assert torch.equal(told["alive"] > 0.5, env.system.alive(env.rows.state))
        seen, *_ = env.step(steady(env, [0.3, 0.4, 0.4, 0.6, 0.6]))


# ---------------------------------------------------------------------------------- agents by name


def test_agents_by_name_stay_masked_unless_they_may_leave() -> None:
    for death_mode in ("masked", "remove"):
        view = parallel_env(ID, num_agents=4, death_mode=death_mode, **EASY)
        _, infos = view.reset(seed=0)
        assert infos["agent_1"]["bid_mask"].tolist() == [1, 0, 1, 1]
        move = {"bid": np.zeros(4, np.float32), "u": np.float32(STAY)}
        _, rewards, terminated, _, infos = view.step(dict.fromkeys(view.agents, move))
        active = view.table.rows.state.active[0].tolist()
        gone = [f"agent_{i}" for i in range(4) if not active[i]]
        assert len(gone) == 2
        assert len(set(rewards.values())) == 1
        if death_mode == "remove":
            assert [a for a, over in terminated.items() if over] == gone
            assert view.agents == [a for a in terminated if a not in gone]
        else:
            assert not any(terminated.values())
            assert len(view.agents) == 4
            for name in gone:
                assert not infos[name]["bid_mask"].any()
                assert not infos[name]["component_mask"].any()
        told = view.step(dict.fromkeys(view.agents, move))
        assert all(told[2].values())
        assert view.agents == []


def test_the_state_of_a_view_by_name_is_what_a_controller_sees() -> None:
    view = parallel_env(ID, num_agents=5)
    view.reset(seed=7)
    seen, _ = batch(1, num_agents=5).reset(seed=7)
    assert (view.state() == seen[0]).all()


@pytest.mark.parametrize("check", ["pettingzoo_tests", "one_story_in_all_views",
    "names_and_dictionaries", "empty_seats_do_not_matter", "restored_state_continues"])  # fmt: skip
def test_the_kit_holds_while_agents_leave(check: str) -> None:
    (verdict,) = check_id(ID, only=[check], num_agents=4, death_mode="remove")
    assert verdict.passed, verdict.message


# ------------------------------------------------------------------------- starting states, faults


def test_worlds_are_as_the_parameters_say_and_shared_by_all_variants() -> None:
    """Centres in the square, agents uniform in their discs, the same whatever decides the pairs."""
    env = batch(512, num_agents=4)
    env.reset(seed=0)
    state = env.rows.state
    assert float(state.centre.min()) >= 0.0
    assert float(state.centre.max()) <= 500.0
    assert state.centre.mean().item() == pytest.approx(250.0, abs=10.0)
    assert 80.0 <= float(state.radius.min()) <= float(state.radius.max()) <= 100.0
    assert 5e6 <= float(state.payload_bit.min()) <= float(state.payload_bit.max()) <= 10e6
    share = (state.position - state.centre).square().sum(-1).sqrt() / state.radius
    assert share.square().mean().item() == pytest.approx(0.5, abs=0.02)  # uniform in area
    other = batch(512, num_agents=4, pairing="hmap", power="max", compression_required=1.0)
    other.reset(seed=0)
    assert torch.equal(other.rows.state.position, state.position)
    large = batch(512, num_agents=6)
    large.reset(seed=0)
    assert torch.equal(large.rows.state.position[:, :4], state.position)


def test_an_instance_sets_the_scenario_of_an_episode() -> None:
    env = batch(2, num_agents=3, dtype="float64")
    disc = [[100.0, 100.0], [200.0, 100.0], [300.0, 100.0]]
    given = {"disc_xy": disc, "radius": [90.0] * 3, "payload": [8e6, 6e6, 5e6]}
    env.reset(seed=0, options={"instance": given})
    state = env.rows.state
    assert state.centre.tolist() == [disc] * 2
    assert state.payload_bit.tolist() == [[8e6, 6e6, 5e6]] * 2
    off = (state.position - state.centre).square().sum(-1).sqrt()
    assert (off <= 90.0).all()
    assert state.jaccard[0, 0, 1].item() == pytest.approx(0.2019, abs=0.01)
    assert not torch.equal(state.position[0], state.position[1])
    by_row = [[[1e6] * 3, [2e6] * 3], [disc, disc]]
    env.reset(options={"instance": {"payload": by_row[0], "disc_xy": by_row[1], "pos": by_row[1]}})
    assert env.rows.state.payload_bit.tolist() == by_row[0]
    assert env.rows.state.position.tolist() == by_row[1]
    env.reset()
    assert env.rows.state.centre.tolist() != [disc] * 2


@pytest.mark.parametrize(
    ("instance", "named"),
    [
        (3, "dictionary"),
        ({"place": [1.0]}, "place"),
        ({"radius": [90.0]}, "radius"),
        ({"radius": "wide"}, "radius"),
        ({"payload": [1e6, math.nan, 1e6]}, "payload"),
        ({"payload": [0.0] * 3}, "payload"),
        ({"radius": [400.0] * 3}, "discs within"),
        ({"pos": [[1000.0, 0.0]] * 3}, "pos"),
    ],
)
def test_an_instance_that_does_not_fit_is_refused(instance: Any, named: str) -> None:
    env: Any = gym.make(ID, num_agents=3)
    with pytest.raises(OptionsError, match=named):
        env.reset(seed=0, options={"instance": instance})


@pytest.mark.parametrize(
    ("kwargs", "named"),
    [
        ({"num_agents": 1}, "num_agents"),
        ({"num_agents": 13}, "num_agents"),
        ({"radius_range_m": (80.0, 120.0)}, "radius_range_m"),
        ({"payload_range_bit": (2.0, 1.0)}, "payload_range_bit"),
        ({"compression_required": 0.01}, "compression_required"),
        ({"move_margin_s": 6.0}, "move_margin_s"),
        ({"cell_m": 1.0}, "cell_m"),
        ({"pairing": "auction"}, "pairing"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(kwargs: dict[str, Any], named: str) -> None:
    with pytest.raises(ParamsError, match=named):
        system(**kwargs)


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.1])
def test_actions_outside_the_space_are_refused_and_change_nothing(value: float) -> None:
    env = batch(2)
    env.reset(seed=0)
    before = env.rows.state
    action = steady(env, STAY)
    action[1, 7] = value
    with pytest.raises(ActionError):
        env.step(action)
    assert env.rows.state is before


def test_presets_are_what_they_say() -> None:
    stress = system(preset="stress").params
    assert (stress.round_time_s, stress.payload_range_bit) == (2.5, (15e6, 25e6))
    assert (stress.gain_1m, stress.cpu_flops, stress.work_gen_flop_per_bit) == (1e-5, 2.5e9, 120.0)
    assert system(preset="small").params.num_agents == 6
    assert system().params.rounds == 4
    assert system().params.max_rounds == 6
