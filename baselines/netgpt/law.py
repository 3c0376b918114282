"""Laws of the score, and what a threshold on it does: share offloaded, quality, utility.

The rule is: offload iff the score is below tau. Of a request with difficulty d (hidden, density
f_D) the score falls below tau with a probability P(tau | d), so every quantity is an integral over
d with the weight f_D(d) P(tau | d). A law says how that integral is taken; nothing is simulated and
nothing is cumulated on a grid. [derived: 3.4]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import beta as beta_function
from scipy.special import expit, logit

from sixgym.baselines.netgpt.model import Model

Floats = NDArray[np.float64]

NODES = 400
"""Of the Gauss-Legendre rule over the difficulty. [our choice: 3.4 (d)]"""
GRID_POINTS = 4001
"""Of the grid of score logits on which Delta is kept. [our choice: 3.5]"""
LOGIT_LIMIT = 16.0
"""Roots are sought between minus and plus this. [our choice: 3.4 (d)]"""
HALVINGS = 40
"""Of the bisection in a cell of the grid: 2 * 16 / 4000 * 2**-40 is below 1e-14."""
GATE = 1e-9
"""The threshold that offloads invalid drafts only (their score is 0). [our choice: 3.2]"""


@lru_cache(maxsize=1)
def legendre() -> tuple[Floats, Floats]:
    """(NODES,) nodes and weights of the Gauss-Legendre rule on [0, 1]."""
    node, weight = np.polynomial.legendre.leggauss(NODES)
    return 0.5 * (node + 1.0), 0.5 * weight


class Below(NamedTuple):
    """Integrals over the requests whose raw score is below tau, one entry a threshold."""

    share: Floats
    """F(tau) = P(raw score < tau)."""
    edge: Floats
    """Of the edge's success given a valid draft: the integral of q_e f up to tau."""
    cloud: Floats
    """Of the cloud's success: the integral of q_c f up to tau."""


class Rates(NamedTuple):
    """What a threshold does, one entry a threshold."""

    offload: Floats
    """O: share of requests sent to the cloud."""
    quality: Floats
    """Q: share of requests answered rightly."""
    schema_ok: Floats
    """Share of valid answers."""


