"""The composite objective: its parts, estimators of KLs, and its exact minimisers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sixgym.agents.toolcall import objective
from sixgym.agents.toolcall.objective import Terms, Weights
from sixgym.agents.toolcall.tabular import drift_bound, fixed_point, minimiser

ANSWERS = 7


def noise(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_policy(seed: int, *shape: int) -> Tensor:
    logits = torch.randn(*shape, ANSWERS, generator=noise(seed), dtype=torch.float64)
    return logits.softmax(-1)


def random_advantage(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, ANSWERS, generator=noise(100 + seed), dtype=torch.float64)


def enumerated(logits: Tensor, old: Tensor, prior: Tensor, advantage: Tensor) -> Terms:
    """Terms of one prompt with one-token answers, all of them "sampled" with their chances."""
    every = torch.arange(ANSWERS)
    rows = logits.expand(ANSWERS, 1, ANSWERS)
    log_prob = objective.chosen(rows, every[:, None])
    one = torch.ones(1, 1, dtype=torch.float64)
    return Terms(
        objective.policy_gradient(
            log_prob, old.log()[:, None], advantage, old[:, None], clip=math.inf
        ),
        objective.reverse_kl(logits[None, None], old.log()[None, None], one),
        objective.forward_kl(logits[None, None], prior.log()[None, None], one),
        torch.zeros((), dtype=torch.float64),
    )


def descended(old: Tensor, prior: Tensor, advantage: Tensor, weights: Weights) -> Tensor:
    """The minimum that L-BFGS finds on the logits of a softmax, with the objective's own code."""
    logits = torch.zeros(ANSWERS, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [logits], max_iter=2_000, tolerance_grad=1e-12, tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = objective.composite(enumerated(logits, old, prior, advantage), weights)
        loss.backward()
        return loss

    optimiser.step(closure)
    return logits.detach().softmax(-1)


# ------------------------------------------------------------------------------------- tabular


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("kl_old", "kl_sft"), [(0.05, 1.0), (0.5, 0.3), (1.0, 0.0), (0.0, 0.5)])
def test_gradient_descent_reaches_the_lambert_w_solution(seed, kl_old, kl_sft):
    old, prior, advantage = random_policy(seed), random_policy(seed + 50), random_advantage(seed)
    weights = Weights(w_pg=1.0, kl_old=kl_old, kl_sft=kl_sft, nll_cloud=0.0)
    exact = minimiser(advantage, old, prior, kl_old, kl_sft)
    assert exact.sum().item() == pytest.approx(1.0, abs=1e-12)
    found = descended(old, prior, advantage, weights)
    assert (found - exact).abs().max() < 1e-5


def test_plain_gradient_descent_gets_there_too():
    old, prior, advantage = random_policy(0), random_policy(50), random_advantage(0)
    weights = Weights(w_pg=1.0, kl_old=0.05, kl_sft=1.0, nll_cloud=0.0)
    logits = prior.log().clone().requires_grad_()
    optimiser = torch.optim.SGD([logits], lr=5.0)
    for _ in range(800):
        optimiser.zero_grad()
        objective.composite(enumerated(logits, old, prior, advantage), weights).backward()
        optimiser.step()
    exact = minimiser(advantage, old, prior, 0.05, 1.0)
    assert (logits.detach().softmax(-1) - exact).abs().max() < 1e-5


def test_stationarity_holds_to_rounding():
    old, prior, advantage = random_policy(1, 100), random_policy(2, 100), random_advantage(3, 100)
    u = minimiser(advantage, old, prior, 0.05, 1.0)
    # beta ln(u/o) - lambda p/u - A is one constant a row.
    left = 0.05 * (u / old).log() - 1.0 * prior / u - advantage
    assert (left - left.mean(-1, keepdim=True)).abs().max() < 1e-9


def test_small_trust_regions_do_not_overflow():
    old, prior, advantage = random_policy(1), random_policy(2), random_advantage(3)
    for kl_old in (1e-2, 1e-4, 1e-6):
        u = minimiser(advantage, old, prior, kl_old, 1.0)
        assert torch.isfinite(u).all()
    assert (u - fixed_point(advantage, prior, 1.0)).abs().max() < 1e-5


def test_without_anchor_it_is_mirror_descent():
    old, prior, advantage = random_policy(4), random_policy(5), random_advantage(6)
    tilted = old * (advantage / 0.3).exp()
    u = minimiser(advantage, old, prior, 0.3, 0.0)
    assert (u - tilted / tilted.sum()).abs().max() < 1e-14


