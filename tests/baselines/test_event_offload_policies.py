"""The policies of the slot system: what they do is what their description says."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from sixgym.baselines.event_offload.adaptive import (
    BeliefPrice,
    OnlineLookup,
    informed_problem,
)
from sixgym.baselines.event_offload.average import solve_average
from sixgym.baselines.event_offload.design import Design, design_of, served_share
from sixgym.baselines.event_offload.penalty_table import penalty_pairs
from sixgym.baselines.event_offload.single import BASELINES, average_plan
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.rollout import Episodes, rollout
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.event_offload.lookup import LookupTable
from sixgym.envs.event_offload.params import EventOffloadParams

SYSTEM = "sixgym.envs.event_offload.system:EventOffload"
SEEDS = list(range(500, 508))
SLOTS = 20
FULL_PASS_J = 20 * 299.49e6 * 20e-12
"""Twenty events through the whole network."""
SLOW_TO_MAKE = {"ippp"}


def make(name: str, rows: int = 8, slots: int = SLOTS, **params: Any) -> tuple[Any, Any]:
    """The environment that a baseline acts in, and the baseline."""
    entry = BASELINES[name]
    kwargs = {"max_episode_steps": slots, "horizon_slots": slots, **params, **entry.env_kwargs}
    env = make_vector_env(SYSTEM, rows, **kwargs)
    return env, entry.make(env.system)


def play(name: str, seeds: list[int] = SEEDS, slots: int = SLOTS, **params: Any) -> Episodes:
    env, policy = make(name, len(seeds), slots, **params)
    return rollout(env, policy, seeds)


@cache
def played(name: str) -> Episodes:
    return play(name)


FAST = [name for name in BASELINES if name not in SLOW_TO_MAKE]


def mean(episodes: Episodes, name: str) -> float:
    return float(episodes.sums[name].sum() / episodes.length.sum())


@pytest.mark.parametrize("name", FAST)
def test_every_baseline_plays_the_same_world(name: str) -> None:
    """Labels and channel do not depend on actions, nor on what a baseline replaces."""
    ours, usual = played(name), played("lookup")
    whole = ours.length == SLOTS
    assert whole.mean() > 0.5
    for world in ("outage", "tails_due"):
        assert np.array_equal(ours.sums[world][whole], usual.sums[world][whole])


def test_every_baseline_is_described() -> None:
    assert next(b.name for b in BASELINES.values() if b.kind == "reference") == "lookup"
    for name, entry in BASELINES.items():
        assert entry.name == name
        assert entry.description.endswith(".")
        assert (entry.kind == "bound") == (entry.sees == "oracle")


def test_lookup_reads_the_table_of_the_true_snr() -> None:
    env, policy = make("lookup", 256)
    observation, _ = env.reset(seed=3)
    design = design_of(env.system)
    table = LookupTable.build(design.table.at(0.1), design.params)
    wanted = table.pair(env.rows.state.snr.numpy())
    actions, _ = policy.predict(observation)
    assert np.array_equal(actions, wanted)
    in_outage = observation[:, 1] == 0
    assert in_outage.any()
    assert (actions[in_outage] == 1).all()


@pytest.mark.parametrize("name", ["lookup", "online", "single_threshold", "genie"])
def test_tables_over_snr_keep_the_budget_of_every_slot(name: str) -> None:
    assert played(name).sums["over_budget"].sum() == 0


def test_families_are_what_they_are_called() -> None:
    for name, check in (
        ("single_threshold", lambda low, high: np.allclose(low + high, 1.0, atol=1e-6)),
        ("single_upper", lambda low, high: (low == 0).all()),
    ):
        env, policy = make(name, 64, budget_j=10e-3)
        observation, _ = env.reset(seed=0)
        actions, _ = policy.predict(observation)
        used = actions[(actions != 1).any(1)]
        assert len(used) > 20
        assert check(used[:, 0], used[:, 1])


def test_simple_schemes_spend_what_they_say() -> None:
    """No offload: exit 1 only. Terminal and always local: the whole network. Always offload: radio
    only. Dossier section 5."""
    none = played("no_offload")
    assert none.sums["n_off"].sum() == 0
    assert mean(none, "energy_j") == pytest.approx(20 * 75.82e6 * 20e-12, rel=1e-4)
    for name in ("terminal", "always_local"):
        assert mean(played(name), "energy_local_j") == pytest.approx(FULL_PASS_J, rel=1e-4)
    local = played("always_local")
    assert local.sums["n_off"].sum() == local.sums["energy_tx_j"].sum() == 0
    found, named = local.sums["tp"].sum(), local.sums["tp_correct"].sum()
    assert found > 200
    assert abs(named / found - 0.5) < 4 * 0.5 / np.sqrt(found)  # one of K = 2 by chance
    everything = played("always_offload")
    assert everything.sums["energy_local_j"].sum() == 0
    assert mean(everything, "n_off") + mean(everything, "dropped") == pytest.approx(20)


def test_offloading_everything_reaches_the_servers_accuracy() -> None:
    """Dossier 9.13, at 30 dB where every event fits, in the mode of expectations."""
    episodes = play("always_offload", expected=True, mean_snr_db=30.0)
    pool = Design(EventOffloadParams.create()).pool
    part = pool.part("calib")
    accuracy = pool.ok()[part & pool.tail].mean()
    found = episodes.sums["tp_correct"].sum() / episodes.sums["tails_due"].sum()
    assert found == pytest.approx(accuracy, abs=0.01)


def test_the_genie_sends_the_right_tails_only_and_nobody_finds_more() -> None:
    right = play("genie", budget_mode="average")
    assert np.array_equal(right.sums["n_off"], right.sums["tp_correct"])
    assert right.sums["energy_local_j"].sum() == 0
    best = played("genie").reward.sum()
    for name in FAST:
        assert played(name).reward.sum() <= best


@pytest.mark.parametrize("name", ["random_offload", "lagrangian_lp", "genie", "lookup"])
def test_a_row_does_not_know_its_batch(name: str) -> None:
    whole, one = played(name), play(name, [SEEDS[5]])
    assert whole.reward[5] == one.reward[0]
    assert whole.sums["energy_j"][5] == pytest.approx(one.sums["energy_j"][0])


def test_random_offload_meets_the_budget_by_its_coin() -> None:
    """At 10 dB and 5 mJ: kappa c_1 + p E_off = xi; in outage it spends less."""
    episodes = play("random_offload", list(range(64)))
    assert mean(episodes, "cost") == pytest.approx(0.95, abs=0.06)


@pytest.mark.parametrize("prevalence", [0.1, 0.2])
def test_the_average_plan_is_what_is_earned(prevalence: float) -> None:
    """In the mode of expectations the reward of lagrangian_lp is its plan's, and it spends xi."""
    env, policy = make("lagrangian_lp", 128, 60, expected=True, prevalence=prevalence)
    plan = average_plan(design_of(env.system))
    episodes = rollout(env, policy, list(range(128)))
    rate = episodes.reward / 60
    error = rate.std() / np.sqrt(len(rate))
    assert abs(rate.mean() - plan.value) < 4 * error + 0.002
    assert plan.energy == pytest.approx(5e-3)
    assert mean(episodes, "cost") == pytest.approx(1.0, abs=0.02)
    slot = play("lookup", list(range(128)), 60, expected=True, prevalence=prevalence)
    assert slot.reward.sum() < episodes.reward.sum()


