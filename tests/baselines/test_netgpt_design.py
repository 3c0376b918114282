"""What is known and fitted beforehand: sizes, mixes of states, tables, fitted thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from sixgym.baselines.netgpt.belief import Minds
from sixgym.baselines.netgpt.congestion import congested_threshold
from sixgym.baselines.netgpt.design import Design, clipped_mean, design_of, model_of
from sixgym.baselines.netgpt.fits import (
    SHARES,
    best_frugal,
    best_share,
    fit_affine,
    fit_affine_by_search,
    fit_sigmoid,
    frugal_threshold,
    hybrid_threshold,
    share_threshold,
)
from sixgym.baselines.netgpt.law import GATE
from sixgym.baselines.netgpt.laws import DifficultyLaw, score_law
from sixgym.baselines.netgpt.model import FROZEN, STATIONARY, Model, Network
from sixgym.baselines.netgpt.threshold import analytic_affine
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.make import make_system
from sixgym.envs.netgpt.params import NetGptBatchParams, NetGptThresholdParams

EXACT = 0.69153
"""Utility of the exact dynamic threshold, dossier 7."""


def design(preset: str = "exact", **params: Any) -> Design:
    return Design(NetGptThresholdParams.create(preset, **params))


def test_the_defaults_of_the_environment_are_those_of_the_theory() -> None:
    """Sections 1 and 6: one set of numbers, two places."""
    found = model_of(NetGptThresholdParams.create("exact"))
    assert found == Model()
    pre = model_of(NetGptThresholdParams.create("exact", mode="pre"))
    assert pre == Model(mode="pre", score_noise=1.5, schema_gate=False)
    mix = design().mix
    assert mix.chance == pytest.approx(STATIONARY)
    assert (mix.network.bandwidth == FROZEN.bandwidth).all()


@pytest.mark.parametrize("size", ["prompt", "output", "context"])
def test_means_of_clipped_sizes(size: str) -> None:
    """Against adaptive integration, with bounds that bite."""
    p = NetGptThresholdParams.create(
        prompt_tokens_min=500.0,
        prompt_tokens_max=1200.0,
        output_tokens_min=40.0,
        output_tokens_max=70.0,
        context_bytes_max=600_000.0,
    )
    mean, cv, low, high = {
        "prompt": (900.0, 0.4, 500.0, 1200.0),
        "output": (60.0, 0.4, 40.0, 70.0),
        "context": (512_000.0, 0.8, 0.0, 600_000.0),
    }[size]
    sigma = np.sqrt(np.log1p(cv * cv))

    def integrand(z: float) -> float:
        drawn = mean * np.exp(sigma * z - 0.5 * sigma * sigma)
        return float(np.clip(drawn, low, high) * norm.pdf(z))

    assert clipped_mean(p, size) == pytest.approx(quad(integrand, -9, 9, limit=400)[0], rel=1e-5)
    assert clipped_mean(NetGptThresholdParams.create(context_bytes=0.0), "context") == 0.0


def test_jitter_raises_the_mean_of_the_inverse_bandwidth() -> None:
    """Check 21: E[B/B_t] = exp(sigma_B^2 / 2) = 1.04603."""
    mix = design(network="markov+ar").mix
    in_medium = mix.regime == 1
    chance = mix.chance[in_medium] / mix.chance[in_medium].sum()
    assert chance @ (20.0 / mix.network.bandwidth[in_medium]) == pytest.approx(1.04603, abs=1e-5)
    assert mix.chance.sum() == pytest.approx(1.0)


def test_mixes_of_prices_and_traces() -> None:
    surge = design(pricing="surge", price_mult=2.0).mix
    mult = np.asarray(surge.network.mult)
    assert surge.chance[mult == 6.0].sum() == pytest.approx(2 / 7)
    tou = design(pricing="tou").mix
    assert tou.chance[np.asarray(tou.network.mult) == 0.5].sum() == pytest.approx(67 / 200)
    trace = design(network="trace", trace_bandwidth_mbps=(5.0, 50.0), trace_rtt_s=(0.1, 0.02)).mix
    assert trace.chance.tolist() == [0.5, 0.5]
    assert trace.network.bandwidth.tolist() == [5.0, 50.0]
    frozen = design(network="frozen:P").mix
    assert frozen.network.bandwidth.tolist() == [4.0]
    assert design("harsh").mix.chance.tolist() == pytest.approx([0.5, 0, 0, 0.5])


@pytest.mark.parametrize(
    ("preset", "params"),
    [
        ("exact", {"self_improve": True}),
        ("calibrated", {"self_improve": True, "w_schema": 0.2}),
        ("difficulty_score", {"self_improve": True}),
        ("exact", {"self_improve": True, "mode": "pre", "cloud_slope": 0.3}),
    ],
)
def test_tables_give_the_solvers_thresholds(preset: str, params: dict[str, Any]) -> None:
    """Rows of skills and scorers of their own, to 1e-4; gains to 1e-4 too."""
    d = design(preset, **params)
    rng = np.random.default_rng(2)
    kappa, omega = rng.uniform(0.55, 0.80, 30), rng.uniform(0.05, 0.9, 30)
    old, bias = kappa - rng.uniform(0, 0.05, 30), rng.normal(0, 0.1, 30)
    minds = Minds(kappa, old, bias, np.full(30, 0.96))
    tau = d.belief.threshold(omega, minds)
    score = np.full((30, 1), 0.6)
    edge, cloud = d.belief.successes(score, minds)
    for k in range(30):
        if preset == "difficulty_score":
            law: Any = DifficultyLaw(d.model, kappa[k])
        else:
            law = score_law(d.model, kappa[k], old[k], bias[k])
        assert tau[k] == pytest.approx(float(law.threshold(omega[k])), abs=1e-4)
        told = law.successes(np.array([0.6]))
        assert (edge[k, 0], cloud[k, 0]) == pytest.approx((told[0][0], told[1][0]), abs=1e-4)


def test_tables_give_the_gates_threshold_and_the_ends() -> None:
    d = design()
    minds = Minds(*(np.full(3, x) for x in (0.55, 0.55, 0.0, 0.96)))
    assert d.belief.threshold(np.array([0.95, 0.94, -2.0]), minds).tolist() == [0.0, GATE, 1.0]


def test_tables_solve_congestion() -> None:
    """As the fixed point of the theory does."""
    d = design()
    minds = Minds(*(np.full(4, x) for x in (0.55, 0.55, 0.0, 0.96)))
    crowding = np.array([0.01, 0.05, 0.3, 2.0])
    tau = d.belief.threshold(d.omega, minds, crowding, is_social=False)
    for k in range(4):
        alone = congested_threshold(d.law, lambda o, k=k: d.omega[k] + crowding[k] * o)
        assert tau[k] == pytest.approx(alone, abs=1e-5)


# ------------------------------------------------------------------------------------ the fits


def test_best_fixed() -> None:
    """Dossier 7: .5824 at .68437."""
    d = design()
    assert d.best_fixed == pytest.approx(0.5824, abs=1e-4)
    assert d.mean_utility(d.best_fixed) == pytest.approx(0.68437, abs=1e-5)
    assert d.offload_share == pytest.approx(0.35334, abs=1e-5)
    pre = design(mode="pre")
    assert pre.best_fixed == pytest.approx(0.7123, abs=1e-4)


def test_best_fixed_on_a_shared_uplink_holds_back() -> None:
    d = Design(NetGptBatchParams.create("exact"))
    grid = np.linspace(0.0, 1.0, 1001)[1:, None]
    assert d.best_fixed == pytest.approx(float(grid[d.mean_utility(grid).argmax(), 0]), abs=1e-3)
    assert d.best_fixed < 0.4
    exact = d.exact_thresholds(d.mix.network)
    assert (exact < design().exact_thresholds(FROZEN)).all()
    assert d.mean_utility(exact) > d.mean_utility(d.best_fixed)
    rng = np.random.default_rng(0)
    nearby = np.clip(exact + rng.normal(0, 0.05, (500, 4)), 0.0, 1.0)
    assert (d.mean_utility(nearby) <= d.mean_utility(exact) + 1e-9).all()


def test_static_routers_of_the_literature() -> None:
    """Claim C5: RouteLLM-like exactly .675, FrugalGPT-like at most BestFixed's .684."""
    pre, cascade = design(mode="pre"), design()
    assert pre.mean_utility(best_share(pre)) == pytest.approx(0.675, abs=5e-4)
    frugal = float(cascade.mean_utility(best_frugal(cascade)))
    assert 0.683 < frugal <= float(cascade.mean_utility(cascade.best_fixed))
    assert pre.mean_utility(hybrid_threshold(pre)) < pre.mean_utility(pre.best_fixed)
    assert float(cascade.mean_utility(fit_affine(cascade).thresholds(FROZEN))) > max(frugal, 0.675)


