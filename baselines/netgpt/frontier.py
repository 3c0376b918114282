"""Quality against cost: what dynamics are worth, frontiers, and the figures of merit (3.6, 3.7, 7).

Points of a frontier are means over network states. A cost is the composite one, latency and price
above what is paid in any case.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from scipy.optimize import minimize_scalar

from sixgym.baselines.netgpt.law import GATE, ScoreLaw

Floats = NDArray[np.float64]

FIXED_GRID = np.linspace(0.0, 1.0, 201)
"""Where the best fixed threshold is bracketed. [our choice]"""
MULTIPLIERS = np.logspace(-3.0, 1.5, 40)
"""Of the dynamic frontier. [our choice: 7]"""


class Dynamics(NamedTuple):
    """The best fixed threshold, and the threshold that follows the network state (3.6)."""

    fixed: float
    """The best fixed threshold."""
    fixed_value: float
    """Its mean utility."""
    dynamic: Floats
    """(states,) tau*."""
    dynamic_value: float
    """Mean utility of it."""

    @property
    def gain(self) -> float:
        """(21), not negative."""
        return self.dynamic_value - self.fixed_value


def value_of_dynamics(law: ScoreLaw, omega: Floats, chance: Floats) -> Dynamics:
    """(21): E[max J] - max E[J] over network states.

    J is linear in omega, so the best fixed threshold is searched at the mean cost; it is found as
    a maximum on a grid and refined, not by the solver of the dynamic one.

    Args:
        law: of the score.
        omega: (states,) extra costs of the cloud.
        chance: (states,) probabilities.
    """
    mean = float(chance @ omega)
    grid = np.concatenate([[0.0, GATE], FIXED_GRID[1:]])
    near = grid[int(law.utility(grid, mean).argmax())]
    step = float(FIXED_GRID[1])
    bounds = (max(near - step, GATE), min(near + step, 1.0))
    found = minimize_scalar(
        lambda t: -float(law.utility(t, mean)),
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-9},
    )
    options = np.array([near, float(found.x)])
    values = law.utility(options, mean)
    best = int(values.argmax())
    dynamic, value = law.best(omega)
    return Dynamics(float(options[best]), float(values[best]), dynamic, float(chance @ value))


def second_order_gain(law: ScoreLaw, omega: Floats, chance: Floats) -> float:
    """The second-order form of (21): V f_S / (2 |Delta'|) Var(delta), at the mean cost.

    ``law.density`` counts all requests, so it includes the chance of a valid draft.
    """
    mean = float(chance @ omega)
    variance = float(chance @ (omega - mean) ** 2) / law.model.value**2
    tau = law.threshold(mean)
    curve = law.density(tau) / np.abs(law.slope(tau))
    return float(0.5 * law.model.value * curve * variance)


class Frontier(NamedTuple):
    """Points of one family of policies, in the order of its knob."""

    cost: Floats
    """(points,) composite cost above the floor."""
    quality: Floats
    """(points,)."""
    offload: Floats
    """(points,) share offloaded."""


def fixed_frontier(law: ScoreLaw, omega: Floats, chance: Floats, tau: Floats) -> Frontier:
    """Fixed thresholds: in every state the same share is offloaded.

    Args:
        law: of the score.
        omega: (states,).
        chance: (states,).
        tau: (points,).
    """
    rates = law.rates(tau)
    return Frontier(float(chance @ omega) * rates.offload, rates.quality, rates.offload)


def dynamic_frontier(
    law: ScoreLaw, omega: Floats, chance: Floats, mult: Floats = MULTIPLIERS
) -> Frontier:
    """Thresholds with Delta(tau_n) = mult omega_n / V: the best of all frontiers (3.7).

    Args:
        law: of the score.
        omega: (states,).
        chance: (states,).
        mult: (points,) multipliers, one for all states.
    """
    rates = law.rates(law.threshold(omega, mult[:, None]))
    return Frontier(
        rates.offload @ (chance * omega), rates.quality @ chance, rates.offload @ chance
    )


def frontier_slope(law: ScoreLaw, tau: Floats, omega: float) -> Floats:
    """dQ/dC = Delta(tau) / omega along a frontier of one network state (3.7)."""
    return law.gain(tau) / omega


def quality_at(frontier: Frontier, cost: Floats) -> Floats:
    """Quality at given costs, interpolated between the points."""
    order = np.argsort(frontier.cost, kind="stable")
    return np.asarray(np.interp(cost, frontier.cost[order], frontier.quality[order]))


# ------------------------------------------------------------------------------ figures of merit


def normalised(frontier: Frontier, edge_quality: float, cloud: tuple[float, float]) -> Frontier:
    """The frontier with AllEdge at (0, 0) and AllCloud at (1, 1), (7).

    Args:
        frontier: of points.
        edge_quality: of AllEdge.
        cloud: cost and quality of AllCloud.
    """
    cost, quality = cloud
    scaled = (frontier.quality - edge_quality) / (quality - edge_quality)
    return Frontier(frontier.cost / cost, scaled, frontier.offload)


def hypervolume(frontier: Frontier) -> float:
    """HV: area under the staircase from (0, 0) to cost 1, of a normalised frontier."""
    order = np.argsort(frontier.cost, kind="stable")
    cost = np.concatenate([[0.0], frontier.cost[order], [1.0]]).clip(0.0, 1.0)
    best = np.maximum.accumulate(np.concatenate([[0.0], frontier.quality[order]]))
    return float((np.diff(cost) * best).sum())


def improvement_in_quality(frontier: Frontier) -> float:
    """AIQ: area under the non-decreasing concave hull from (0, 0) to cost 1 [related: RouterBench].

    A chord of the hull is reached by throwing a coin between its two ends.
    """
    inside = frontier.cost <= 1.0 + 1e-12
    cost = np.concatenate([[0.0], frontier.cost[inside]])
    quality = np.concatenate([[0.0], frontier.quality[inside]])
    corners: list[tuple[float, float]] = []
    for k in np.lexsort((quality, cost)):
        point = (float(cost[k]), float(quality[k]))
        if corners and point[1] <= corners[-1][1]:
            continue
        while corners and _is_under(corners, point):
            corners.pop()
        corners.append(point)
    x, y = np.array([*corners, (1.0, corners[-1][1])]).T
    return float(trapezoid(y, x))


def _is_under(corners: list[tuple[float, float]], point: tuple[float, float]) -> bool:
    """Whether the last corner is not above the line from the one before it to the point."""
    last = corners[-1]
    if point[0] <= last[0]:
        return True
    if len(corners) < 2:
        return False
    first = corners[-2]
    rise = (last[1] - first[1]) * (point[0] - first[0])
    return rise <= (point[1] - first[1]) * (last[0] - first[0])


def average_gap_recovered(frontier: Frontier) -> float:
    """APGR: area under the recovered gap over the share offloaded [related: RouteLLM].

    Args:
        frontier: normalised, its knob from no offload to all.
    """
    order = np.argsort(frontier.offload, kind="stable")
    return float(trapezoid(frontier.quality[order], frontier.offload[order]))


def call_threshold(frontier: Frontier, recovered: float) -> float:
    """CPT(x): the least share offloaded that recovers x of the gap [related: RouteLLM].

    Not a number where none does.
    """
    order = np.argsort(frontier.offload, kind="stable")
    share, quality = frontier.offload[order], frontier.quality[order]
    reached = np.flatnonzero(quality >= recovered)
    if len(reached) == 0:
        return float("nan")
    k = int(reached[0])
    if k == 0:
        return float(share[0])
    part = (recovered - quality[k - 1]) / (quality[k] - quality[k - 1])
    return float(share[k - 1] + part * (share[k] - share[k - 1]))