def test_the_battery_lasts_and_earns_more_than_the_table() -> None:
    """Mean of 64 batteries: more than lookup with a battery, within a thousandth of empty."""
    seeds = list(range(64))
    planned = play("battery_dp", seeds, 100)
    table = play("lookup", seeds, 100, budget_mode="battery")
    assert planned.reward.mean() > table.reward.mean()
    assert (planned.length >= 99).mean() > 0.9
    assert mean(planned, "cost") == pytest.approx(1.0, abs=0.01)


def test_served_shares_are_those_of_a_binomial() -> None:
    """Two events of 1/2 each with room for one: E min(X, 1) = 3/4 of a mean of 1."""
    assert served_share(np.array([0.5]), 1, 2) == pytest.approx(0.75)
    assert served_share(np.array([0.5, 1.0]), 0, 2).tolist() == [0, 0]
    assert served_share(np.array([0.3]), 2, 2).tolist() == [1]
    rng = np.random.default_rng(0)
    drawn = rng.binomial(20, 0.3, 200_000)
    expected = np.minimum(drawn, 5).mean() / 6
    assert served_share(np.array([0.3]), 5, 20)[0] == pytest.approx(expected, abs=2e-3)


# ----------------------------------------------------------------------------------- bursts


def bursty(name: str, rows: int) -> tuple[SixgymVectorEnv, Any]:
    env, policy = make(name, rows, 60, labels="bursty", budget_mode="battery")
    return env, policy


