"""Requests: laws of difficulty, sizes, scores and outcomes; potential outcomes before actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from netgpt_cases import batch
from numpy.typing import NDArray
from scipy import special, stats

from sixgym.envs.netgpt.requests import Requests, difficulty_quantile, split_requests

ROWS = 2048


def made(rows: int = ROWS, kind: str = "threshold", **kwargs: Any) -> dict[str, NDArray[Any]]:
    """The requests of slot 0 by column, flat."""
    env = batch(kind, rows=rows, **kwargs)
    env.reset(seed=0)
    columns = split_requests(env.rows.state.requests)
    return {name: column.double().numpy() for name, column in columns._asdict().items()}


@pytest.mark.parametrize("shape", [(2.0, 3.0), (1.0, 1.0), (1.0, 4.5), (20.0, 2.0)])
def test_difficulty_has_the_beta_law(shape: tuple[float, float]) -> None:
    levels = np.linspace(0, 1, 4096)
    assert difficulty_quantile(*shape) == pytest.approx(
        special.betaincinv(*shape, levels), abs=1e-6
    )


def test_difficulty_of_the_defaults_has_the_polynomial_law() -> None:
    d = made()["difficulty"].ravel()
    law = stats.kstest(d, lambda x: 6 * x**2 - 8 * x**3 + 3 * x**4)
    assert law.pvalue > 1e-3
    assert d.mean() == pytest.approx(0.4, abs=3 * 0.2 / np.sqrt(d.size))


def test_sizes_are_lognormal_within_their_clips() -> None:
    r = made()
    for name, mean, cv, most in (
        ("prompt", 900, 0.4, 8192),
        ("output", 60, 0.4, 512),
        ("context", 512_000, 0.8, 16e6),
    ):
        size = r[name].ravel()
        error = cv * mean / np.sqrt(size.size)
        assert abs(size.mean() - mean) < 4 * error
        log = np.log(size)
        assert log.std() == pytest.approx(np.sqrt(np.log1p(cv**2)), rel=0.02)
        assert stats.kstest((log - log.mean()) / log.std(), "norm").pvalue > 1e-4
        assert size.max() <= most
    assert abs(np.corrcoef(r["prompt"].ravel(), r["difficulty"].ravel())[0, 1]) < 0.03


def test_sizes_can_go_with_difficulty() -> None:
    r = made(size_difficulty_corr=0.6)
    normal = special.ndtri(special.betainc(2, 3, r["difficulty"].ravel()))
    for name in ("prompt", "output", "context"):
        assert np.corrcoef(normal, np.log(r[name].ravel()))[0, 1] == pytest.approx(0.6, abs=0.02)


def test_deterministic_sizes_are_the_means() -> None:
    r = made(4, size_model="deterministic")
    assert (r["prompt"] == 900).all()
    assert (r["output"] == 60).all()
    assert (r["context"] == 512_000).all()


def test_outcomes_have_their_probabilities() -> None:
    r = made()
    n = r["score"].size
    for name, p in (("edge_valid", 0.96), ("cloud_valid", 0.995), ("cloud_success", 0.94525)):
        assert abs(r[name].mean() - p) < 4 * np.sqrt(p * (1 - p) / n)
    assert r["edge_prob"] == pytest.approx(special.expit(8 * (0.55 - r["difficulty"])), abs=1e-5)
    gap = r["edge_success"] - 0.96 * r["edge_prob"]
    hard = r["difficulty"] > 0.5
    for part in (hard, ~hard):
        assert abs(gap[part].mean()) < 4 * 0.5 / np.sqrt(part.sum())
    assert (r["edge_success"] <= r["edge_valid"]).all()
    assert (r["cloud_success"] <= r["cloud_valid"]).all()


def test_score_is_the_noisy_belief_gated_by_the_schema() -> None:
    r = made()
    valid = r["edge_valid"] > 0
    assert (r["score"][~valid] == 0).all()
    noise = (special.logit(r["score"][valid]) - 8 * (0.55 - r["difficulty"][valid])) / 0.75
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    ungated = made(schema_gate=False)
    assert (ungated["score"] > 0).all()
    assert ungated["score"][valid] == pytest.approx(r["score"][valid])
    assert (made(mode="pre")["score"] > 0).all()
    easy = made(score_model="difficulty")
    assert easy["score"] == pytest.approx(1 - easy["difficulty"], abs=1e-6)


def test_tools_and_histories_are_uniform() -> None:
    env = batch("batch", rows=ROWS)
    seen = env.reset(seed=0)[0]["requests"][:, :16]
    assert (seen[:, :, 5:13].sum(-1) == 1).all()
    count = ROWS * 16
    assert np.abs(seen[:, :, 5:13].mean((0, 1)) - 1 / 8).max() < 4 * 0.33 / np.sqrt(count)
    for step in (0.0, 0.5, 1.0):
        assert (seen[:, :, 13] == step).mean() == pytest.approx(1 / 3, abs=0.012)


def test_arrivals_follow_a_cut_off_poisson_law() -> None:
    env = batch(rows=ROWS, arrivals="poisson", num_requests=3, max_requests=5)
    env.reset(seed=0)
    count = env.rows.state.desk.arrived.numpy().astype(int)
    law = stats.poisson(3).pmf(np.arange(6))
    law[5] = 1 - law[:5].sum()
    share = np.bincount(count, minlength=6) / ROWS
    assert np.abs(share - law).max() < 4 * 0.5 / np.sqrt(ROWS)


def test_a_request_is_the_same_whatever_the_room_for_others() -> None:
    narrow = made(16, num_requests=5)
    wide = made(16, arrivals="poisson", num_requests=5, max_requests=20)
    for name in Requests._fields:
        assert wide[name][:, :5] == pytest.approx(narrow[name], rel=1e-5, abs=1e-6), name


def test_outcomes_do_not_depend_on_actions() -> None:
    """Without learning the world goes its way, in every slot and column."""
    one, two = batch(rows=8), batch(rows=8)
    one.reset(seed=5)
    two.reset(seed=5)
    for t in range(10):
        one.step(np.zeros((8, 1), np.float32))
        two.step(np.full((8, 1), t / 9, np.float32))
        assert torch.equal(one.rows.state.requests, two.rows.state.requests)
        for a, b in zip(one.rows.state.link, two.rows.state.link, strict=True):
            assert torch.equal(a, b)


def test_learning_keeps_the_draws_and_moves_only_what_skill_moves() -> None:
    """A better edge is right wherever the worse one was: outcomes are coupled monotonically."""
    weak, strong = made(256), made(256, skill0=0.7)
    assert (strong["difficulty"] == weak["difficulty"]).all()
    assert (strong["cloud_success"] == weak["cloud_success"]).all()
    assert (strong["edge_success"] >= weak["edge_success"]).all()
    assert strong["edge_success"].sum() > weak["edge_success"].sum()


def test_exploration_offloads_a_share_whatever_the_action() -> None:
    env = batch(rows=ROWS, explore_eps=0.02)
    env.reset(seed=0)
    info = env.step(np.zeros((ROWS, 1), np.float32))[4]
    share = info["offload"].sum() / info["requests"].sum()
    assert share == pytest.approx(0.02, abs=4 * np.sqrt(0.02 * 0.98 / (16 * ROWS)))


@settings(max_examples=25)
@given(
    tau=st.floats(0, 1, width=32),
    seed=st.integers(0, 2**31),
    params=st.fixed_dictionaries(
        {"num_requests": st.integers(1, 12), "max_requests": st.just(12)},
        optional={
            "mode": st.sampled_from(["cascade", "pre"]),
            "queue": st.sampled_from(["off", "fluid", "mm1"]),
            "arrivals": st.sampled_from(["fixed", "poisson"]),
            "share_uplink": st.booleans(),
            "self_improve": st.just(True),
            "update_period": st.integers(1, 3),
            "update_samples": st.just(1),
            "anchor": st.booleans(),
            "pricing": st.sampled_from(["flat", "tou", "premium", "surge"]),
            "skill0": st.floats(-2, 3),
            "schema_edge": st.floats(0, 1),
            "cloud_slope": st.floats(0, 3),
            "explore_eps": st.floats(0, 1),
            "context_bytes": st.sampled_from([0.0, 1e6]),
        },
    ),
)
def test_accounts_add_up_for_any_parameters(tau: float, seed: int, params: dict[str, Any]) -> None:
    env = batch(rows=2, info_level=1, **params)
    env.reset(seed=seed)
    kept = 0.0
    for _ in range(4):
        observation, reward, _, _, info = env.step(np.full((2, 1), tau, np.float32))
        assert np.isfinite(observation).all()
        assert np.isfinite(reward).all()
        is_there, sent = info["is_request"], info["sent"]
        assert (is_there.sum(1) == info["requests"]).all()
        assert (sent.sum(1) == info["offload"]).all()
        assert (sent <= is_there).all()
        earned = np.where(sent > 0, info["U_cloud_cf"], info["U_edge_cf"]).sum(1)
        assert earned == pytest.approx(info["utility"], abs=1e-3)
        assert reward * np.maximum(info["requests"], 1) == pytest.approx(info["utility"], abs=1e-3)
        assert (info["quality"] <= info["schema_ok"]).all()
        assert (info["schema_ok"] <= info["requests"]).all()
        assert ((info["schema_edge"] >= 0) & (info["schema_edge"] <= 1)).all()
        assert (info["buffer"] >= kept).all()
        assert (info["buffer"] - kept <= info["offload"]).all()
        assert (info["samples"] <= info["buffer"]).all()
        kept = info["buffer"]