def test_shares_and_budgets_are_met() -> None:
    pre, cascade = design(mode="pre"), design()
    for share in SHARES:
        tau = share_threshold(pre, float(share))
        assert pre.law.rates(tau).offload == pytest.approx(share, abs=1e-9)
        budget = float(share) * cascade.mean_price
        spent = cascade.law.rates(frugal_threshold(cascade, budget)).offload * cascade.mean_price
        assert spent <= budget
    assert share_threshold(cascade, 0.01) == 0.0
    assert frugal_threshold(cascade, 0.0) == 0.0
    # Beyond Delta = 0 more offloads no longer add quality.
    assert frugal_threshold(cascade, 1.0) < 1.0


def test_the_hybrid_router_keeps_what_is_likelier_easy() -> None:
    """At its threshold half of the requests with that score are easy, by a simulation."""
    d = design(mode="pre")
    tau = hybrid_threshold(d)
    rng = np.random.default_rng(4)
    hard = rng.beta(2, 3, 2_000_000)
    score = expit(8 * (0.55 - hard) + 1.5 * rng.standard_normal(len(hard)))
    near = np.abs(score - tau) < 0.005
    assert (hard[near] <= np.median(hard)).mean() == pytest.approx(0.5, abs=0.02)
    assert hybrid_threshold(d, 1.0) == 0.0
    assert hybrid_threshold(d, -1.0) == 1.0
    assert hybrid_threshold(d, 0.3) < hybrid_threshold(d, 0.1)


def test_functions_of_the_network_are_within_a_few_thousandths_of_exact() -> None:
    """Claim C3 asks for .003; slopes have the signs of the theorem."""
    d = design()
    for fit in (analytic_affine(d.model), fit_affine(d), fit_affine_by_search(d), fit_sigmoid(d)):
        rule = fit.thresholds
        assert float(d.mean_utility(rule(FROZEN))) > EXACT - 0.003
        tau = rule(Network(np.array([1.0, 4.0, 4.0, 4.0]), np.array([0.1, 0.1, 0.05, 0.05]), 1.0))
        assert tau[0] < tau[1] < tau[2]
        dear = rule(Network(np.array([4.0]), np.array([0.05]), 2.0))
        assert dear < tau[3]
    searched = float(d.mean_utility(fit_affine_by_search(d).thresholds(FROZEN)))
    assert searched == pytest.approx(EXACT, abs=1e-4)
    assert fit_affine(d) == fit_affine(design())


def test_another_system_has_no_design() -> None:
    with pytest.raises(PolicyError, match="allowed: a NetGPT system"):
        design_of(make_system("sixgym.envs.ris_noma:RisNoma"))
