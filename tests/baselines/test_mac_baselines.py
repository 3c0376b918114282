"""Access schemes playing LLM-MAC against closed forms and the dossier's reference table (5)."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from sixgym.baselines.llm_mac import BASELINES
from sixgym.baselines.llm_mac.multi_slot import Buffers, MultiSlot
from sixgym.baselines.llm_mac.one_slot import OneSlot, environment
from sixgym.baselines.llm_mac.schemes import (
    Aloha,
    Backoff,
    CarrierSense,
    ContentionFree,
    LongestQueue,
    ProportionalFair,
    RoundRobin,
)
from sixgym.baselines.llm_mac.theory import aloha, backoff, contention_free, csma, goodput_bound
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.rollout import Episodes, rollout, score_values
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.llm_mac.codes import TRANSMIT
from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.system import BS, UE, LlmMac

SYSTEM = "sixgym.envs.llm_mac.system:LlmMac"
FIRST_SEED = 7_000


def make(rows: int, n: int, slots: int = 24, **params: Any) -> SixgymVectorEnv:
    kwargs = {"population": "fixed", "num_users": n, **params}
    return make_vector_env(SYSTEM, rows, max_episode_steps=slots, **kwargs)


def play(name: str, rows: int, n: int, slots: int = 24, **params: Any) -> Episodes:
    entry = BASELINES[name]
    env = make(rows, n, slots, **params, **entry.env_kwargs)
    return rollout(env, entry.make(env.system), range(FIRST_SEED, FIRST_SEED + rows))


def scores(episodes: Episodes) -> dict[str, float]:
    return score_values(LlmMac.scores, episodes)


# ------------------------------------------------------------------------------- reference table

REFERENCE = {  # goodput, Jain, collision rate for n = 2, 3, 4, 5 users at p = 0.5
    "aloha": [(0.459, 0.965, 0.110), (0.414, 0.885, 0.170), (0.398, 0.810, 0.193),
              (0.388, 0.749, 0.203)],
    "aloha_half": [(0.459, 0.965, 0.110), (0.411, 0.886, 0.345), (0.294, 0.752, 0.565),
                   (0.189, 0.574, 0.717)],
    "aloha_backlog": [(0.785, 0.989, 0.028), (0.484, 0.904, 0.221), (0.432, 0.823, 0.241),
                      (0.408, 0.761, 0.247)],
    "backoff": [(0.651, 0.937, 0.074), (0.500, 0.688, 0.216), (0.430, 0.569, 0.305),
                (0.389, 0.494, 0.371)],
    "csma": [(0.813, 0.988, 0.010), (0.832, 0.960, 0.106), (0.784, 0.919, 0.168),
             (0.732, 0.870, 0.224)],
    "round_robin": [(0.820, 0.987, 0), (0.893, 0.991, 0), (0.908, 0.990, 0), (0.913, 0.986, 0)],
    "contention_free": [(0.782, 0.987, 0), (0.895, 0.967, 0), (0.911, 0.939, 0),
                        (0.914, 0.906, 0)],
    "contention_free_delayed": [(0.439, 0.991, 0), (0.647, 0.990, 0), (0.850, 0.991, 0),
                                (0.870, 0.973, 0)],
    "proportional_fair": [(0.819, 0.991, 0), (0.937, 0.995, 0), (0.952, 0.994, 0),
                          (0.955, 0.989, 0)],
    "longest_queue": [(0.825, 0.987, 0), (0.939, 0.950, 0), (0.953, 0.904, 0), (0.955, 0.857, 0)],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_table(name, n):
    """4,000 episodes; the dossier's tolerances 0.006 and, for Jain's index, 0.012."""
    found = scores(play(name, 4000, n))
    goodput, jain, collisions = REFERENCE[name][n - 2]
    assert found["goodput"] == pytest.approx(goodput, abs=0.006)
    assert found["jain"] == pytest.approx(jain, abs=0.012)
    assert found["collision_rate"] == pytest.approx(collisions, abs=0.006)


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_table_in_small(name):
    """300 episodes of three users: the standard error of goodput is below 0.006."""
    found = scores(play(name, 300, 3))
    goodput, jain, collisions = REFERENCE[name][1]
    assert found["goodput"] == pytest.approx(goodput, abs=0.02)
    assert found["jain"] == pytest.approx(jain, abs=0.03)
    assert found["collision_rate"] == pytest.approx(collisions, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_the_bound_is_reached_where_packets_leave_by_themselves(n, p):
    found = scores(play("goodput_bound", 4000, n, arrival_prob=p))["goodput"]
    assert found == pytest.approx(goodput_bound(n, p, 1e-3, 24), abs=0.005)


# ------------------------------------------------------------------------------------- behaviour


@cache
def best_play() -> Episodes:
    return play("goodput_bound", 64, 3, tbler=0.1)


@pytest.mark.parametrize("name", BASELINES)
def test_no_scheme_says_what_is_forbidden_loses_a_packet_or_beats_the_bound(name):
    """Per episode, not on average: all meet the same arrivals and erasures."""
    found = play(name, 64, 3, tbler=0.1, pag_level=2)
    bound = best_play()
    assert not found.sums["invalid"].any()
    assert not found.sums["lost"].any()
    assert (found.sums["delivered"] <= bound.sums["delivered"]).all()
    assert np.array_equal(found.sums["generated"], bound.sums["generated"])


@pytest.mark.parametrize(
    "name", ["aloha", "backoff", "round_robin", "contention_free", "proportional_fair"]
)
def test_schemes_go_on_while_users_come_and_go(name):
    entry = BASELINES[name]
    kwargs = {"preset": "birth_death", "p_join": 0.2, "p_leave": 0.2, **entry.env_kwargs}
    env = make_vector_env(SYSTEM, 16, max_episode_steps=50, **kwargs)
    found = rollout(env, entry.make(env.system), range(16))
    assert found.sums["joined"].sum() > 100
    assert not found.sums["invalid"].any()
    assert scores(found)["goodput"] > 0.2


@pytest.mark.parametrize("name", ["contention_free", "backoff"])
def test_layouts_and_forms_of_the_action_do_not_change_the_game(name):
    usual = play(name, 16, 4)
    for params in ({"joint": "dict"}, {"bs_action": "pointer"}, {"history": 2}):
        again = play(name, 16, 4, **params)
        assert np.array_equal(again.reward, usual.reward)


@pytest.mark.parametrize("rows", [1, 3])
def test_coins_are_the_rows_own_whatever_the_batch(rows):
    entry = BASELINES["aloha"]
    whole = play("aloha", 6, 4)
    env = make(rows, 4)
    parts = rollout(env, entry.make(env.system), range(FIRST_SEED, FIRST_SEED + 6))
    assert np.array_equal(whole.reward, parts.reward)


def test_one_side_alone_plays_against_a_partner():
    """The requests-and-grants scheme meets its own other half as the fixed partner."""
    whole = scores(play("contention_free", 300, 3))["goodput"]
    for role in ("leader", "follower"):
        found = scores(play("contention_free", 300, 3, role=role))["goodput"]
        assert found == pytest.approx(whole, abs=0.02)


def test_round_robin_is_fair_at_multiples_of_n():
    env = make(4, 3, 30, traffic="saturated", tbler=0.0, horizon_slots=30)
    found = rollout(env, RoundRobin(env.system, "turns"), range(4))
    assert scores(found)["jain"] == pytest.approx(1.0)
    assert scores(found)["goodput"] == 1.0


def test_a_genie_must_be_attached():
    env = make(2, 3)
    genie = LongestQueue(env.system, "genie")
    with pytest.raises(PolicyError, match="attach"):
        genie.predict(env.reset(seed=0)[0])


def test_schemes_refuse_other_systems():
    other = make_vector_env("sixgym.envs.ris_noma:RisNoma", 1, max_episode_steps=5)
    with pytest.raises(PolicyError, match="LlmMac"):
        BASELINES["aloha"].make(other.system)


def test_without_an_environment_coins_follow_the_calls():
    env = make(4, 5, traffic="saturated")
    observation, _ = env.reset(seed=0)
    policies = [Aloha(env.system, "a", 0.5) for _ in range(2)]
    first, second = (p.predict(observation)[0] for p in policies)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, policies[0].predict(observation)[0])


# --------------------------------------------------------------------------------- closed forms


def saturated(scheme: Any, n: int, rows: int, slots: int, **params: Any) -> float:
    """Goodput of a scheme with saturated users."""
    env = make(rows, n, slots, traffic="saturated", **params)
    return scores(rollout(env, scheme(env.system), range(rows)))["goodput"]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("n", "p", "auto_delete"),
    [
        (5, 0.2, False),
        (5, 0.5, True),
        pytest.param(2, 0.5, True, marks=SLOW),
        pytest.param(2, 0.5, False, marks=SLOW),
        pytest.param(3, 0.15, False, marks=SLOW),
        pytest.param(10, 0.1, False, marks=SLOW),
    ],
)
def test_aloha_delivers_its_closed_form(n, p, auto_delete):
    found = saturated(
        lambda s: Aloha(s, "aloha", p), n, 800, 60, tbler=0.05, auto_delete=auto_delete
    )
    assert found == pytest.approx(aloha(n, p, 0.05, auto_delete=auto_delete), abs=0.008)


@pytest.mark.parametrize(
    ("n", "auto_delete"),
    [
        (3, False),
        pytest.param(2, True, marks=SLOW),
        pytest.param(3, True, marks=SLOW),
        pytest.param(5, True, marks=SLOW),
        pytest.param(5, False, marks=SLOW),
    ],
)
def test_csma_delivers_its_closed_form(n, auto_delete):
    found = saturated(
        lambda s: CarrierSense(s, "csma", 8), n, 600, 60, tbler=0.0, auto_delete=auto_delete
    )
    assert found == pytest.approx(csma(n, 8, auto_delete=auto_delete), abs=0.008)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_scheduling_uses_every_slot_unless_there_is_one_user(n):
    """Without erasures it is exact, but for the first request, which takes a slot."""
    slots = 40
    for scheme, lost in ((RoundRobin, 0), (ContentionFree, 1), (LongestQueue, 0)):
        found = saturated(lambda s, k=scheme: k(s, "scheme"), n, 2, slots, tbler=0.0)
        assert found == pytest.approx(contention_free(n), abs=1e-9 + lost / slots)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 4])
def test_scheduling_with_erasures(n):
    """One user: 0.4737; more: 0.9."""
    for scheme in (RoundRobin, ContentionFree, LongestQueue):
        found = saturated(lambda s, k=scheme: k(s, "scheme"), n, 200, 400, tbler=0.1)
        assert found == pytest.approx(contention_free(n, 0.1), abs=0.006)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_delayed_messages_make_a_cycle_of_four_slots(n):
    slots = 80
    found = saturated(lambda s: ContentionFree(s, "cf"), n, 2, slots, tbler=0.0, timing="delayed")
    assert found == pytest.approx(contention_free(n, is_delayed=True), abs=4 / slots)


@pytest.mark.slow
@pytest.mark.parametrize(("window", "tolerance"), [(16, 0.01), (8, 0.03)])
@pytest.mark.parametrize("n", [2, 5, 10])
def test_backoff_delivers_bianchis_fixed_point(n, window, tolerance):
    found = saturated(
        lambda s: Backoff(s, "backoff", window, 5), n, 500, 1500, tbler=0.0, auto_delete=True
    )
    assert found == pytest.approx(backoff(n, window, 5)[1], rel=tolerance)


@pytest.mark.slow
def test_proportional_fairness_gives_equal_air_time():
    slots, users = 6000, 3
    env = make(64, users, slots, traffic="saturated", row_tbler=(0.0, 0.3, 0.6) + (0.0,) * 7)
    policy = ProportionalFair(env.system, "fair", 2000.0)
    policy.attach(env)
    observation, _ = env.reset(seed=0)
    memory, air = None, np.zeros(users)
    start = np.ones(64, dtype=bool)
    for slot in range(slots - 1):
        action, memory = policy.predict(observation, memory, start)
        start = np.zeros(64, dtype=bool)
        observation, *_ = env.step(action)
        if slot > 1000:
            air += (env.rows.state.a == TRANSMIT).sum(0).numpy()[:users]
    assert air / air.sum() == pytest.approx([1 / 3] * 3, abs=0.002)


# -------------------------------------------------------------- the theory's game is this game


def test_stages_of_the_exact_games_are_slots_of_the_environment():
    """Every state, message and joint action of two users: next state and all utilities agree."""
    params = LlmMacParams(
        n_max=2, population="fixed", num_users=2, mode="selfish", rho=1.0, tbler=0.0,
        arrival_prob=0.0, pag_level=1,
    )  # fmt: skip
    system, game = LlmMac(params, dtype=torch.float64), MultiSlot()
    cases = []
    for q in itertools.product(range(3), repeat=2):
        for d in itertools.product(*[(0, 1) if x else (0,) for x in q]):
            state = Buffers(q, d)
            cases += [(state, m, a) for m in game.messages(state) for a in game.actions(state)]
    rows = len(cases)
    seeds, steps = torch.arange(rows), torch.zeros(rows, dtype=torch.int64)
    first = system.start(system.start_draws.draw(seeds, steps))
    first = first._replace(
        q=torch.tensor([c[0].q for c in cases]), d=torch.tensor([c[0].d for c in cases])
    )
    moves = {
        BS: torch.tensor([c[1] for c in cases]).unsqueeze(1),
        UE: 2 * torch.tensor([c[2] for c in cases]),
    }
    new, step = system.play(first, moves, system.step_draws.draw(seeds, steps))
    for row, case in enumerate(cases):
        (branch,) = game.stage(*case)
        assert Buffers(tuple(new.q[row].tolist()), tuple(new.d[row].tolist())) == branch.after
        paid = [branch.leader, *branch.followers]
        assert step.reward[row].tolist() == pytest.approx(paid)


def test_the_one_slot_game_is_an_environment():
    """All messages and joint actions of three users: pay-offs of the tables, slot by slot."""
    game = OneSlot(3, kappa=4.0, grant_cost=0.2)
    cases = list(itertools.product(game.profiles, game.profiles))
    env = make_vector_env(SYSTEM, len(cases), joint="dict", **environment(game))
    env.reset(seed=0)
    said = {
        BS: np.stack([m for m, _ in cases])[:, None],
        UE: 2 * np.stack([a for _, a in cases]),
    }
    _, leader, terminated, truncated, info = env.step(said)
    assert truncated.all()
    assert not terminated.any()
    assert leader == pytest.approx(game.leader_payoff.ravel())
    paid = np.asarray(info["agent_reward"])[:, 1:]
    assert paid == pytest.approx(game.follower_payoff.reshape(3, -1).T)
    with pytest.raises(ValueError, match="allowed in the environment"):
        environment(OneSlot(fail_cost=2.0))