def test_no_weight_at_all_is_refused():
    u = random_policy(0)
    with pytest.raises(ValueError, match=r"kl_old=0\.0, kl_sft=0\.0: allowed"):
        minimiser(u, u, u, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"kl_old=-1\.0"):
        minimiser(u, u, u, -1.0, 1.0)


def test_repeated_steps_end_in_the_fixed_point_whatever_beta():
    prior, advantage = random_policy(7), random_advantage(8)
    limit = fixed_point(advantage, prior, 1.0)
    for kl_old, steps in ((0.05, 60), (0.2, 60)):
        u = random_policy(9)
        for _ in range(steps):
            u = minimiser(advantage, u, prior, kl_old, 1.0)
        assert (u - limit).abs().max() < 1e-10


@pytest.mark.parametrize("kl_sft", [0.1, 0.5, 1.0, 5.0])
def test_drift_of_the_fixed_point_is_bounded(kl_sft):
    prior, advantage = random_policy(10, 100), random_advantage(11, 100)
    u = fixed_point(advantage, prior, kl_sft)
    assert u.sum(-1) == pytest.approx(torch.ones(100).numpy(), abs=1e-12)
    spread = advantage.amax(-1) - advantage.amin(-1)
    assert (u / prior >= (kl_sft / (spread + kl_sft))[:, None] - 1e-12).all()
    drift = (prior * (prior / u).log()).sum(-1)
    assert (drift <= drift_bound(advantage, kl_sft) + 1e-12).all()


def test_one_step_from_far_away_need_not_obey_the_bound():
    # The bound is the fixed point's; a step with beta >> lambda hardly leaves o.
    prior = torch.tensor([0.5, 0.5], dtype=torch.float64)
    old = torch.tensor([1e-6, 1.0 - 1e-6], dtype=torch.float64)
    advantage = torch.tensor([0.0, 0.1], dtype=torch.float64)
    u = minimiser(advantage, old, prior, 10.0, 0.01)
    drift = (prior * (prior / u).log()).sum()
    assert drift > drift_bound(advantage, 0.1)


def test_schema_is_preserved_by_the_anchor_and_not_without():
    prior = random_policy(12, 100)
    advantage = random_advantage(13, 100)
    invalid = torch.zeros(ANSWERS, dtype=torch.bool)
    invalid[:2] = True
    low = advantage.amin(-1, keepdim=True) - 0.1
    advantage = torch.where(invalid, low, advantage)
    u = fixed_point(advantage, prior, 0.5)
    assert (u[:, invalid].sum(-1) <= prior[:, invalid].sum(-1) + 1e-12).all()
    order = advantage.argsort(-1)
    assert ((u / prior).gather(-1, order).diff(dim=-1) >= -1e-9).all()  # u/p rises with A
    # Blind to the schema, and without anchor, invalid answers may grow without bound.
    blind = torch.where(invalid, 1.0, 0.0).to(torch.float64).expand(100, ANSWERS)
    grown = minimiser(blind, prior, prior, 0.05, 0.0)
    assert (grown[:, invalid].sum(-1) > prior[:, invalid].sum(-1)).all()
    assert grown[:, invalid].sum(-1).min() > 0.99


def test_fixed_point_of_two_answers_in_closed_form():
    # Advantages 0 and 1, equal priors, lambda = 1: .5/nu + .5/(nu - 1) = 1 at nu = 1 + sqrt(.5).
    prior = torch.tensor([0.5, 0.5], dtype=torch.float64)
    advantage = torch.tensor([0.0, 1.0], dtype=torch.float64)
    nu = 1.0 + math.sqrt(0.5)
    expected = [0.5 / nu, 0.5 / (nu - 1.0)]
    assert fixed_point(advantage, prior, 1.0).tolist() == pytest.approx(expected, abs=1e-12)


# ---------------------------------------------------------------------------------------- losses


def test_equal_policies_have_no_kl_and_no_gradient():
    logits = torch.randn(4, 3, 11, generator=noise(0), dtype=torch.float64, requires_grad=True)
    weight = torch.ones(4, 3, dtype=torch.float64)
    for term in (objective.reverse_kl, objective.forward_kl):
        loss = term(logits, logits.detach(), weight)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.item() == pytest.approx(0.0, abs=1e-15)
        assert gradient.abs().max() < 1e-15


