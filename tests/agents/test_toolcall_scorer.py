"""The router's score of drafts and the pairwise reward model."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sixgym.agents.toolcall.config import RewardModelSettings
from sixgym.agents.toolcall.language import END_ID, Call
from sixgym.agents.toolcall.model import Draft, Sizes, answer_tensor, prompt_tensor, said
from sixgym.agents.toolcall.reward_model import bradley_terry, differing, train_reward_model
from sixgym.agents.toolcall.scorer import (
    Scorer,
    auc,
    calibration_error,
    features_of,
    fit_scorer,
)
from sixgym.agents.toolcall.sft import fresh_net
from sixgym.agents.toolcall.task import FULL, cloud_answers, draw
from sixgym.envs.core.errors import SixgymError

pytest.importorskip("sklearn")


def synthetic(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features whose sum of log-probabilities is the logit of the label."""
    rng = np.random.default_rng(seed)
    total = rng.normal(-1.0, 2.0, rows)
    features = np.stack([total, total / 2, np.full(rows, 15.0), np.ones(rows)], 1)
    return features, rng.random(rows) < 1.0 / (1.0 + np.exp(-2.0 * total - 1.0))


def test_features_are_what_their_names_say():
    token = answer_tensor([Call("finish", ()), Call("evaluate", ("val", 4))])
    token[1, 0] = END_ID  # says nothing
    is_said = said(token)
    log_prob = torch.where(is_said, torch.full(token.shape, -0.5), 0.0)
    log_prob[0, 3] = -2.0
    features = features_of(Draft(token, log_prob, is_said))
    assert features.tolist() == [[-7.0, -2.0, 11.0, 1.0], [-0.5, -0.5, 1.0, 0.0]]


def test_fit_finds_the_law_and_is_calibrated():
    features, label = synthetic(20_000)
    scorer = fit_scorer(features, label.tolist())
    fresh, truth = synthetic(20_000, seed=1)
    score = scorer.score(fresh)
    expected = 1.0 / (1.0 + np.exp(-2.0 * fresh[:, 0] - 1.0))
    assert np.abs(score - expected).max() < 0.05
    assert calibration_error(score, truth.tolist()) < 0.015
    assert auc(score, truth.tolist()) == pytest.approx(auc(expected, truth.tolist()), abs=1e-6)


def test_weights_are_counted_as_repetitions():
    features, label = synthetic(500)
    weight = np.where(np.arange(500) < 100, 3.0, 1.0)
    repeated = np.concatenate([np.arange(500), np.arange(100), np.arange(100)])
    weighted = fit_scorer(features, label.tolist(), weight.tolist())
    plain = fit_scorer(features[repeated], label[repeated].tolist())
    assert np.abs(weighted.score(features) - plain.score(features)).max() < 0.02


def test_gate_gives_invalid_drafts_nothing():
    features, label = synthetic(500)
    scorer = fit_scorer(features, label.tolist())
    features[:3, 3] = 0.0
    assert (scorer.score(features)[:3] == 0.0).all()
    assert (scorer.score(features, schema_gate=False)[:3] > 0.0).all()


def test_scorer_is_plain_data():
    features, label = synthetic(500)
    scorer = fit_scorer(features, label.tolist())
    assert Scorer.model_validate_json(scorer.model_dump_json()) == scorer
    with pytest.raises(ValidationError):
        Scorer.model_validate({**scorer.model_dump(), "bias": math.nan})


def test_auc_and_calibration_of_known_cases():
    assert auc(np.array([0.1, 0.4, 0.35, 0.8]), [False, False, True, True]) == 0.75
    assert calibration_error(np.array([0.2, 0.8]), [False, True], bins=2) == pytest.approx(0.2)
    with pytest.raises(SixgymError, match="label: all of 2 are the same"):
        auc(np.array([0.1, 0.2]), [True, True])
    with pytest.raises(SixgymError, match="label: all of 3 are the same"):
        fit_scorer(np.zeros((3, 4)), [False] * 3)


def test_bradley_terry_of_equal_answers_is_ln_2():
    zero = torch.zeros(3)
    assert bradley_terry(zero, zero).item() == pytest.approx(math.log(2.0), abs=1e-6)
    assert bradley_terry(zero + 2.0, zero).item() == pytest.approx(math.log1p(math.exp(-2.0)))


def test_equal_pairs_are_dropped():
    chosen = torch.tensor([[1, 2], [3, 4], [5, 6]])
    rejected = torch.tensor([[1, 2], [3, 9], [5, 6]])
    assert differing(chosen, rejected).tolist() == [1]


def test_reward_model_learns_to_prefer_the_cloud():
    # Rejected answers name another operation of the same request: a preference that is learnable.
    items = [i for i in draw(FULL, 400, 0, "test") if i.answer.tool != "finish"]
    prompt = prompt_tensor([i.prompt for i in items])
    chosen = answer_tensor(cloud_answers(items, 0, "cloud"))
    rejected = answer_tensor([Call("finish", ())] * len(items))
    start = fresh_net(0, Sizes(16, 1, 2))
    settings = RewardModelSettings(steps=30, batch=32, learning_rate=1e-2)
    losses: list[float] = []
    net = train_reward_model(
        settings, start, prompt, chosen, rejected, 0, lambda _, loss: losses.append(loss)
    )
    assert losses[0] == pytest.approx(math.log(2.0), abs=1e-6)
    with torch.no_grad():
        assert (net(prompt, chosen) > net(prompt, rejected)).float().mean() > 0.95
    nothing = train_reward_model(settings, start, prompt, chosen, chosen, 0)
    with torch.no_grad():
        assert (nothing(prompt, chosen) == 0).all()