class ScoreLaw(ABC):
    """Base of the laws: the score given the difficulty.

    Args:
        model: the constants.
        skill: kappa, the edge's skill; None: ``model.skill0``.
    """

    low, high = 0.0, 1.0
    """Ends of the support of the raw score."""

    def __init__(self, model: Model, skill: float | None = None) -> None:
        self.model = model
        self.skill = model.skill0 if skill is None else float(skill)
        self.is_gated = model.is_gated

    # ------------------------------------------------------------------------------- primitives

    @abstractmethod
    def below(self, tau: Floats) -> Below:
        """Integrals below each threshold, (...) of (...)."""

    @abstractmethod
    def successes(self, score: Floats) -> tuple[Floats, Floats]:
        """E[p_e | raw score], without the schema, and E[p_c | raw score], (...) of (...)."""

    @abstractmethod
    def edge_by_skill(self, score: Floats, skills: Floats) -> Floats:
        """E[p_e | raw score] had the edge another skill, (scores, skills)."""

    @abstractmethod
    def chance_easier(self, score: Floats, difficulty: float) -> Floats:
        """P(d <= difficulty | raw score), (scores,)."""

    def difficulty_density(self, d: Floats) -> Floats:
        """f_D(d)."""
        a, b = self.model.difficulty_a, self.model.difficulty_b
        return np.asarray(d ** (a - 1.0) * (1.0 - d) ** (b - 1.0) / beta_function(a, b))

    @cached_property
    def total(self) -> tuple[float, float]:
        """E[p_e], without the schema, and E[p_c], over all requests."""
        d, weight = legendre()
        mass = weight * self.difficulty_density(d)
        edge = float(mass @ self.model.edge_success_at(d, self.skill))
        return edge, float(mass @ self.model.cloud_success_at(d))

    # --------------------------------------------------------------------------- what is derived

    def gain(self, score: Floats | float) -> Floats:
        """Delta(s) = q_c(s) - q_e(s), of a draft that passed the gate where there is one."""
        edge, cloud = self.successes(np.asarray(score, dtype=np.float64))
        return cloud - (edge if self.is_gated else self.model.schema_edge * edge)

    def rates(self, tau: Floats | float) -> Rates:
        """Offload share, quality and validity of thresholds, (...) of (...); derived, 3.4 (d)."""
        tau = np.asarray(tau, dtype=np.float64)
        m, z = self.model, self.model.schema_edge
        edge, cloud = self.total
        part = self.below(tau)
        kept = z * (edge - part.edge)
        if not self.is_gated:
            valid = part.share * m.schema_cloud + (1.0 - part.share) * z
            return Rates(part.share, kept + part.cloud, valid)
        is_on = tau > 0.0
        offload = np.where(is_on, (1.0 - z) + z * part.share, 0.0)
        quality = np.where(is_on, kept + (1.0 - z) * cloud + z * part.cloud, z * edge)
        valid = np.where(is_on, z * (1.0 - part.share) + m.schema_cloud * offload, z)
        return Rates(offload, quality, valid)

    def utility(self, tau: Floats | float, extra_cost: Floats | float) -> Floats:
        """J(tau; n): expected utility of a request, (...).

        Args:
            tau: threshold.
            extra_cost: omega(n) in latency and price, see `Model.extra_cost`; broadcasts.
        """
        m, rates = self.model, self.rates(tau)
        invalid = m.w_schema * (1.0 - rates.schema_ok)
        cost = np.asarray(extra_cost) * rates.offload
        return np.asarray(m.value * rates.quality - cost - m.floor_cost - invalid)

    # -------------------------------------------------------------------------------- threshold

    @cached_property
    def logits(self) -> Floats:
        """(GRID_POINTS,) the grid of score logits, inside the support."""
        low = max(-LOGIT_LIMIT, float(logit(self.low)) if self.low > 0.0 else -np.inf)
        high = min(LOGIT_LIMIT, float(logit(self.high)) if self.high < 1.0 else np.inf)
        return np.linspace(low, high, GRID_POINTS)

    @cached_property
    def gains(self) -> Floats:
        """(GRID_POINTS,) Delta on the grid."""
        return self.gain(expit(self.logits))

    def threshold(self, extra_cost: Floats | float, mult: Floats | float = 1.0) -> Floats:
        """tau*: the unique optimum, (18) by the solver of 3.5, (...) of (...).

        Args:
            extra_cost: omega in latency and price, V = ``model.value``.
            mult: frontier multiplier, solves Delta(tau) = mult omega / V (3.7).
        """
        m = self.model
        scaled = np.asarray(extra_cost, dtype=np.float64) * np.asarray(mult)
        delta = (scaled + m.schema_cost) / m.value
        cell = np.searchsorted(-self.gains, -delta) - 1
        inner = np.clip(cell, 0, GRID_POINTS - 2)
        low, high = self.logits[inner], self.logits[inner + 1]
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            is_right = self.gain(expit(middle)) > delta
            low, high = np.where(is_right, middle, low), np.where(is_right, high, middle)
        tau = expit(0.5 * (low + high))
        tau = np.where(delta >= self.gains[0], self.least_threshold(scaled), tau)
        return np.where(delta <= self.gains[-1], 1.0, tau)

    def least_threshold(self, scaled: Floats) -> Floats:
        """Where no valid draft is sent: 0, or `GATE` where the invalid ones are worth this cost."""
        m = self.model
        if not self.is_gated:
            return np.zeros_like(scaled)
        # An invalid draft pays w_schema if it is kept, and w_schema (1 - p) if it is sent.
        worth = m.value * self.total[1] + m.w_schema * m.schema_cloud
        return np.where(worth > scaled, GATE, 0.0)

    def best(self, extra_cost: Floats | float) -> tuple[Floats, Floats]:
        """tau* and J(tau*), (...) each."""
        tau = self.threshold(extra_cost)
        return tau, self.utility(tau, extra_cost)

    def slope(self, score: Floats | float, step: float = 1e-5) -> Floats:
        """Delta'(s) by central differences."""
        s = np.asarray(score, dtype=np.float64)
        return (self.gain(s + step) - self.gain(s - step)) / (2.0 * step)

    def density(self, score: Floats | float, step: float = 1e-5) -> Floats:
        """f_S(s) of requests whose draft passed the gate, by central differences.

        It integrates to P(valid) behind a gate, else to 1: dO/dtau.
        """
        s = np.asarray(score, dtype=np.float64)
        rise = self.rates(s + step).offload - self.rates(s - step).offload
        return rise / (2.0 * step)
