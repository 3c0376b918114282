"""Offloading as an investment: dynamic programming over what the edge has learnt (3.9).

The state is (N, regime): N grows by ``K O(tau) p_c`` a slot; edge and scorer are updated at once.
Solved by policy iteration on a grid of N, exact for that grid and linear interpolation. The theory
is for a score that does not move with the skill (1 - d); any other law may be put in. [derived]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.netgpt.law import ScoreLaw
from sixgym.baselines.netgpt.laws import DifficultyLaw
from sixgym.baselines.netgpt.model import TRANSITION, Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Family = Callable[[float], ScoreLaw]
"""The law of the score of an edge that has a given skill."""

SAMPLES = np.concatenate([[0.0], np.geomspace(20.0, 60_000.0, 119)])
"""(points,) N. [our choice: 3.9]"""
THRESHOLDS = np.linspace(0.0, 1.0, 401)
"""(actions,) tau. [our choice: 3.9]"""
MOST_ROUNDS = 60
"""Of policy iteration, which takes about ten."""


@dataclass(frozen=True)
class Investment:
    """The optimal thresholds of a learning edge.

    Attributes:
        tau: (points, regimes) tau^DP.
        myopic: (points, regimes) the best threshold of the grid for this slot alone.
        value: (points, regimes) V, discounted utility of the slots to come.
        discount: gamma.
    """

    tau: Floats
    myopic: Floats
    value: Floats
    discount: float

    @property
    def premium(self) -> Floats:
        """(points, regimes) tau^DP - tau*: not negative, (22)."""
        return self.tau - self.myopic

    def premium_at(self, samples: Floats, regime: Ints) -> Floats:
        """(rows,) the premium, linear in N."""
        return _interpolated(self.premium, samples, regime)


def _interpolated(table: Floats, samples: Floats, regime: Ints) -> Floats:
    index, weight = _places(np.asarray(samples, dtype=np.float64))
    return (1.0 - weight) * table[index, regime] + weight * table[index + 1, regime]


def _places(samples: Floats) -> tuple[Ints, Floats]:
    """Left neighbour on the grid of N, and the weight of the right one; N is capped."""
    inside = np.clip(samples, 0.0, SAMPLES[-1])
    index = np.clip(np.searchsorted(SAMPLES, inside, side="right") - 1, 0, len(SAMPLES) - 2)
    weight = (inside - SAMPLES[index]) / (SAMPLES[index + 1] - SAMPLES[index])
    return index.astype(np.int64), weight


def slot_values(model: Model, omega: Floats, family: Family) -> tuple[Floats, Floats]:
    """What each threshold does at each N.

    Returns:
        J, utility of a request with the floor cost, (points, regimes, actions), and the share
        offloaded, (points, actions).
    """
    values, shares = [], []
    for skill in model.skill(SAMPLES):
        law = family(float(skill))
        share = law.rates(THRESHOLDS).offload
        values.append(law.utility(THRESHOLDS, 0.0) - omega[:, None] * share)
        shares.append(share)
    return np.stack(values), np.stack(shares)


def solve_investment(
    model: Model,
    omega: Floats,
    discount: float,
    transition: Floats = TRANSITION,
    family: Family | None = None,
) -> Investment:
    """The optimum over all stationary policies of the grid, by policy iteration.

    Args:
        model: the constants.
        omega: (regimes,) extra costs.
        discount: gamma, below 1.
        transition: (regimes, regimes) of the network.
        family: laws of the score by skill; None: that of 1 - d.

    Raises:
        ValueError: a discount outside [0, 1).
    """
    if not 0.0 <= discount < 1.0:
        raise ValueError(f"discount={discount}: allowed: at least 0, below 1")
    laws = family if family is not None else lambda skill: DifficultyLaw(model, skill)
    reward, share = slot_values(model, omega, laws)
    grown = SAMPLES[:, None] + model.requests * model.cloud_success * share
    index, weight = _places(grown)
    best = reward.argmax(2)
    value = np.zeros(best.shape)
    for _ in range(MOST_ROUNDS):
        value = _evaluate(reward, best, index, weight, discount, transition)
        ahead = value @ transition.T
        later = (1.0 - weight)[..., None] * ahead[index] + weight[..., None] * ahead[index + 1]
        worth = reward + discount * later.transpose(0, 2, 1)
        better = worth.argmax(2)
        gains = np.take_along_axis(worth, better[..., None], 2)[..., 0]
        held = np.take_along_axis(worth, best[..., None], 2)[..., 0]
        better = np.where(gains > held + 1e-12, better, best)
        if (better == best).all():
            break
        best = better
    return Investment(THRESHOLDS[best], THRESHOLDS[reward.argmax(2)], value, discount)


def _evaluate(
    reward: Floats,
    action: Ints,
    index: Ints,
    weight: Floats,
    discount: float,
    transition: Floats,
) -> Floats:
    """(points, regimes) the value of a policy, by one linear system."""
    points, regimes = action.shape
    place = np.arange(points)[:, None]
    left, right = index[place, action], weight[place, action]
    moves = np.zeros((points, regimes, points, regimes))
    state = np.arange(regimes)[None, :]
    moves[place, state, left] += (1.0 - right)[..., None] * transition
    moves[place, state, left + 1] += right[..., None] * transition
    size = points * regimes
    paid = np.take_along_axis(reward, action[..., None], 2).reshape(size)
    system = np.eye(size) - discount * moves.reshape(size, size)
    return np.asarray(np.linalg.solve(system, paid).reshape(points, regimes))
