"""The budget on average over the channel: an exact linear programme by its dual (dossier 3.3).

Over randomised stationary policies the problem is

    max  sum_h p_h sum_k x_hk f_hk   s.t.  sum_h p_h sum_k x_hk e_hk <= xi,  sum_k x_hk = 1,  x >= 0

with h the channel state and k the operating point. For a price lambda on energy the states
decouple, k(h) = argmax_k f_hk - lambda e_hk, and the dual has one variable. Strong duality holds
because policies may be randomised, so what is found is the optimum, and no policy that keeps the
average budget beats it. [standard]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDS = 200
"""More than any instance takes: every round removes a corner of the dual, which has finitely
many."""


class AveragePlan(NamedTuple):
    """An optimal randomised policy: ``rich`` with probability ``weight``, else ``lean``."""

    lean: Ints
    """(states,) the solution within the budget."""
    rich: Ints
    """(states,) the adjacent solution beyond it (or the same, where the budget does not bind)."""
    weight: float
    price: float
    """The optimal lambda, in 1/J."""
    value: float
    """The average of f."""
    energy: float
    """The average of e, in J."""


def solve_average(value: Floats, energy: Floats, probability: Floats, budget: float) -> AveragePlan:
    """The optimum under a budget on average.

    The price is bracketed by a solution within the budget and one beyond it. The price at which
    those two are worth the same is tried next; when nothing better is found there it is optimal,
    and mixing the two spends the budget exactly. (Bisection of the price with a finite end: every
    trial is a cutting plane of the dual.)

    Args:
        value: (points,) or (states, points) f.
        energy: (states, points) e in J, not negative.
        probability: (states,) of the states, with sum 1.
        budget: xi in J.

    Raises:
        ValueError: even the cheapest points exceed the budget.
    """
    f = np.broadcast_to(value, energy.shape)

    def best(price: float) -> tuple[Ints, float, float]:
        worth = f - price * energy
        top = worth.max(1, keepdims=True)
        # Of equally good points the cheapest, so that a price of zero wastes nothing.
        chosen = np.where(worth >= top, energy, np.inf).argmin(1).astype(np.int64)
        return chosen, _mean(f, chosen, probability), _mean(energy, chosen, probability)

    rich, f_rich, e_rich = best(0.0)
    if e_rich <= budget:
        return AveragePlan(rich, rich, 0.0, 0.0, f_rich, e_rich)
    floor = energy.min(1, keepdims=True)
    lean = np.where(energy <= floor, f, -np.inf).argmax(1).astype(np.int64)
    f_lean, e_lean = _mean(f, lean, probability), _mean(energy, lean, probability)
    if e_lean > budget:
        raise ValueError(f"budget={budget!r}: the cheapest points need {e_lean!r} J on average")
    price = 0.0
    for _ in range(_ROUNDS):
        price = (f_rich - f_lean) / (e_rich - e_lean)
        chosen, f_new, e_new = best(price)
        if f_new - price * e_new <= f_lean - price * e_lean + 1e-15:
            break
        if e_new > budget:
            rich, f_rich, e_rich = chosen, f_new, e_new
        else:
            lean, f_lean, e_lean = chosen, f_new, e_new
    weight = (budget - e_lean) / (e_rich - e_lean)
    mixed = f_lean + weight * (f_rich - f_lean)
    return AveragePlan(lean, rich, weight, price, mixed, e_lean + weight * (e_rich - e_lean))


def _mean(values: Floats, chosen: Ints, probability: Floats) -> float:
    """The average over the states of the chosen points."""
    picked = np.take_along_axis(values, chosen[:, None], 1)[:, 0]
    return float(picked @ probability)


def best_per_state(value: Floats, energy: Floats, budget: float) -> tuple[Ints, NDArray[np.bool_]]:
    """The best point of each state under a budget in each state.

    Args:
        value: (points,) or (states, points).
        energy: (states, points) in J.
        budget: xi in J.

    Returns:
        (states,) index of the first best feasible point, and (states,) whether there is one.
    """
    feasible = energy <= budget
    masked = np.where(feasible, np.broadcast_to(value, energy.shape), -np.inf)
    return masked.argmax(1).astype(np.int64), np.asarray(feasible.any(1))


def randomised_per_state(value: Floats, energy: Floats, budget: float) -> Floats:
    """(states,) the best randomised value under a budget in each state; 0 where none is feasible.

    Args:
        value: (points,) or (states, points).
        energy: (states, points) in J.
        budget: xi in J.
    """
    one = np.ones(1)
    found = np.zeros(len(energy))
    for h, costs in enumerate(energy):
        if costs.min() <= budget:
            row = np.broadcast_to(value, energy.shape)[h : h + 1]
            found[h] = solve_average(row, costs[None], one, budget).value
    return found


def best_fixed(
    value: Floats, energy: Floats, probability: Floats, budget: float, *, everywhere: bool
) -> int | None:
    """The best single point for all states.

    Args:
        value: (points,) or (states, points).
        energy: (states, points) in J.
        probability: (states,) of the states.
        budget: xi in J.
        everywhere: within the budget in every state of positive probability, not only on average.

    Returns:
        Its index; None where no point is feasible.
    """
    possible = energy[probability > 0.0]
    spent = possible.max(0) if everywhere else probability @ energy
    mean = probability @ np.broadcast_to(value, energy.shape)
    score = np.where(spent <= budget, mean, -np.inf)
    return int(score.argmax()) if np.isfinite(score).any() else None
