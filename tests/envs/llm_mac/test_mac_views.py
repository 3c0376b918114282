"""The views of LLM-MAC: agents by name, one controller, one side against a fixed partner."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from mac_cases import SILENT, draws, first, game, moves, play, random_moves

import sixgym  # noqa: F401  (registers the ids)
from sixgym.envs.core.conformance import find, run
from sixgym.envs.core.conformance.subject import Subject
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.pettingzoo_view import env, parallel_env
from sixgym.envs.llm_mac import LlmMac
from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG
from sixgym.envs.llm_mac.levels import bs_allowed, shield_bs, shield_ue, ue_allowed
from sixgym.envs.llm_mac.observation import decoded_last
from sixgym.envs.llm_mac.partners import answers, messages

ID = "sixgym/LlmMac-v0"
STORMY = {"population": "birth_death", "p_join": 0.4, "p_leave": 0.4, "n_lo": 1, "n_hi": 4}
STORMY |= {"n_max": 5, "max_agents": 40}


VARIANTS: dict[str, dict[str, Any]] = {
    "stackelberg": STORMY,
    "delayed": {**STORMY, "timing": "delayed"},
    "follower": {**STORMY, "role": "follower"},
    "leader": {"role": "leader", "bs_action": "pointer", "partner_users": "aloha", "n_max": 5},
    "history": {"history": 2, "privileged": True, "n_max": 5},
}
PROMISES = (
    "one_story_in_all_views",
    "names_and_dictionaries",
    "empty_seats_do_not_matter",
    "hearing_needs_no_state",
    "observations_and_infos",
    "row_is_single_environment",
    "restored_state_continues",
)


def promises() -> list[Any]:
    """All promises of the first variant, the first of all; the others are slow."""
    pairs = [(name, check) for name in VARIANTS for check in PROMISES]
    return [
        pytest.param(
            VARIANTS[name],
            check,
            id=f"{name}-{check}",
            marks=[] if name == "stackelberg" or check == PROMISES[0] else pytest.mark.slow,
        )
        for name, check in pairs
    ]


@pytest.mark.parametrize(("kwargs", "check"), promises())
def test_variants_keep_the_promises_of_the_kit(kwargs: dict[str, Any], check: str) -> None:
    """AEC, parallel (two half steps a slot) and central views are one trajectory among them."""
    verdict = run(find(check), Subject(ID, kwargs))
    assert verdict.passed is not False, verdict.message


@pytest.mark.slow
def test_pettingzoos_own_tests_pass_where_users_come_and_go() -> None:
    verdict = run(find("pettingzoo_tests"), Subject(ID, STORMY))
    assert verdict.passed, verdict.message


def test_the_base_station_moves_first_and_users_see_its_message() -> None:
    view = env(ID, population="fixed", num_users=2, n_max=2)
    view.reset(seed=1)
    assert view.agent_selection == "bs_0"
    view.step(np.array([DCM_SG, DCM_ACK]))
    assert view.agent_selection == "ue_0"
    heard = [view.observe(f"ue_{i}")["observation"][-3:].tolist() for i in range(2)]
    assert heard == [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert view.infos["ue_1"]["x"] == (0, 0, 0, DCM_ACK)
    assert view.metadata["is_parallelizable"] is False
    assert parallel_env(ID, timing="delayed").metadata["is_parallelizable"] is True


def test_a_slot_takes_two_calls_of_the_parallel_view_and_the_limit_counts_slots() -> None:
    view = parallel_env(ID, population="fixed", num_users=2, n_max=2, max_episode_steps=3)
    view.reset(seed=1)
    calls = 0
    while view.agents:
        acting = [a for a in view.agents if a.startswith("ue") == (calls % 2 == 1)]
        told = view.step({a: view.action_space(a).sample() for a in acting})
        if calls % 2 == 0:
            assert set(told[1].values()) == {0.0}
            assert {i["turn"] for i in told[4].values()} == {1}
        calls += 1
    assert calls == 6
    assert all(told[3].values())


def test_infos_hold_the_integers_and_if_asked_for_the_words() -> None:
    view = parallel_env(ID, population="fixed", num_users=2, n_max=3, prompts=True)
    _, infos = view.reset(seed=1)
    assert infos["bs_0"]["x"] == (0,) * 7, "o, three u, three m"
    assert infos["ue_1"]["x"] == (0,) * 4
    assert "UE1" in infos["ue_1"]["prompt"]
    assert infos["ue_1"]["seat"] == 1


def test_integers_of_all_are_diagnostics_of_the_central_view() -> None:
    batch = make_vector_env(LlmMac, 4, info_level=1, n_max=3, population_sizes=(2, 3))
    batch.reset(seed=0)
    *_, infos = batch.step(batch.action_space.sample())
    state = batch.rows.state
    assert infos["x_ue"].shape == (4, 3, 4)
    assert np.array_equal(infos["x_ue"][..., 0], state.q.numpy())
    assert np.array_equal(infos["x_bs"][:, 1:4], state.u.numpy())
    assert np.array_equal(infos["x_bs"][:, 0], state.o.numpy())


def test_features_are_those_of_the_dossier() -> None:
    """2.2: user [q/B, q>0, q>1, a one-hot, u, m one-hot]; seat [here, u, m, decoded, joined]."""
    system = game(2, n_max=3, initial_queue=3, buffer_size=6, **SILENT)
    state, _ = play(system, first(system), (DCM_SG, DCM_ACK, DCM_NULL), (2, 1, 0))
    seen = system.perceive(state, {})
    assert seen["ue"][0, 0].tolist() == [0.5, 1, 1, 0, 1, 0, 0, 0, 1, 0]
    assert seen["ue"][0, 1].tolist() == [0.5, 1, 1, 1, 0, 0, 1, 0, 0, 1]
    assert seen["ue"][0, 2].tolist() == [0.0] * 10
    rows = seen["bs.rows"][0, 0]
    assert rows[0].tolist() == [1, 0, 0, 1, 0, 1, 0]
    assert rows[1].tolist() == [1, 1, 0, 0, 1, 0, 0]
    assert rows[2].tolist() == [0.0] * 7
    assert seen["bs.glob"][0, 0].tolist() == pytest.approx([0, 0, 2 / 3, 1 / 24])
    empty = system.perceive(first(system), {})["bs.glob"][0, 0]
    assert empty.tolist() == pytest.approx([1, 0, 2 / 3, 0])


def test_history_shows_earlier_slots_newest_first() -> None:
    system = game(2, history=2, initial_queue=2, **SILENT)
    plain = game(2, initial_queue=2, **SILENT)
    state, bare = first(system), first(plain)
    told = []
    for m, ue in (((1, 0), (2, 1)), ((2, 1), (4, 2)), ((0, 2), (0, 4))):
        before = plain.perceive(bare, moves(m, ue))
        told.append(before["ue"])
        seen = system.perceive(state, moves(m, ue))["ue"]
        for back in range(3):
            part = seen[..., 10 * back : 10 * back + 10]
            wanted = told[-1 - back] if back < len(told) else torch.zeros_like(part)
            assert torch.equal(part, wanted)
        state, _ = play(system, state, m, ue)
        bare, _ = play(plain, bare, m, ue)


def test_a_privileged_controller_sees_the_buffers() -> None:
    flat, nested = (
        make_vector_env(LlmMac, 3, privileged=True, n_max=4, joint=joint, population_sizes=(2, 4))
        for joint in (None, "dict")
    )
    for view in (flat, nested):
        view.reset(seed=2)
        for _ in range(3):
            seen, *_ = view.step(view.action_space.sample())
        state = view.rows.state
        hidden = seen["hidden"] if isinstance(seen, dict) else seen[:, -8:].reshape(3, 4, 2)
        assert np.allclose(hidden[..., 0], state.q / 20)
        assert np.array_equal(hidden[..., 1], state.d)


@pytest.mark.parametrize("timing", ["stackelberg", "delayed"])
def test_a_side_alone_plays_the_same_game_as_both(timing: str) -> None:
    """Roles leader and follower: the partner's moves, handed to the full game, change nothing."""
    params: dict[str, Any] = {**STORMY, "timing": timing, "mode": "selfish", "bs_action": "multi"}
    both, users = game(5, **params), game(5, role="follower", **params)
    leader = game(5, role="leader", partner_users="aloha", **params)
    rows, generator = 32, torch.Generator().manual_seed(4)
    state, alone, leading = first(both, rows), first(users, rows), first(leader, rows)
    second = state
    for t in range(1, 25):
        noise = draws(users, rows, t)
        chosen = random_moves(both, rows, generator)
        m = messages(users.params, alone)
        if timing == "stackelberg":
            assert torch.equal(users.heard(alone, {}), m)
        alone, told = users.play(alone, {"ue": chosen["ue"]}, noise)
        state, step = both.play(state, {"ue": chosen["ue"], "bs": m[:, None]}, noise)
        assert torch.equal(alone.q, state.q)
        assert torch.equal(told.reward, step.reward[:, 1:])
        noise = draws(leader, rows, t)
        heard = both.heard(second, chosen)
        u = answers(leader.params, second, heard, noise["partner"])
        leading, told = leader.play(leading, {"bs": chosen["bs"]}, noise)
        second, step = both.play(second, {"ue": u, "bs": chosen["bs"]}, noise)
        assert torch.equal(leading.q, second.q)
        assert torch.equal(told.reward[:, 0], step.reward[:, 0])


