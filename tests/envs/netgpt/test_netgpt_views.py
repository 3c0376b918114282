"""One world in three systems; observations; the vector reward."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from netgpt_cases import act, batch, play

import sixgym  # noqa: F401  (registers)
from sixgym.envs.core.make import make_env
from sixgym.envs.netgpt import NetGptBatch, NetGptRoute, NetGptThreshold

LEARNING = {"self_improve": True, "update_period": 5, "update_samples": 16, "learn_scale": 50.0}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mode": "pre"},
        LEARNING,
        {**LEARNING, "weighting": "variance", "anchor": False},
        {"preset": "surge", "obs_noise": 0.2, "explore_eps": 0.1},
        {"preset": "tou", "reward_mode": "expected", "num_requests": 7},
    ],
)
def test_three_systems_play_one_world(params: dict[str, Any]) -> None:
    """Under one threshold a slot earns the same, decided by threshold, by request and by set."""
    slots, rows, tau = 24, 6, 0.6
    threshold = batch("threshold", rows, info_level=1, **params)
    route = batch("route", rows, info_level=1, **params)
    joint = batch("batch", rows, info_level=1, share_uplink=False, **params)
    size = threshold.system.params.num_requests
    by_slot = play(threshold, tau, slots)
    by_set = play(joint, tau, slots)
    one_by_one = play(route, tau, slots * size)
    assert (by_set["score"] == by_slot["score"]).all()
    assert (by_set["sent"] == by_slot["sent"]).all()
    grouped = {
        name: one_by_one[name].reshape(slots, size, rows)
        for name in ("score", "sent", "utility", "U_edge_cf", "U_cloud_cf", "quality", "regime")
    }
    for name in ("score", "sent", "U_edge_cf", "U_cloud_cf"):
        assert grouped[name].transpose(0, 2, 1) == pytest.approx(by_slot[name], abs=1e-5), name
    for name in ("utility", "quality"):
        assert grouped[name].sum(1) == pytest.approx(by_slot[name], abs=1e-4), name
    assert (grouped["regime"] == by_slot["regime"][:, None]).all()
    for env in (route, joint):
        states = zip(env.rows.state.mind, threshold.rows.state.mind, strict=True)
        assert all(np.allclose(a, b, atol=1e-5) for a, b in states)
        assert env.rows.state.desk.agreed.tolist() == pytest.approx(
            threshold.rows.state.desk.agreed.tolist(), abs=1e-5
        )


def test_queue_of_a_slot_is_the_same_however_it_is_decided() -> None:
    """The backlog between slots; within a slot the later system does not know its load yet."""
    params: dict[str, Any] = {"preset": "pre_queue", "edge_rate": 0.9}
    threshold, route = batch("threshold", 4, **params), batch("route", 4, **params)
    play(threshold, 0.6, 8)
    play(route, 0.6, 8 * 16)
    backlog = threshold.rows.state.desk.backlog
    assert backlog.max() > 1
    assert route.rows.state.desk.backlog.tolist() == pytest.approx(backlog.tolist(), rel=1e-5)


def test_mm1_wait_of_one_request_a_time_is_by_the_slot_before() -> None:
    env = batch("route", 1, queue="mm1", size_model="deterministic", info_level=1)
    latency = play(env, 0.0, 32)["latency_each"][:, 0]
    assert latency[:16] == pytest.approx(0.89)
    assert latency[16:] == pytest.approx(0.89 + 0.64 / (2.5 * 0.36))


# ----------------------------------------------------------------------------------- observations


def test_rows_of_the_observation_are_those_of_the_page() -> None:
    env = batch(rows=5, info_level=1, dtype="float64", queue="fluid", edge_rate=1.0)
    play(env, 0.6, 3)
    state = env.rows.state
    seen = env.rows.observation().numpy()
    link, desk = state.link, state.desk
    r = [column.numpy() for column in state.requests.unbind(1)]
    score, valid, prompt, output, context = r[0], r[1], r[7], r[8], r[9]
    mbit = 8e-6 * (4 * (prompt + output) + context + 5000)
    price = (0.28 * prompt + 0.42 * output) / 1000
    expected = [
        np.log(link.bandwidth.numpy() / 10) / 3,
        np.log(link.rtt.numpy() / 0.1) / 2,
        np.zeros(5),
        price.mean(1),
        np.full(5, 0.5),
        desk.backlog / 10,
        score.mean(1),
        score.std(1),
        np.quantile(score, 0.25, axis=1),
        1 - valid.mean(1),
        np.log(mbit.mean(1) / 4) / 3,
        output.mean(1) / 100,
        np.zeros(5),
        np.zeros(5),
        desk.agreed,
        np.zeros(5),
    ]
    assert seen == pytest.approx(np.stack([np.asarray(e) for e in expected], 1), abs=1e-6)
    assert float(desk.backlog.min()) > 0


def test_learning_shows_in_its_rows() -> None:
    env = batch(rows=3, observe_kappa=True, **LEARNING)
    observation, _ = env.reset(seed=1)
    assert observation.shape == (3, 18)
    action = np.full((3, 1), 0.8, np.float32)
    seen = [observation, *(env.step(action)[0] for _ in range(12))]
    mind = env.rows.state.mind
    last = seen[-1]
    assert last[:, 12] == pytest.approx(mind.fresh.numpy() / 16)
    assert last[:, 13] == pytest.approx(np.log1p(mind.kept.numpy() / 50.0), rel=1e-5)
    assert last[:, 15] == pytest.approx(mind.since_refresh.numpy() / 100)
    assert last[:, 16] == pytest.approx(mind.kappa.numpy())
    assert last[:, 17] == pytest.approx(mind.kappa_rm.numpy())
    assert [s[0, 15] for s in seen[9:12]] == pytest.approx([0.09, 0.0, 0.01])


def test_agreement_is_the_average_over_slots_with_offloads() -> None:
    env = batch(rows=2, info_level=1)
    env.reset(seed=2)
    expected = np.zeros(2)
    for tau in (0.9, 0.0, 0.7, 0.5):
        seen, _, _, _, info = env.step(np.full((2, 1), tau, np.float32))
        both = (info["sent"] * info["edge_success_each"] * info["cloud_success_each"]).sum(1)
        sent = info["offload"]
        moved = 0.9 * expected + 0.1 * both / np.maximum(sent, 1)
        expected = np.where(sent > 0, moved, expected)
        assert seen[:, 14] == pytest.approx(expected, abs=1e-6)


def test_pre_mode_shows_no_draft() -> None:
    env = batch(rows=4, mode="pre")
    seen = [env.reset(seed=0)[0]] + [env.step(np.ones((4, 1), np.float32))[0] for _ in range(3)]
    for observation in seen:
        assert (observation[:, 9] == 0).all()
        assert observation[:, 11] == pytest.approx(0.6)
        assert (observation[:, 14] == 0).all()
    for kind in ("route", "batch"):
        first = batch(kind, rows=4, mode="pre").reset(seed=0)[0]
        each = first["requests"][:, 0] if kind == "batch" else first[:, 10:]
        assert (each[:, 1] == 1).all()
        assert each[:, 3] == pytest.approx(0.6)


def test_a_slot_without_requests_shows_and_pays_nothing() -> None:
    env = batch(rows=64, arrivals="poisson", num_requests=1, max_requests=3, info_level=1)
    seen, _ = env.reset(seed=0)
    nobody = seen[:, 4] == 0
    assert 10 < nobody.sum() < 40
    assert (seen[nobody][:, [3, 6, 7, 8, 9, 10, 11]] == 0).all()
    reward = env.step(np.ones((64, 1), np.float32))[1]
    assert (reward[nobody] == 0).all()
    assert (reward[~nobody] != 0).all()


def test_quantile_of_the_scores_counts_only_the_requests_that_there_are() -> None:
    env = batch(rows=64, arrivals="poisson", num_requests=4, max_requests=9)
    seen, _ = env.reset(seed=0)
    state = env.rows.state
    for i in range(64):
        count = int(state.desk.arrived[i])
        if count:
            score = state.requests[i, 0, :count].numpy()
            assert seen[i, 8] == pytest.approx(np.quantile(score, 0.25), abs=1e-6)
            assert seen[i, 7] == pytest.approx(score.std(), abs=1e-5)


def test_batch_shows_each_request_and_masks_the_surplus() -> None:
    env = batch("batch", rows=2, num_requests=3, max_requests=5)
    seen, _ = env.reset(seed=0)
    assert seen["mask"].tolist() == [[1, 1, 1, 0, 0]] * 2
    assert (seen["requests"][:, 3:] == 0).all()
    assert (seen["requests"][:, :3, 0] == env.rows.state.requests[:, 0].numpy()).all()
    first = np.array([[1, 0, 1, 0, 0]] * 2, np.int8)
    surplus = first + np.array([0, 0, 0, 1, 1], np.int8)
    before = env.state_dict()
    rewards = []
    for action in (first, surplus):
        env.load_state_dict(before)
        rewards.append(env.step(action)[1])
    assert (rewards[0] == rewards[1]).all()


def test_network_level_shows_the_first_four_rows() -> None:
    full, short = batch(rows=3), batch(rows=3, obs_level="network")
    a, b = full.reset(seed=7)[0], short.reset(seed=7)[0]
    assert b.shape == (3, 4)
    assert (a[:, :4] == b).all()


def test_a_score_that_equals_the_threshold_stays() -> None:
    env = batch(rows=1, info_level=1)
    env.reset(seed=0)
    score = env.rows.state.requests[0, 0].numpy()
    info = env.step(np.array([[np.sort(score)[8]]], np.float32))[4]
    assert info["offload"][0] == 8


# ----------------------------------------------------------------------------------- vector reward


@pytest.mark.parametrize("system", [NetGptThreshold, NetGptRoute, NetGptBatch])
def test_vector_reward_is_handed_out_by_the_single_environment_only(system: Any) -> None:
    env = make_env(system, reward_mode="vector")
    scalar = make_env(system, num_requests=16)
    rows = batch(system.__name__.removeprefix("NetGpt").lower(), rows=1, reward_mode="vector")
    for made in (env, scalar, rows):
        made.reset(seed=3)
    env.action_space.seed(0)
    for _ in range(5):
        action = env.action_space.sample()
        _, reward, _, _, info = env.step(action)
        expected = scalar.step(action)[1]
        batched = rows.step(np.asarray(action)[None])[1]
        assert isinstance(reward, np.ndarray)
        assert reward.shape == (4,)
        assert reward.dtype == np.float32
        assert env.reward_space.contains(reward)
        quality, latency, price, _ = reward
        assert quality + 0.08 * latency + 0.4 * price == pytest.approx(expected, abs=1e-5)
        assert batched[0] == pytest.approx(expected, abs=1e-5)
        means = [info[n] / info["requests"] for n in ("quality", "latency", "price", "schema_ok")]
        signs = np.array([1, -1, -1, 1])
        assert reward == pytest.approx(signs * np.array(means), abs=1e-5)


def test_mo_gymnasium_takes_the_vector_reward() -> None:
    mo = pytest.importorskip("mo_gymnasium")
    env = mo.make("sixgym/NetGptThreshold-v0", reward_mode="vector", disable_env_checker=True)
    assert env.unwrapped.reward_space.shape == (4,)
    weight = np.array([1.0, 0.08, 0.4, 0.0])
    linear = mo.wrappers.LinearReward(env, weight)
    plain = gym.make("sixgym/NetGptThreshold-v0")
    linear.reset(seed=1)
    plain.reset(seed=1)
    action = np.array([0.5], np.float32)
    reward, info = linear.step(action)[1::3]
    assert reward == pytest.approx(plain.step(action)[1], abs=1e-5)
    assert info["vector_reward"].shape == (4,)


def test_scores_are_ratios_of_sums_with_utility_first() -> None:
    scores = NetGptThreshold.scores
    assert scores[0].name == "utility"
    assert (scores[0].numerator, scores[0].denominator) == ("utility", "requests")
    env = batch("threshold", 2)
    observation, _ = env.reset(seed=0)
    info = env.step(act(env, observation, 0.5))[4]
    assert {s.numerator for s in scores} - {"reward"} <= set(info)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["threshold", "route", "batch"])
def test_compiled_learning_agrees_with_eager(kind: str) -> None:
    eager, fused = (batch(kind, 32, compile=c, **LEARNING) for c in (False, True))
    a, b = play(eager, 0.6, 40), play(fused, 0.6, 40)
    assert (a["offload"] == b["offload"]).mean() > 0.99
    assert a["utility"].sum() == pytest.approx(b["utility"].sum(), rel=1e-3)
