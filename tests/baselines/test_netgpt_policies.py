"""The baselines at play: what they earn is what the theory says, and no more than the bounds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from sixgym.baselines.netgpt import BASELINES, batch, route
from sixgym.baselines.netgpt.joint import by_score, gains
from sixgym.baselines.netgpt.law import GATE
from sixgym.baselines.netgpt.rules import DUAL_STEP, Exact, Farsighted
from sixgym.baselines.netgpt.targets import counterfactuals, threshold_targets
from sixgym.baselines.netgpt.view import View, truth_of
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.make import make_system, make_vector_env
from sixgym.envs.core.rollout import Episodes, rollout
from sixgym.envs.core.worlds import row_seed

TABLES = {"Threshold": BASELINES, "Route": route.BASELINES, "Batch": batch.BASELINES}
SYSTEM = {f"sixgym/NetGpt{name}-v0": f"sixgym.envs.netgpt:NetGpt{name}" for name in TABLES}
SEEDS = [row_seed("tuning", 3) + k for k in range(192)]
SLOTS = 40
PLAIN: dict[str, Any] = {"network": "markov", "size_model": "deterministic"}


def make(name: str, which: str, rows: int, steps: int, **params: Any) -> tuple[Any, Any]:
    """The environment that a baseline acts in, and the baseline."""
    entry = TABLES[which][name]
    home = entry.env_id or f"sixgym/NetGpt{which}-v0"
    kwargs = {**params, **entry.env_kwargs}
    env = make_vector_env(SYSTEM[home], rows, max_episode_steps=steps, **kwargs)
    return env, entry.make(env.system)


def play(
    name: str,
    which: str = "Threshold",
    seeds: list[int] = SEEDS,
    steps: int = SLOTS,
    **params: Any,
) -> Episodes:
    env, policy = make(name, which, len(seeds), steps, **params)
    return rollout(env, policy, seeds)


@cache
def played(name: str) -> Episodes:
    return play(name, **PLAIN)


def mean(episodes: Episodes, metric: str) -> float:
    return float(episodes.sums[metric].sum() / episodes.sums["requests"].sum())


# -------------------------------------------------------------------- against the exact values


@pytest.mark.parametrize(
    ("name", "offload", "quality", "utility"),
    [
        ("all_edge", 0.0, 0.66834, 0.59514),
        ("all_cloud", 1.0, 0.94525, 0.53078),
        ("all_cloud_direct", 1.0, 0.94525, 0.60398),
        ("random_matched", 0.35334, 0.76618, 0.57239),
        ("best_fixed", 0.34094, 0.87393, 0.68437),
        ("exact", 0.35334, 0.87161, 0.69153),
        ("oracle_prob", 0.35388, 0.88313, 0.70121),
        ("oracle_outcome", 0.31351, 0.98184, 0.80165),
    ],
)
def test_what_is_earned(name: str, offload: float, quality: float, utility: float) -> None:
    """Table of dossier 7, within four standard errors of the episodes' means."""
    episodes = played(name)
    for metric, told in (("offload", offload), ("quality", quality), ("utility", utility)):
        each = episodes.sums[metric] / episodes.sums["requests"]
        error = each.std() / np.sqrt(len(each))
        assert each.mean() == pytest.approx(told, abs=4 * error + 1e-5)


def test_the_order_of_policies_on_common_seeds() -> None:
    """Check 14."""
    order = ["oracle_outcome", "oracle_prob", "exact", "best_fixed"]
    values = [mean(played(name), "utility") for name in order]
    assert values == sorted(values, reverse=True)
    edge, cloud = mean(played("all_edge"), "utility"), mean(played("all_cloud"), "utility")
    assert values[-1] > max(edge, cloud)


def test_dynamic_beats_fixed_and_static_routers() -> None:
    """Claims C3 and C5, paired by seed; 95 % intervals above 0."""
    ours = played("func_dyn").reward
    for name in ("best_fixed", "route_llm", "frugal_gpt", "hybrid_llm"):
        gain = ours - played(name).reward
        assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))


