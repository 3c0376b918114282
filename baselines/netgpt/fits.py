"""Thresholds and functions of the network that are fitted beforehand (section 5).

All in closed form on the design's mix of network states, so no world is seen. [our choice]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, least_squares, nnls
from scipy.special import betaincinv, expit

from sixgym.baselines.netgpt.design import Design
from sixgym.baselines.netgpt.frontier import FIXED_GRID
from sixgym.baselines.netgpt.law import GATE
from sixgym.baselines.netgpt.model import Network
from sixgym.baselines.netgpt.threshold import Affine, analytic_affine

Floats = NDArray[np.float64]

SHARES = np.round(np.arange(1, 10) / 10.0, 1)
"""Target cloud shares rho of the RouteLLM-like router, and budgets of the FrugalGPT-like one as
parts of the cloud's price. [our choice: section 5]"""
FIT_BANDWIDTH = np.geomspace(0.5, 100.0, 20)
"""Mbit/s, of the grid that FuncDyn is fitted on: the range of the controlled grid 6.2."""
FIT_RTT = np.geomspace(0.01, 0.4, 20)
"""s, of the same."""
FIT_MULT = np.array([0.5, 1.0, 2.0])
"""Price multipliers of the same. [our choice]"""
POPULATION, ELITE, ITERATIONS = 64, 8, 30
"""Of the cross-entropy method. [our choice: section 5]"""
CEM_SEED = 10_000
"""First of the seeds for fitting. [our choice: section 5]"""
BANDWIDTH_UNIT, RTT_UNIT = 10.0, 0.1
"""Mbit/s and s, in which FuncDyn-L measures."""


# ------------------------------------------------------------------------------ constant thresholds


def frugal_threshold(design: Design, budget: float) -> float:
    """FrugalGPT-like: the constant of most quality whose mean price is within a budget.

    Args:
        design: of a cascade.
        budget: m$ a request for the cloud, the edge's own price left out.
    """
    grid = np.concatenate([[0.0, GATE], FIXED_GRID[1:]])
    rates = design.law.rates(grid)
    kept = rates.offload * design.mean_price <= budget * (1.0 + 1e-12)
    return float(grid[np.where(kept, rates.quality, -np.inf).argmax()])


def best_frugal(design: Design) -> float:
    """The threshold of the budget, of `SHARES` of the cloud's price, that has most utility."""
    options = np.array([frugal_threshold(design, s * design.mean_price) for s in SHARES])
    return float(options[design.mean_utility(options[:, None]).argmax()])


def share_threshold(design: Design, share: float) -> float:
    """RouteLLM-like: the threshold that sends a share of requests to the cloud, tau = F^-1(rho).

    Args:
        design: of pre mode.
        share: rho.
    """

    def gap(ell: float) -> float:
        return float(design.law.rates(expit(ell)).offload) - share

    low, high = float(design.law.logits[0]), float(design.law.logits[-1])
    if gap(low) >= 0.0 or gap(high) <= 0.0:
        return 0.0 if gap(low) >= 0.0 else 1.0
    return float(expit(brentq(gap, low, high, xtol=1e-12)))


def best_share(design: Design) -> float:
    """The threshold of the share, of `SHARES`, that has most utility."""
    options = np.array([share_threshold(design, float(s)) for s in SHARES])
    return float(options[design.mean_utility(options[:, None]).argmax()])


def hybrid_threshold(design: Design, tolerance: float | None = None, cut: float = 0.5) -> float:
    """HybridLLM-like: keep if p_e(d) >= p_c(d) - t has at least probability ``cut`` given s.

    That probability rises with the score, so the cut is a constant threshold on the score.

    Args:
        design: of pre mode.
        tolerance: t; None: that with which half of the requests are easy, so that the labels tell
            most [related: HybridLLM's transformed labels].
        cut: of the probability. [our choice]
    """
    p = design.params
    median = float(betaincinv(p.difficulty_a, p.difficulty_b, 0.5))
    easiest = median if tolerance is None else _easy_up_to(design, tolerance)

    def chance(score: Floats) -> Floats:
        return design.law.chance_easier(score, easiest)

    ell = design.law.logits
    keeps = chance(expit(ell)) >= cut
    if keeps.all() or not keeps.any():
        return 0.0 if keeps.all() else 1.0
    first = int(keeps.argmax())
    if first == 0:
        return 0.0

    def gap(x: float) -> float:
        return float(chance(np.array([expit(x)]))[0]) - cut

    return float(expit(brentq(gap, ell[first - 1], ell[first], xtol=1e-12)))