def test_contention_free_partners_reach_the_dossiers_goodput() -> None:
    """Section 5, CF (stackelberg) at n=5 against itself: goodput .914, Jain .906, no collision."""
    system = game(5, role="leader")
    state = first(system, 2000)
    total = torch.zeros(2000)
    fixed = game(5)
    coin = torch.Generator().manual_seed(0)
    params = fixed.params
    for t in range(1, 25):
        seen = state._replace(coin=torch.rand(2000, 1, generator=coin))
        m = messages(params, seen)
        state, step = system.play(state, {"bs": m[:, None]}, draws(system, 2000, t))
        total += step.metrics["delivered"]
        assert not step.metrics["collision"].any()
    assert float(total.mean()) / 24 == pytest.approx(0.914, abs=0.006)
    assert float(state.jain[:, 0].mean()) == pytest.approx(0.906, abs=0.012)


def test_pointers_name_seats_and_an_acknowledgement_wins() -> None:
    system = game(3, bs_action="pointer", initial_queue=1, **SILENT)
    state = first(system)
    for pointer, wanted in (
        ((0, 0), [0, 0, 0]),
        ((2, 0), [0, DCM_SG, 0]),
        ((1, 3), [DCM_SG, 0, DCM_ACK]),
        ((2, 2), [0, DCM_ACK, 0]),
    ):
        heard = system.heard(state, {"bs": torch.tensor([[pointer]])})
        assert heard[0].tolist() == wanted
    few = game(2, n_max=4, bs_action="pointer", **SILENT)
    mask = few.allowed(first(few), {})["bs"][0, 0].tolist()
    assert mask == [True, True, True, False, False] * 2