@pytest.mark.parametrize("name", [n for n in BASELINES if n not in ("oracle_learnt", "exact_dp")])
def test_every_baseline_plays_the_same_world(name: str) -> None:
    ours, usual = played(name), played("all_edge")
    for world in ("requests", "edge_valid", "edge_success"):
        assert np.array_equal(ours.sums[world], usual.sums[world])


@pytest.mark.parametrize("name", ["schema_only", "exact", "exact_cut", "random_matched"])
def test_a_row_does_not_know_its_batch(name: str) -> None:
    one = play(name, seeds=[SEEDS[7]], **PLAIN)
    assert one.sums["offload"][0] == played(name).sums["offload"][7]


def test_only_invalid_drafts_are_sent() -> None:
    sums = played("schema_only").sums
    assert np.array_equal(sums["offload"], sums["requests"] - sums["edge_valid"])


def test_nobody_beats_the_bounds() -> None:
    """With random sizes too: the cut beats the slot's threshold, a choice by request the cut."""
    kwargs: dict[str, Any] = {"reward_mode": "expected"}
    names = ("oracle_prob", "exact_per_req", "exact_cut", "exact", "func_dyn", "best_fixed")
    values = [play(name, **kwargs).reward.mean() for name in names]
    assert values == sorted(values, reverse=True)
    assert play("oracle_outcome", **kwargs).reward.mean() == values[0]


# --------------------------------------------------------------------------- one rule, three views


@pytest.mark.parametrize("name", ["exact", "func_dyn", "schema_only", "all_cloud", "budget_dual"])
def test_a_threshold_is_the_same_rule_in_all_three(name: str) -> None:
    """Check 26, with an uplink for each request."""
    seeds, slots = SEEDS[:8], 6
    threshold = play(name, "Threshold", seeds, slots, **PLAIN)
    joint = play(name, "Batch", seeds, slots, share_uplink=False, **PLAIN)
    single = play(name, "Route", seeds, slots * 16, **PLAIN)
    for metric in ("offload", "quality", "utility"):
        assert joint.sums[metric] == pytest.approx(threshold.sums[metric], rel=1e-5)
        assert single.sums[metric] == pytest.approx(threshold.sums[metric], rel=1e-5)


@pytest.mark.parametrize("which", ["Route", "Batch"])
def test_the_other_tables_play(which: str) -> None:
    """All of them, briefly; the exact one above what only sees the observation."""
    steps = {"Route": 64, "Batch": 6}[which]
    kwargs: dict[str, Any] = {"reward_mode": "expected"}
    values = {
        name: play(name, which, SEEDS[:64], steps, **kwargs).reward.mean()
        for name in TABLES[which]
        if name != "oracle_learnt"
    }
    exact = values["exact_batch" if which == "Batch" else "exact_per_req"]
    seen = [v for n, v in values.items() if TABLES[which][n].sees == "observation"]
    assert max(seen) < exact < values["oracle_prob"]


# -------------------------------------------------------------------------------- brute force


@pytest.mark.parametrize(
    ("name", "reward"), [("oracle_prob", "expected"), ("oracle_outcome", "sampled")]
)
def test_the_best_set_is_that_of_all_sets_played(name: str, reward: str) -> None:
    """Check 16 in the environment itself: all 2^8 joint actions of one slot, 5 worlds."""
    for seed in SEEDS[:5]:
        kwargs: dict[str, Any] = {"num_requests": 8, "max_requests": 8, "reward_mode": reward}
        env, policy = make(name, "Batch", 256, 2, **kwargs)
        policy.attach(env)
        observation, _ = env.reset(seed=[seed] * 256)
        chosen, _ = policy.predict(observation)
        every = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.int8)
        _, paid, *_ = env.step(every)
        ours = int((every == chosen[0]).all(1).argmax())
        assert paid[ours] == pytest.approx(paid.max(), abs=1e-6)


def test_exact_choices_by_score_are_those_of_brute_force() -> None:
    env, policy = make("exact_batch", "Batch", 40, 2, num_requests=9)
    policy.attach(env)
    observation, _ = env.reset(seed=1)
    chosen = policy.predict(observation)[0][:, :9].astype(bool)
    gain, load = gains(policy.view, policy.view.truth(), by_score)
    sets = (np.arange(2**9)[:, None] >> np.arange(9)) & 1 == 1
    for k in range(40):
        value = [gain[k][s].sum() - s.sum() * load[k][s].sum() for s in sets]
        mine = gain[k][chosen[k]].sum() - chosen[k].sum() * load[k][chosen[k]].sum()
        assert mine == pytest.approx(max(value), abs=1e-9)