def test_gradient_at_the_sampling_policy_is_reinforce():
    logits = torch.randn(4, 3, 11, generator=noise(0), dtype=torch.float64, requires_grad=True)
    token = torch.randint(11, (4, 3), generator=noise(1))
    advantage = torch.randn(4, generator=noise(2), dtype=torch.float64)
    weight = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.float64)
    log_prob = objective.chosen(logits, token)
    surrogate = objective.policy_gradient(log_prob, log_prob.detach(), advantage, weight, 0.2)
    reinforce = -(weight * advantage[:, None] * log_prob).sum() / weight.sum()
    left, right = (
        torch.autograd.grad(x, logits, retain_graph=True)[0] for x in (surrogate, reinforce)
    )
    assert (left - right).abs().max() < 1e-15


def test_clip_stops_the_gradient_where_the_policy_has_gone_far_enough():
    log_prob = torch.tensor([[0.5], [-0.5], [0.5], [-0.5]], requires_grad=True)
    advantage = torch.tensor([1.0, 1.0, -1.0, -1.0])
    loss = objective.policy_gradient(
        log_prob, torch.zeros(4, 1), advantage, torch.ones(4, 1), clip=0.2
    )
    (gradient,) = torch.autograd.grad(loss, log_prob)
    assert (gradient[:, 0] != 0).tolist() == [False, True, True, False]
    terms = [-1.2, -math.exp(-0.5), math.exp(0.5), 0.8]
    assert loss.item() == pytest.approx(sum(terms) / 4, abs=1e-6)


def test_group_advantage_is_centred_and_of_the_dossiers_scale():
    reward = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.3, 0.3, 0.3, 0.3]])
    advantage = objective.group_advantage(reward)
    assert advantage[0].tolist() == pytest.approx([0.5 / 0.6, -0.5 / 0.6] * 2, abs=1e-6)
    assert advantage[1].abs().max() < 1e-6


def test_dpo_at_the_reference_is_ln_2():
    zero = torch.zeros(5)
    assert objective.dpo(zero, zero, 0.1).item() == pytest.approx(math.log(2.0), abs=1e-6)
    assert objective.dpo(zero + 10.0, zero, 0.1).item() == pytest.approx(
        math.log1p(math.exp(-1.0)), abs=1e-6
    )


def test_composite_weighs_its_terms():
    terms = Terms(*torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    assert objective.composite(terms, Weights()).item() == pytest.approx(0.3 + 0.5 + 100.0 + 1000.0)


# ------------------------------------------------------------------------------------ estimators


def gradient_of_mean(estimator, theta: Tensor, log_p: Tensor) -> Tensor:
    """E over y ~ q_theta of the estimator's gradient, by enumeration; the sampling is fixed."""
    log_q = theta.log_softmax(-1)
    mean = (log_q.detach().exp() * estimator(log_p, log_q)).sum()
    return torch.autograd.grad(mean, theta)[0]


def finite_difference(function, theta: Tensor, step: float = 1e-5) -> Tensor:
    out = torch.zeros_like(theta)
    for k in range(len(theta)):
        move = torch.zeros_like(theta)
        move[k] = step
        out[k] = (function(theta + move) - function(theta - move)) / (2 * step)
    return out


@pytest.mark.parametrize("seed", range(5))
def test_estimators_have_the_gradients_of_their_kl(seed):
    theta = torch.randn(ANSWERS, generator=noise(seed), dtype=torch.float64, requires_grad=True)
    log_p = random_policy(seed + 20).log()
    fixed = theta.detach()
    reverse = finite_difference(lambda t: objective.kl(t, log_p), fixed)
    forward = finite_difference(lambda t: objective.kl(log_p, t), fixed)
    assert gradient_of_mean(objective.k1, theta, log_p).abs().max() < 1e-8
    assert (gradient_of_mean(objective.k2, theta, log_p) - reverse).abs().max() < 1e-8
    assert (gradient_of_mean(objective.k3, theta, log_p) - forward).abs().max() < 1e-8


def test_means_of_k1_and_k3_are_the_reverse_kl():
    q, log_p = random_policy(30), random_policy(31).log()
    exact = objective.kl(q.log(), log_p).item()
    for estimator in (objective.k1, objective.k3):
        assert (q * estimator(log_p, q.log())).sum().item() == pytest.approx(exact, abs=1e-12)