def test_masks_follow_the_level_of_the_grammar() -> None:
    """3.5: level 1 forbids acting on an empty buffer; level 3 what was not granted or asked for."""
    for level, acts in ((0, True), (1, False)):
        system = game(2, n_max=3, pag_level=level, **SILENT)
        masks = system.allowed(first(system), {})
        assert masks["ue"][0, 0].tolist() == [True, True] + [acts] * 4
        assert masks["ue"][0, 2].tolist() == [True] + [False] * 5, "an empty seat"
        assert masks["bs"][0, 0].tolist() == [True] * 6 + [True, False, False]
    system = game(3, pag_level=3, initial_queue=1, **SILENT)
    state, _ = play(system, first(system), (0, 0, 0), (0, 1, 1))
    masks = system.allowed(state, moves((0, DCM_SG, DCM_SG), (0, 0, 0)))
    assert masks["bs"][0, 0].tolist() == [True, False, False] + [True, True, False] * 2
    assert masks["ue"][0].tolist() == [
        [True, True, False, False, False, False],
        [True, True, True, True, False, False],
        [True, True, False, False, False, False],  # the second grant was forbidden
    ]
    before = system.allowed(state, {})["ue"][0]
    assert before.all(), "before the base station has moved, what some message allows"


def test_a_second_grant_becomes_null_and_counts_as_invalid() -> None:
    """3.6: rows are read in ascending order, each forbidden message becomes null."""
    system = game(3, pag_level=2, initial_queue=1, **SILENT)
    said = (DCM_ACK, DCM_SG, DCM_SG)
    state, step = play(system, first(system), said, (0, 2, 2))
    assert state.m[0].tolist() == [DCM_ACK, DCM_SG, DCM_NULL]
    assert step.metrics["invalid"].tolist() == [1.0]
    assert step.metrics["grants"].tolist() == [1.0]


def test_spaces_of_the_default_game() -> None:
    view = gym.make(ID)
    assert view.action_space == spaces.MultiDiscrete([3] * 10 + [6] * 10)
    assert view.observation_space.shape == (10 * 7 + 4 + 10 * 10 + 11,)
    assert view.get_wrapper_attr("system").groups[1].agents == 10
    emergent = gym.make(ID, opaque=True, num_ucm=4, num_dcm=6, n_max=2, population_sizes=(2,))
    assert emergent.action_space == spaces.MultiDiscrete([6, 6, 12, 12])