@pytest.mark.parametrize("shares", [False, True])
def test_the_best_cut_is_that_of_all_cuts(shares: bool) -> None:
    env, policy = make("exact_cut", "Threshold", 64, 2, share_uplink=shares)
    policy.attach(env)
    observation, _ = env.reset(seed=2)
    tau = policy.predict(observation)[0][:, 0]
    truth = policy.view.truth()
    gain, load = gains(policy.view, truth, by_score)
    score = truth.requests.score

    def value(k: int, t: float) -> float:
        sent = score[k].astype(np.float32) < np.float32(t)
        return float(gain[k][sent].sum() - sent.sum() * load[k][sent].sum())

    for k in range(64):
        cuts = [0.0, GATE, 1.0, *np.nextafter(score[k].astype(np.float32), np.float32(1))]
        assert value(k, tau[k]) == pytest.approx(max(value(k, c) for c in cuts), abs=1e-9)


def test_the_cut_of_equal_sizes_is_the_exact_threshold() -> None:
    assert np.array_equal(played("exact_cut").sums["offload"], played("exact").sums["offload"])


# ------------------------------------------------------------------------------------ learning


def learning(name: str, rows: int = 64, **params: Any) -> Episodes:
    seeds = SEEDS[:rows]
    return play(name, "Threshold", seeds, 400, self_improve=True, **PLAIN, **params)


@pytest.mark.slow
def test_investing_beats_the_myopic_threshold_where_the_edge_learns() -> None:
    """(22): dynamic programming over the exact slot optimum, paired, intervals apart."""
    far = learning("exact_dp", reward_mode="expected").reward
    near = learning("exact", reward_mode="expected").reward
    gain = (far - near) / 400
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))
    assert gain.mean() == pytest.approx(0.0014, abs=5e-4)


def test_the_premium_is_paid_early_and_only_where_something_is_learnt() -> None:
    env, policy = make("exact_dp", "Threshold", 16, 400, self_improve=True, **PLAIN)
    assert isinstance(policy, Farsighted)
    env.reset(seed=0)
    truth = truth_of(env.rows.state)
    myopic = Exact(env.system, "exact").of_truth(truth)
    assert (policy.of_truth(truth) > myopic + 0.01).all()
    late = truth._replace(mind=truth.mind._replace(samples=truth.mind.samples + 60_000.0))
    assert policy.of_truth(late) == pytest.approx(myopic, abs=1e-12)
    idle = make("exact_dp", "Threshold", 1, 4, **PLAIN)[1]
    assert idle.of_truth(truth) == pytest.approx(myopic, abs=1e-4)


def test_a_stale_router_believes_its_scorer() -> None:
    env, policy = make("exact_stale", "Threshold", 4, 400, self_improve=True, **PLAIN)
    env.reset(seed=0)
    truth = truth_of(env.rows.state)
    better = truth._replace(mind=truth.mind._replace(kappa=truth.mind.kappa + 0.1))
    knows = Exact(env.system, "exact")
    assert policy.of_truth(better) == pytest.approx(policy.of_truth(truth))
    assert (knows.of_truth(better) < knows.of_truth(truth)).all()


# ---------------------------------------------------------------------------------- the budget


def test_the_multiplier_keeps_the_budget_in_the_long_run() -> None:
    """In the fluid limit; it takes about a thousand slots at the step of .05."""
    _, policy = make("budget_dual", "Threshold", 1, 4, **PLAIN)
    design, mult = policy.design, 1.0
    law = design.law
    table = law.rates(law.threshold(design.omega, np.linspace(0, 6, 601)[:, None])).offload
    spent = table @ (design.omega * design.mix.chance)
    costs = []
    for _ in range(3000):
        costs.append(float(np.interp(mult, np.linspace(0, 6, 601), spent)))
        mult = max(mult + DUAL_STEP * (costs[-1] - policy.budget), 0.0)
    assert costs[0] == pytest.approx(0.1069, abs=1e-4)
    assert costs[200] > policy.budget + 0.01
    assert costs[-1] == pytest.approx(policy.budget, abs=1e-4)


