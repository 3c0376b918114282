"""The theorem of the unique threshold: its condition, its closed forms, how it moves (3.1 to 3.4).

A request gains V (Delta(s) - delta(n)) by being sent to the cloud. If Delta falls strictly, the
best of all rules sends what scores below one threshold, the root of Delta(tau) = delta. The paper
states uniqueness and monotonicity "under mild regularity"; the statements here are the dossier's
reconstruction. [derived]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit

from sixgym.baselines.netgpt.law import ScoreLaw
from sixgym.baselines.netgpt.model import Model, Network

Floats = NDArray[np.float64]
Gain = Callable[[Floats], Floats]
"""Delta by score, (n,) of (n,)."""

GRID = 2001
"""Points of the test of A1. [our choice]"""


# ------------------------------------------------------------------------------ the condition A1


def check_single_crossing(gain: Gain, low: float = 0.0, high: float = 1.0) -> bool:
    """Whether Delta falls strictly on a grid (A1), so that one threshold is optimal at any cost.

    Args:
        gain: Delta.
        low: lowest score looked at.
        high: highest score looked at; both inside the support.
    """
    value = gain(np.linspace(low, high, GRID))
    return bool((np.diff(value) < 0.0).all())


def require_single_crossing(gain: Gain, low: float = 0.0, high: float = 1.0) -> None:
    """Refuse a model in which thresholds need not be optimal.

    Raises:
        ValueError: Delta does not fall strictly.
    """
    if not check_single_crossing(gain, low, high):
        raise ValueError(
            f"Delta(s) on [{low}, {high}]: rises somewhere, so several thresholds may be needed; "
            "allowed: strictly falling (A1)"
        )


def crossings(gain: Gain, level: float, low: float = 0.0, high: float = 1.0) -> list[float]:
    """All roots of Delta(s) = level that a grid of `GRID` points tells apart, ascending."""
    score = np.linspace(low, high, GRID)
    sign = np.sign(gain(score) - level)
    found = np.flatnonzero(sign[:-1] * sign[1:] < 0.0)

    def gap(s: float) -> float:
        return float(gain(np.array([s]))[0]) - level

    roots = [float(brentq(gap, score[k], score[k + 1], xtol=1e-13)) for k in found]
    return sorted(roots + [float(s) for s in score[sign == 0.0]])


# --------------------------------------------------------------------------------- closed forms


def calibrated_threshold(model: Model, extra_cost: Floats | float) -> Floats:
    """(20): clip(p_c - delta, 0, 1), for a score that is the edge's chance of success.

    Needs sigma_s = 0, a fresh scorer, the gate, and a cloud as good for all requests.

    Args:
        model: the constants.
        extra_cost: omega.
    """
    return np.clip(_target(model, extra_cost), 0.0, 1.0)


def stale_threshold(
    model: Model, extra_cost: Floats | float, skill: float, skill_rm: float
) -> Floats:
    """3.4 (b): the same where the scorer is from when the skill was ``skill_rm``."""
    shift = model.edge_slope * (skill - skill_rm)
    return np.asarray(expit(logit(calibrated_threshold(model, extra_cost)) - shift))


def difficulty_threshold(model: Model, extra_cost: Floats | float, skill: Floats | float) -> Floats:
    """3.4 (c): for the score 1 - d, which does not move with the skill (no gate).

    Args:
        model: the constants.
        extra_cost: omega.
        skill: kappa; broadcasts.
    """
    ratio = np.clip(_target(model, extra_cost) / model.schema_edge, 0.0, 1.0)
    tau = 1.0 - np.asarray(skill) + logit(ratio) / model.edge_slope
    return np.asarray(np.clip(tau, 0.0, 1.0))


def _target(model: Model, extra_cost: Floats | float) -> Floats:
    """p_c - delta(n)."""
    cost = np.asarray(extra_cost, dtype=np.float64) + model.schema_cost
    return np.asarray(model.cloud_success - cost / model.value)


class Affine(NamedTuple):
    """Coefficients of FuncDyn-A, tau = clip(base - rtt R - bandwidth / B - price m), (34)."""

    base: float
    rtt: float
    """Per s."""
    bandwidth: float
    """Mbit/s."""
    price: float
    """Per unit of the multiplier m."""

    def thresholds(self, network: Network) -> Floats:
        """Thresholds of network states, clipped to [0, 1]."""
        tau = self.base - self.rtt * network.rtt - self.bandwidth / network.bandwidth
        return np.asarray(np.clip(tau - self.price * np.asarray(network.mult), 0.0, 1.0))


def analytic_affine(model: Model) -> Affine:
    """The coefficients with which FuncDyn-A is the optimum of a calibrated score, (20) and (34)."""
    m = model
    floor = m.floor_cost if m.mode == "pre" else 0.0
    fixed = m.w_latency * float(m.serving_s()) + m.schema_cost - floor
    return Affine(
        m.cloud_success - fixed / m.value,
        m.w_latency * m.rtt_rounds / m.value,
        m.w_latency * float(m.megabits()) / m.value,
        m.w_price * float(m.list_price()) / m.value,
    )


# ------------------------------------------------------------------------------------ derivatives


class Sensitivity(NamedTuple):
    """Derivatives of tau*, (19); not a number where it is not interior.

    In a cascade all but those by B and by V are negative.
    """

    rtt: Floats
    """Per s."""
    bandwidth: Floats
    """Per Mbit/s; positive."""
    mult: Floats
    """Per unit of the price multiplier."""
    w_latency: Floats
    """Per unit of lambda_L; in pre mode its sign is that of L_e - L_c."""
    w_price: Floats
    """Per unit of lambda_P; in pre mode its sign is that of P_e - P_c."""
    value: Floats
    """Per unit of V; positive where the cloud costs more than the edge."""


def sensitivity(law: ScoreLaw, network: Network) -> Sensitivity:
    """(19): d tau* / d theta = (d delta / d theta) / Delta'(tau*), where tau* is interior.

    Without the penalty of late answers, which has no derivative.
    """
    m = law.model
    omega = m.extra_cost(network)
    steep = law.slope(law.threshold(omega)) * m.value
    is_pre = m.mode == "pre"
    latency = m.cloud_latency(network) - (m.edge_latency() if is_pre else 0.0)
    price = m.list_price() * network.mult - (m.edge_price if is_pre else 0.0)
    return Sensitivity(
        m.w_latency * m.rtt_rounds / steep,
        -m.w_latency * m.megabits() / network.bandwidth**2 / steep,
        m.w_price * m.list_price() / steep,
        latency / steep,
        price / steep,
        -(omega + m.schema_cost) / m.value / steep,
    )


# ------------------------------------------------------------------------------------ uniform toy


class UniformToy(NamedTuple):
    """3.4 (e): s uniform on (0, 1), q_e(s) = s, q_c = cloud, V = 1: everything by hand."""

    cloud: float = 0.95
    """c: success of the cloud."""

    def quality(self, tau: Floats | float) -> Floats:
        """Q = c tau + (1 - tau^2) / 2; tau is the share offloaded too."""
        t = np.asarray(tau, dtype=np.float64)
        return np.asarray(self.cloud * t + 0.5 * (1.0 - t * t))

    def utility(self, tau: Floats | float, omega: Floats | float) -> Floats:
        """U = 1/2 + (c - omega) tau - tau^2 / 2."""
        return np.asarray(self.quality(tau) - np.asarray(omega) * np.asarray(tau))

    def threshold(self, omega: Floats | float) -> Floats:
        """tau* = c - omega, within [0, 1]."""
        return np.clip(self.cloud - np.asarray(omega, dtype=np.float64), 0.0, 1.0)

    def oracle_utility(self, omega: float) -> float:
        """Of who knows both outcomes: 1/2 + c (1 - omega) / 2 for omega < 1."""
        return 0.5 + 0.5 * self.cloud * (1.0 - omega)

    def gain_of_dynamics(self, omega: Floats, chance: Floats) -> float:
        """Over the best fixed threshold, all interior: Var(omega) / 2 exactly."""
        mean = float(chance @ omega)
        return 0.5 * float(chance @ (omega - mean) ** 2)

    def shared_equilibrium(self, omega: float, load: float) -> float:
        """Threshold where nobody wants to change; load = lambda_L K D / B (3.8)."""
        return (self.cloud - omega) / (1.0 + load)

    def shared_optimum(self, omega: float, load: float) -> float:
        """Threshold that is best for all together (3.8)."""
        return (self.cloud - omega) / (1.0 + 2.0 * load)


# ---------------------------------------------------------------------------- counter-example 3.10


def hard_cloud_gain(d: Floats) -> Floats:
    """Delta by difficulty where the cloud too fails on the hardest: it rises, then falls (3.10)."""
    return np.asarray(0.97 * expit(12.0 * (0.85 - d)) - expit(8.0 * (0.55 - d)))