def test_one_slot_utilities_are_the_dossiers_first_table() -> None:
    """9.1 (G1, rho=1, kappa=5, c_g=0.1): U; u1, u2 of every message and action of two users."""
    table = {
        (0, 0): [(-1, 0, 0), (3, 0, -2), (3, -2, 0), (-1, -6, -6)],
        (0, 1): [(-1.1, 0, 0), (2.9, 0, 3), (2.9, -2, 0), (-1.1, -6, -1)],
        (1, 0): [(-1.1, 0, 0), (2.9, 0, -2), (2.9, 3, 0), (-1.1, -1, -6)],
        (1, 1): [(-1.2, 0, 0), (2.8, 0, 3), (2.8, 3, 0), (-1.2, -1, -1)],
    }
    system = game(initial_queue=1, rho=1.0, **{**SILENT, "mode": "selfish"})
    for m, line in table.items():
        for place, wanted in enumerate(line):
            ue = (2 * (place // 2), 2 * (place % 2))
            _, step = play(system, first(system), m, ue)
            assert step.reward[0].tolist() == pytest.approx(wanted, abs=1e-6)


def test_reward_mota_is_its_rule() -> None:
    """2.4: -rho if any wrong delete, else +rho if new, else -1; rho = 3."""
    system = game(3, reward="mota", initial_queue=1, **SILENT)
    for ue, wanted in (((2, 0, 4), -3.0), ((2, 0, 0), 3.0), ((2, 2, 0), -1.0), ((0, 0, 0), -1.0)):
        _, step = play(system, first(system), (0, 0, 0), ue)
        assert step.reward[0].tolist() == pytest.approx([wanted] * 4)


def test_the_fairness_term_of_an_episode_is_that_of_its_last_slot() -> None:
    """2.4: over T slots it adds lambda T (J - 1), whatever the way there."""
    fair = game(4, mode="team", fairness=1.0, arrival_prob=0.6)
    blind = game(4, mode="team", arrival_prob=0.6)
    generator = torch.Generator().manual_seed(0)
    state, other = first(fair, 64), first(blind, 64)
    extra = torch.zeros(64)
    for t in range(1, 25):
        chosen = random_moves(fair, 64, generator)
        state, a = fair.play(state, chosen, draws(fair, 64, t))
        other, b = blind.play(other, chosen, draws(blind, 64, t))
        extra += a.reward[:, 0] - b.reward[:, 0]
        assert torch.equal(a.reward[:, 1:], b.reward[:, 1:]), "the base station alone is paid it"
    assert torch.allclose(extra, 1.5 * 24 * (state.jain[:, 0] - 1.0), atol=1e-3)


def test_the_world_does_not_depend_on_what_is_done_in_it() -> None:
    """Common random numbers: users and packets come and go alike for every policy."""
    system = game(4, **{k: v for k, v in STORMY.items() if k != "n_max"})
    generator = torch.Generator().manual_seed(1)
    stories = []
    for _ in range(2):
        state, story = first(system, 16), []
        for t in range(1, 30):
            chosen = random_moves(system, 16, generator)
            state, step = system.play(state, chosen, draws(system, 16, t))
            story.append((state.agent_id, step.metrics["generated"]))
        stories.append(story)
    for (ids, came), (other_ids, other_came) in zip(*stories, strict=True):
        assert torch.equal(ids, other_ids)
        assert torch.equal(came, other_came)


@pytest.mark.parametrize("level", [-1, 0, 1, 2, 3])
def test_the_game_takes_moves_as_the_grammars_shields_do(level: int) -> None:
    """What `speech` does to moves is what `levels` says of every level."""
    system = game(4, pag_level=level, population="episodic", population_sizes=(2, 4))
    state, generator = first(system, 128), torch.Generator().manual_seed(level)
    for t in range(1, 12):
        chosen = random_moves(system, 128, generator)
        facts = (state.here, decoded_last(state) > 0, state.u == 1)
        bs = shield_bs(level, bs_allowed(level, *facts), chosen["bs"][:, 0])
        move = torch.where(state.here, chosen["ue"], 0)
        ue = shield_ue(ue_allowed(level, state.here, state.q, bs.move), move)
        void = (move > 1) & (state.q == 0)
        state, step = system.play(state, chosen, draws(system, 128, t))
        assert torch.equal(state.m, bs.move)
        assert torch.equal(2 * state.a + state.u, ue.move)
        wrong = bs.invalid.sum(1) + (ue.invalid | void).sum(1)
        assert torch.equal(step.metrics["invalid"], wrong.float())