def test_the_multiplier_moves_by_the_overspending_of_the_slot() -> None:
    env, policy = make("budget_dual", "Threshold", 8, 10, **PLAIN)
    policy.attach(env)
    observation, _ = env.reset(seed=0)
    start = np.ones(8, bool)
    action, memory = policy.predict(observation, None, start)
    assert memory[:, 0] == pytest.approx(1.0)
    observation, _, _, _, info = env.step(action)
    _, after = policy.predict(observation, memory, ~start)
    assert after[:, 0] == pytest.approx(1.0 + 0.05 * (info["cost"] / 16 - 0.08), abs=1e-6)
    _, again = policy.predict(observation, after, start)
    assert again[:, 0] == pytest.approx(1.0)


# ------------------------------------------------------------------------------ targets, faults


def test_targets_are_the_exact_thresholds() -> None:
    env, policy = make("exact", "Threshold", 32, 4)
    policy.attach(env)
    observation, _ = env.reset(seed=5)
    targets = threshold_targets(env.system, env.rows.state)
    assert policy.predict(observation)[0][:, 0] == pytest.approx(targets, abs=1e-6)
    stale = threshold_targets(env.system, env.rows.state, is_stale=True)
    assert stale == pytest.approx(targets)


def test_counterfactuals_are_what_the_environment_pays() -> None:
    """Keeping and offloading everything, expected rewards, schema weight on."""
    kwargs: dict[str, Any] = {"reward_mode": "expected", "w_schema": 0.3}
    for name, side in (("all_edge", "keep"), ("all_cloud", "offload")):
        env, policy = make(name, "Threshold", 16, 4, **kwargs)
        observation, _ = env.reset(seed=6)
        told = getattr(counterfactuals(env.system, env.rows.state), side)
        _, paid, *_ = env.step(policy.predict(observation)[0])
        assert paid == pytest.approx(told.mean(1), abs=1e-6)


@pytest.mark.parametrize(
    "params",
    [
        {"score_noise": 0.0, "size_model": "deterministic"},
        {"score_model": "difficulty"},
        {"arrivals": "poisson", "num_requests": 1},
        {"network": "trace", "trace_bandwidth_mbps": (2.0, 30.0), "trace_rtt_s": (0.1, 0.05)},
        {"pricing": "surge", "mode": "pre", "queue": "fluid"},
        {"schema_gate": False, "w_schema": 0.2, "w_sla": 0.1},
        {"self_improve": True, "update_period": 2, "update_samples": 1},
    ],
)
@pytest.mark.parametrize("name", ["exact", "exact_dp", "exact_cut", "exact_per_req", "func_dyn"])
def test_variants_of_the_system_are_played(name: str, params: dict[str, Any]) -> None:
    episodes = play(name, seeds=SEEDS[:4], steps=8, **params)
    assert np.isfinite(episodes.reward).all()


def test_every_baseline_is_described() -> None:
    for which, baselines in TABLES.items():
        assert [b.name for b in baselines.values() if b.kind == "reference"] == ["exact"], which
        for name, entry in baselines.items():
            assert entry.name == name
            assert entry.description.endswith(".")
            assert entry.kind != "bound" or entry.sees == "oracle"


def test_who_sees_the_state_must_be_attached() -> None:
    system = make_system("sixgym.envs.netgpt:NetGptThreshold")
    with pytest.raises(PolicyError, match="call attach"):
        BASELINES["exact"].make(system).predict(np.zeros((1, 16), np.float32))
    with pytest.raises(PolicyError, match="allowed: a NetGPT system"):
        View(make_system("sixgym.envs.ris_noma:RisNoma"))


def test_random_offloads_at_its_share() -> None:
    """By the slot where a threshold is set, by the request elsewhere."""
    env, policy = make("random_matched", "Batch", 64, 20, **PLAIN)
    share = rollout(env, policy, SEEDS[:64]).sums["offload"] / 320
    assert share.std() < 0.04
    assert share.mean() == pytest.approx(policy.share, abs=0.01)
