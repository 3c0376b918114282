"""Solutions of many one-shot problems, and how claims about them compare.

All instances are the first rounds of the evaluation world. Schemes are compared on the rows that
both solve, by the geometric mean of the ratio of their largest deviations, with rates of
feasibility beside it: nothing is averaged over rows without a solution, and none is left unsaid.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.baselines.twin_mobility.assignments import nearest, random_balanced
from sixgym.baselines.twin_mobility.instances import instance
from sixgym.baselines.twin_mobility.problem import ALL, IDLE, Ingredients, Problem
from sixgym.baselines.twin_mobility.regions import Goal, Levels, goals, levels
from sixgym.baselines.twin_mobility.tables import tabulate
from sixgym.baselines.twin_mobility.two_layer import GREEDY, MATCHING, solve
from sixgym.envs.core.worlds import row_seed
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.leaderboard import stats
from sixgym.leaderboard.claims.rules import Finding
from sixgym.leaderboard.protocol import VERSION
from sixgym.leaderboard.stats import Interval

ROWS = 64
"""Instances of a comparison."""
COIN_SEED = 2605
AGES_ZERO: dict[str, Any] = {"preset": "ages_zero"}
"""Everybody has just reported: the setting of the comparisons of schemes."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Outer = Literal["matching", "proposal", "random", "nearest"]
"""Who assigns: the matching; its start alone; balanced groups at random; the nearest region."""


class Solved(NamedTuple):
    """What a scheme makes of rows."""

    gamma: Floats
    """(rows,) the largest deviation."""
    is_feasible: Flags
    """(rows,) whether every region gets its information."""
    speed_mps: Floats
    """(rows,) mean over the agents at work; NaN for none."""
    ratio: Floats
    """(rows,) mean compression ratio over them."""


@cache
def _solved(
    outer: Outer, free: Ingredients, rows: int, params: tuple[tuple[str, Any], ...]
) -> Solved:
    setting = TwinRoundParams.create(**dict(params))
    problem = instance(setting, rows, row_seed("evaluation", VERSION))
    fixed = assigned(problem, outer)
    rule = GREEDY if outer == "proposal" else MATCHING
    with torch.no_grad():
        found = solve(
            problem, setting, free, assignment=fixed, rule=rule, table_dtype=torch.float32
        )
    works = found.plan.region != IDLE

    def mean(item: Tensor) -> Floats:
        total = torch.where(works, item, 0.0).sum(-1) / works.sum(-1)
        return np.asarray(total.double().numpy())

    return Solved(
        np.asarray(found.gamma.double().numpy()),
        np.asarray(found.is_feasible.numpy()),
        mean(found.plan.speed_mps),
        mean(found.plan.compression),
    )


def solved(
    free: Ingredients = ALL, outer: Outer = "matching", *, rows: int = ROWS, **params: Any
) -> Solved:
    """A scheme on the first rounds of the evaluation world; found once.

    Args:
        free: which resources may be chosen.
        outer: who assigns.
        rows: instances.
        params: of `sixgym/TwinRound-v0`.
    """
    return _solved(outer, free, rows, tuple(sorted(params.items())))


def assigned(problem: Problem, outer: Outer) -> Tensor | None:
    """(S, N) int64 assignment of a simple rule; None where the solver assigns."""
    if outer == "nearest":
        return nearest(problem)
    if outer != "random":
        return None
    coins = np.random.default_rng(COIN_SEED).random(tuple(problem.cpu_max_flops.shape))
    return random_balanced(torch.from_numpy(coins), problem.num_regions)


class Table(NamedTuple):
    """What every agent can tell of every region by every time, for an even split of the band."""

    params: TwinRoundParams
    problem: Problem
    levels: Levels
    goal: Goal


def tabled(agents: int, regions: int, rows: int) -> Table:
    """The first rounds of the evaluation world at a size, everything else the default."""
    params = TwinRoundParams.create(num_agents=agents, num_regions=regions)
    problem = instance(params, rows, row_seed("evaluation", VERSION))
    band = torch.full_like(problem.cpu_max_flops, params.bandwidth_hz / agents)
    return Table(params, problem, levels(problem, tabulate(problem, band, params)), goals(problem))


def anyone(table: Table) -> Tensor:
    """All agents may be moved."""
    return torch.ones_like(table.problem.cpu_max_flops, dtype=torch.bool)


# ---------------------------------------------------------------------------------- comparisons


def common(every: Sequence[Solved]) -> Flags:
    """(rows,) which all of them solve."""
    return np.asarray(np.all([one.is_feasible for one in every], axis=0))


def mean_of(values: Floats) -> Interval:
    """Mean over rows; NaN for no rows."""
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    return stats.ratio_interval(stats.sample(values))


def geometric(values: Floats) -> Interval:
    """Geometric mean over rows."""
    return Interval(*(float(v) for v in np.exp(mean_of(np.log(values)))))


def penalty(one: Solved, other: Solved) -> Interval:
    """Geometric mean of the largest deviation of one over that of another, where both have one."""
    both = common([one, other])
    return geometric(one.gamma[both] / other.gamma[both])


def feasible(one: Solved) -> Interval:
    """Share of rows that are solved."""
    return mean_of(one.is_feasible.astype(np.float64))


def trend(what: str, values: Floats, labels: Sequence[object], *, rises: bool) -> Finding:
    """Whether the mean over rows goes one way: at every step, and beyond its interval in all.

    Args:
        what: goes.
        values: (points, rows).
        labels: of the points.
        rises: the way.
    """
    way = 1.0 if rises else -1.0
    if values.shape[1] == 0:
        return Finding(False, f"{what}: no common rows")
    for (a, x), (b, y) in pairwise(zip(values, labels, strict=True)):
        change = float((b - a).mean())
        if way * change <= 0.0:
            return Finding(False, f"{what}: from {x} to {y} it changes by {change:+.4g}")
    whole = mean_of(way * (values[-1] - values[0]))
    return Finding(whole.low > 0.0, f"{what}: from end to end it changes by {whole}")


def medians(what: str, values: Floats, *, rises: bool) -> Finding:
    """Whether the median over rows, (points, rows), goes one way at every step."""
    found = np.median(values, axis=1)
    way = np.diff(found) > 0.0 if rises else np.diff(found) < 0.0
    listed = ", ".join(f"{v:.3f}" for v in found)
    return Finding(bool(way.all()), f"{what}: medians {listed}")


def percent(values: Sequence[Interval]) -> str:
    """Shares in words."""
    return ", ".join(f"{100.0 * v.value:.0f}" for v in values) + " %"