def _easy_up_to(design: Design, tolerance: float) -> float:
    """The difficulty up to which p_e(d) >= p_c(d) - t."""
    d = np.linspace(0.0, 1.0, 10_001)
    m = design.model
    easy = m.schema_edge * m.edge_success_at(d, m.skill0) >= m.cloud_success_at(d) - tolerance
    return float(d[easy][-1]) if easy.any() else 0.0


# ------------------------------------------------------------------------------------- FuncDyn


class Sigmoid(NamedTuple):
    """FuncDyn-L (35): logit tau = base + bandwidth ln(B/10) - rtt R/.1 - price (m - 1)."""

    base: float
    bandwidth: float
    rtt: float
    price: float

    def thresholds(self, network: Network) -> Floats:
        """Thresholds of network states; monotone by the signs."""
        z = self.base + self.bandwidth * np.log(network.bandwidth / BANDWIDTH_UNIT)
        z = z - self.rtt * network.rtt / RTT_UNIT - self.price * (np.asarray(network.mult) - 1.0)
        return np.asarray(expit(z))


def fit_grid() -> Network:
    """(1200,) the network states that FuncDyn is fitted on."""
    b, r, m = np.meshgrid(FIT_BANDWIDTH, FIT_RTT, FIT_MULT, indexing="ij")
    return Network(b.ravel(), r.ravel(), m.ravel())


def fit_affine(design: Design) -> Affine:
    """FuncDyn-A by non-negative least squares to tau* on the grid."""
    network = fit_grid()
    mult = np.asarray(network.mult)
    columns = np.stack([np.ones(len(mult)), -network.rtt, -1.0 / network.bandwidth, -mult], 1)
    scale = np.abs(columns).max(0)
    solution, _ = nnls(columns / scale, design.exact_thresholds(network))
    return Affine(*(float(x) for x in solution / scale))


class _Reward:
    """Mean utility of thresholds by state on the mix, from tables."""

    def __init__(self, design: Design) -> None:
        self._design = design
        self._tau = np.concatenate([[0.0, GATE], np.linspace(0.0, 1.0, 2001)[1:]])
        self._worth = design.law.utility(self._tau, 0.0)
        self._share = design.law.rates(self._tau).offload

    def __call__(self, tau: Floats) -> float:
        """Of (states,) thresholds."""
        design = self._design
        worth = np.interp(tau, self._tau, self._worth)
        share = np.interp(tau, self._tau, self._share)
        cost = (design.omega + design.crowding * share) * share
        return float(design.mix.chance @ (worth - cost))


def fit_affine_by_search(design: Design) -> Affine:
    """FuncDyn-A by the cross-entropy method on the mean reward of the mix, from the analytic one.

    Coefficients stay non-negative.
    """
    rng = np.random.default_rng(CEM_SEED)
    reward, network = _Reward(design), design.mix.network
    mean = np.array(analytic_affine(design.model))
    spread = 0.3 * np.abs(mean) + 0.05
    best, best_value = mean, reward(Affine(*mean).thresholds(network))
    for _ in range(ITERATIONS):
        drawn = mean + spread * rng.standard_normal((POPULATION, 4))
        drawn[:, 1:] = np.maximum(drawn[:, 1:], 0.0)
        value = np.array([reward(Affine(*x).thresholds(network)) for x in drawn])
        elite = drawn[np.argsort(-value)[:ELITE]]
        mean, spread = elite.mean(0), elite.std(0) + 1e-6
        if value.max() > best_value:
            best, best_value = drawn[int(value.argmax())], float(value.max())
    return Affine(*(float(x) for x in best))


def fit_sigmoid(design: Design) -> Sigmoid:
    """FuncDyn-L by least squares to tau* on the grid, slopes non-negative.

    On the mix the bandwidth would drop out: it moves with the RTT there, and far less than ln B.
    """
    network = fit_grid()
    target = design.exact_thresholds(network)

    def error(x: Floats) -> Floats:
        return np.asarray(Sigmoid(*x).thresholds(network) - target)

    low = [-np.inf, 0.0, 0.0, 0.0]
    found = least_squares(error, [1.0, 0.5, 0.5, 0.5], bounds=(low, np.inf))
    return Sigmoid(*(float(x) for x in found.x))