def test_the_belief_knows_bursts_from_calm() -> None:
    """Beliefs are probabilities, and calibrated: where it says q, bursts occur about q of times."""
    env, policy = bursty("belief_price", 128)
    assert isinstance(policy, BeliefPrice)
    observation, _ = env.reset(seed=0)
    memory, start = None, np.ones(128, bool)
    beliefs, truths = [], []
    for _ in range(40):
        action, memory = policy.predict(observation, memory, start)
        beliefs.append(memory[:, 0])
        truths.append(env.rows.state.in_burst.numpy() > 0.5)
        observation, _, terminated, truncated, _ = env.step(action)
        start = terminated | truncated
    belief, truth = np.concatenate(beliefs[5:]), np.concatenate(truths[5:])
    assert belief[truth].mean() - belief[~truth].mean() > 0.4
    assert 0.05 <= belief.min() <= belief.max() <= 0.9  # the chain may always turn
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.8), (0.8, 0.9)):
        part = (belief >= low) & (belief <= high)
        assert part.sum() > 100
        assert truth[part].mean() == pytest.approx(belief[part].mean(), abs=0.1)


def test_the_belief_begins_again_with_an_episode() -> None:
    env, policy = bursty("belief_price", 4)
    observation, _ = env.reset(seed=0)
    memory = np.tile([0.99, 0.5, 0.9, 0.1], (4, 1))
    _, after = policy.predict(observation, memory, np.array([True, False, True, False]))
    assert after[[0, 2], 0] == pytest.approx(1 / 3)
    assert (np.abs(after[[1, 3], 0] - 1 / 3) > 0.01).all()


def test_following_bursts_pays() -> None:
    """With a battery and bursts: belief_price over battery_dp over lookup, paired by episode."""
    seeds = list(range(96))
    kwargs: dict[str, Any] = {"labels": "bursty", "budget_mode": "battery"}
    runs = {
        name: play(name, seeds, 100, **kwargs).reward
        for name in ("lookup", "battery_dp", "belief_price")
    }
    for worse, better in (("lookup", "battery_dp"), ("battery_dp", "belief_price")):
        gain = runs[better] - runs[worse]
        assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))
    design = Design(EventOffloadParams.create("bursty_battery"))
    bound = solve_average(*informed_problem(design), design.budget_j).value
    best = runs["belief_price"] / 100
    assert best.mean() < bound + 2 * best.std() / np.sqrt(len(best))
    assert bound > 1.03 * average_plan(design).value


def test_online_estimates_return_to_the_truth() -> None:
    """With constant labels the estimate stays near pi, so that it acts much as lookup does."""
    assert isinstance(make("online")[1], OnlineLookup)
    lookup, online = played("lookup"), played("online")
    assert online.reward.sum() == pytest.approx(lookup.reward.sum(), rel=0.05)


# ------------------------------------------------------------------------------- penalty method


def test_the_penalty_tables_pairs_are_feasible_and_nearly_best() -> None:
    """Every cell's pair keeps its budget; from 10 dB on within .02 of the exact table."""
    design = Design(EventOffloadParams.create())
    pairs = penalty_pairs(design, step=36)
    cells = design.cells
    exact = design.per_cell(design.points)
    table = design.table

    def at(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = table.nearest(which[:, 0]), table.nearest(which[:, 1])
        share, mac = table.p_off(0.1)[low, high], table.mac(0.1)[low, high]
        return table.acc[low, high], 20e-12 * mac + share * cells.worst_j

    value, energy = at(pairs)
    best, _ = at(exact)
    assert (energy <= 5e-3 * (1 + 1e-12)).all()
    assert (value <= best + 1e-12).all()
    solved = np.arange(0, len(pairs), 36)
    strong = solved[cells.edge_db[solved] >= 10.0]
    assert len(strong) > 0
    assert (best[strong] - value[strong] < 0.02).all()


def test_a_policy_of_another_system_is_refused() -> None:
    env = make_vector_env("sixgym.envs.ris_noma:RisNoma", 1)
    with pytest.raises(PolicyError, match="allowed: an event-offloading system"):
        BASELINES["lookup"].make(env.system)
