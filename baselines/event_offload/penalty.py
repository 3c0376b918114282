"""The smoothed problem and the inexact proximal-point penalty method (dossier 3.5).

A reconstruction: third-party notes say that the paper smooths the problem, makes it strongly convex
by a proximal-point penalty, and solves by accelerated gradients [notes]; the published method of
that shape is Lin, Ma and Xu, arXiv:1908.11518 [related]. The smoothing itself is derived here: with
``s_n = sigmoid(alpha (C_n - beta_u))`` and ``t_n = sigmoid(alpha (C_n - beta_l))`` an event at exit
n stops as tail with weight s_n, as head with 1 - t_n and goes on with t_n - s_n.

Each *subproblem* is strongly convex for a large enough proximal weight; the limit is a stationary
point, not a certified optimum, hence several starts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Final = str | float
"""``"head"``, ``"mid"``, ``"tail"`` or a threshold."""

ALPHA = 50.0
"""Steepness of the smoothing. [our choice, measured to work]"""
PROXIMAL = 20.0
"""rho. [our choice, measured to work]"""
PENALTY = 5.0
"""nu_0, per mJ^2. [our choice, measured to work]"""
STARTS = ((0.2, 0.8), (0.5, 0.95), (0.0, 1.0))
"""Pairs (beta_l, beta_u) to start from."""

_PENALTY_GROWTH, _PENALTY_MOST = 1.25, 2000.0
_OUTER, _OUTER_LEAST, _OUTER_STEP = 30, 8, 1e-5
_INNER, _INNER_STEP = 60, 1e-6
_CURVATURE = 50.0
"""Added to rho where the line search for the Lipschitz constant starts."""


class Soft(NamedTuple):
    """The smoothed objective and constraint at a pair, with gradients by (beta_l, beta_u)."""

    value: float
    """F0 = - P(declared tail and rightly named | tail)."""
    value_gradient: Floats
    excess: float
    """g = e - xi in mJ."""
    excess_gradient: Floats


class SoftProblem:
    """The smoothed problem of one channel state.

    Args:
        scores: (events, exits) tail confidences.
        tail: (events,) bool.
        named: (events,) 1 where the server names the event rightly.
        prevalence: pi, by which events are weighted.
        macs: (exits,) cumulative MACs.
        energy_per_mac: kappa in J.
        offload_energy: E_off in J.
        budget: xi in J.
        final: what happens to those undecided after the last exit.
        alpha: steepness.
    """

    def __init__(
        self,
        scores: Floats,
        tail: NDArray[np.bool_],
        named: Floats,
        *,
        prevalence: float,
        macs: Floats,
        energy_per_mac: float,
        offload_energy: float,
        budget: float,
        final: Final = "head",
        alpha: float = ALPHA,
    ) -> None:
        self._scores = np.ascontiguousarray(scores.T, dtype=np.float64)
        share = np.where(tail, prevalence / tail.sum(), (1.0 - prevalence) / (~tail).sum())
        self._named = np.where(tail, named, 0.0) / tail.sum()
        millijoule = 1e3
        self._compute = np.diff(np.concatenate([[0.0], macs])) * energy_per_mac * millijoule
        self._share = share
        self._offload = offload_energy * millijoule
        self._budget = budget * millijoule
        self._final, self._alpha = final, alpha
        self.evaluations = 0

    def at(self, pair: Floats) -> Soft:
        """Objective, constraint and gradients at (beta_l, beta_u)."""
        self.evaluations += 1
        exits, events = self._scores.shape
        alpha = self._alpha
        up = _sigmoid(alpha * (self._scores - pair[1]))
        stay = _sigmoid(alpha * (self._scores - pair[0]))
        d_up, d_stay = alpha * up * (up - 1.0), alpha * stay * (stay - 1.0)
        onward = stay - up
        # Rows: the quantity, its derivative by beta_l, and by beta_u.
        reach, found = np.zeros((3, events)), np.zeros((3, events))
        reach[0] = 1.0
        energy = np.zeros(3)
        for n in range(exits):
            energy += self._compute[n] * (reach @ self._share)
            found += reach * up[n]
            found[2] += reach[0] * d_up[n]
            alive = reach[0]
            reach = reach * onward[n]
            reach[1] += alive * d_stay[n]
            reach[2] -= alive * d_up[n]
        end, end_low, end_high = self._end(pair)
        found += reach * end
        found[1] += reach[0] * end_low
        found[2] += reach[0] * end_high
        energy += self._offload * (found @ self._share)
        gained = found @ self._named
        return Soft(-float(gained[0]), -gained[1:], float(energy[0]) - self._budget, energy[1:])

    def _end(self, pair: Floats) -> tuple[Floats | float, Floats | float, Floats | float]:
        """Weight of "tail" after the last exit, and its derivatives."""
        if self._final == "head":
            return 0.0, 0.0, 0.0
        if self._final == "tail":
            return 1.0, 0.0, 0.0
        score = self._scores[-1]
        if self._final == "mid":
            w = _sigmoid(self._alpha * (score - pair.mean()))
            dw = -0.5 * self._alpha * w * (1.0 - w)
            return w, dw, dw
        return _sigmoid(self._alpha * (score - float(self._final))), 0.0, 0.0


def _sigmoid(x: Floats) -> Floats:
    # tanh does not overflow, however steep.
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def project(pair: Floats) -> Floats:
    """The nearest pair with 0 <= beta_l <= beta_u <= 1.

    First onto the half-plane (both to their mean), then into the box: in the other order the result
    is not the nearest.
    """
    if pair[0] > pair[1]:
        pair = np.full(2, pair.mean())
    return np.clip(pair, 0.0, 1.0)


class PenaltyResult(NamedTuple):
    """Where the method ended."""

    pair: Floats
    """(2,) beta_l, beta_u."""
    soft: Soft
    evaluations: int
    """Of the smoothed functions."""
    rounds: int
    """Subproblems solved."""


def solve_penalty(problem: SoftProblem, start: tuple[float, float]) -> PenaltyResult:
    """The proximal-point penalty method from one start.

    z' = argmin F0(z) + nu_k/2 [g(z)]_+^2 + rho/2 |z - z_k|^2 over the triangle, with nu_k growing.

    Args:
        problem: smoothed.
        start: (beta_l, beta_u).
    """
    before = problem.evaluations
    pair = project(np.asarray(start, dtype=np.float64))
    rounds = 0
    for k in range(_OUTER):
        rounds += 1
        nu = min(PENALTY * _PENALTY_GROWTH**k, _PENALTY_MOST)
        found = _subproblem(problem, pair, nu)
        step = float(np.linalg.norm(found - pair))
        pair = found
        if k > _OUTER_LEAST and step < _OUTER_STEP:
            break
    return PenaltyResult(pair, problem.at(pair), problem.evaluations - before, rounds)


def _subproblem(problem: SoftProblem, centre: Floats, nu: float) -> Floats:
    """One subproblem by Nesterov's method with a doubling line search."""

    def merit(z: Floats) -> tuple[float, Floats]:
        soft = problem.at(z)
        over = max(soft.excess, 0.0)
        away = z - centre
        value = soft.value + 0.5 * nu * over**2 + 0.5 * PROXIMAL * float(away @ away)
        slope = soft.value_gradient + nu * over * soft.excess_gradient + PROXIMAL * away
        return value, slope

    bound = PROXIMAL + _CURVATURE
    here, ahead = centre, centre
    for _ in range(_INNER):
        value, slope = merit(ahead)
        while True:
            trial = project(ahead - slope / bound)
            move = trial - ahead
            model = value + float(slope @ move) + 0.5 * bound * float(move @ move)
            if merit(trial)[0] <= model + 1e-12:
                break
            bound *= 2.0
        ratio = np.sqrt(PROXIMAL / bound)
        step = trial - here
        ahead = project(trial + (1.0 - ratio) / (1.0 + ratio) * step)
        here = trial
        if float(np.linalg.norm(step)) < _INNER_STEP:
            break
    return here


def required_proximal(problem: SoftProblem, nu: float, points: int = 101) -> float:
    """The proximal weight above which every subproblem is certainly strongly convex on a grid.

    The largest negative curvature of F0 + nu/2 [g]_+^2, by central differences of the analytic
    gradient.

    Args:
        problem: smoothed.
        nu: weight of the penalty.
        points: of the grid along each axis.
    """
    step = 1e-4

    def slope(z: Floats) -> Floats:
        soft = problem.at(z)
        return soft.value_gradient + nu * max(soft.excess, 0.0) * soft.excess_gradient

    worst = 0.0
    axis = np.linspace(0.0, 1.0, points)
    for i, low in enumerate(axis):
        for high in axis[i:]:
            z = np.array([low, high])
            columns = [(slope(z + d) - slope(z - d)) / (2.0 * step) for d in np.eye(2) * step]
            hessian = np.stack(columns, 1)
            worst = max(worst, -float(np.linalg.eigvalsh(0.5 * (hessian + hessian.T))[0]))
    return worst
