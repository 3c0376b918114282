"""Exact assignments of small problems, for a fixed split of the band.

The deviation of a region depends on the set of its members alone, so 2^N groups a region are
evaluated once and all R^N (or (R + 1)^N) assignments are looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from torch import Tensor

from sixgym.baselines.twin_mobility.problem import ALL, IDLE, Ingredients, Problem
from sixgym.baselines.twin_mobility.regions import (
    BIG,
    Goal,
    Levels,
    best_refresh,
    goals,
    levels,
)
from sixgym.baselines.twin_mobility.tables import GRID, Grid, tabulate
from sixgym.envs.twin_mobility.base_params import TwinBaseParams

MOST_ASSIGNMENTS = 2_000_000
"""Most assignments that are enumerated; 8 agents and 4 regions with idling have 390 625."""
CELLS = 2**22

Floats = NDArray[np.float64]


class Best(NamedTuple):
    """The best of all assignments."""

    assignment: Tensor
    """(S, N) int64."""
    gamma: Tensor
    """(S,) its largest deviation."""


def group_deviations(levels: Levels, goal: Goal, params: TwinBaseParams) -> Tensor:
    """Deviations of every region with every group of agents, (S, 2^N, R).

    Args:
        levels: sums of information.
        goal: (S, R) needs.
        params: of the system.

    Returns:
        Group g holds agent n if bit n of g is set.
    """
    agents = levels.agents.shape[1]
    groups = torch.arange(2**agents, device=levels.base.device)
    member = (groups.unsqueeze(-1) >> torch.arange(agents, device=groups.device)) & 1
    member = member.to(levels.base.dtype)
    size = max(1, CELLS // levels.base.numel())
    parts = []
    for some in member.split(size):
        sums = torch.einsum("gn,snrkt->sgrkt", some, levels.agents) + levels.base.unsqueeze(1)
        parts.append(best_refresh(sums, goal.unsqueeze(1), levels.time_s, params).deviation)
    return torch.cat(parts, 1)


def all_assignments(num_agents: int, num_regions: int, *, idle: bool) -> Tensor:
    """(A, N) int64, every assignment; with idling as the last choice.

    Raises:
        ValueError: if there are too many.
    """
    choices = num_regions + idle
    count = choices**num_agents
    if count > MOST_ASSIGNMENTS:
        raise ValueError(f"{count} assignments, must be at most {MOST_ASSIGNMENTS}")
    number = torch.arange(count)
    digits = [number // choices**n % choices for n in reversed(range(num_agents))]
    table = torch.stack(digits, -1)
    return torch.where(table < num_regions, table, IDLE)


def brute_force(levels: Levels, goal: Goal, params: TwinBaseParams, *, idle: bool = False) -> Best:
    """The assignment with the least largest deviation of all.

    Args:
        levels: sums of information.
        goal: (S, R) needs.
        params: of the system.
        idle: whether agents may stay without region. With bandwidth fixed that helps nobody.
    """
    every = all_assignments(levels.agents.shape[1], goal.drift.shape[-1], idle=idle)
    return _search(group_deviations(levels, goal, params), every)


def _search(table: Tensor, every: Tensor) -> Best:
    """The best of assignments (A, N), by the deviations (S, 2^N, R) of groups."""
    rows, _, regions = table.shape
    every = every.to(table.device)
    bit = 2 ** torch.arange(every.shape[-1], device=table.device)
    group = torch.stack([((every == r) * bit).sum(-1) for r in range(regions)], -1)
    gamma = table.new_full((rows,), torch.inf)
    best = torch.zeros(rows, dtype=torch.int64, device=table.device)
    size = max(1, CELLS // rows)
    for first in range(0, every.shape[0], size):
        some = group[first : first + size]
        worst = table[:, some[:, 0], 0]
        for r in range(1, regions):
            worst = torch.maximum(worst, table[:, some[:, r], r])
        value, index = worst.min(-1)
        best = torch.where(value < gamma, first + index, best)
        gamma = torch.minimum(gamma, value)
    return Best(every[best], gamma)


def brute_force_shared(
    problem: Problem,
    params: TwinBaseParams,
    free: Ingredients = ALL,
    grid: Grid = GRID,
) -> Best:
    """The best of all assignments where those with a region share the band evenly, idling allowed.

    An agent less leaves more band for the others, so more agents never do worse than fewer.

    Args:
        problem: the rows.
        params: of the system.
        free: which resources may be chosen.
        grid: of the tables, one for each number of agents at work.
    """
    agents, need = problem.num_agents, goals(problem)
    every = all_assignments(agents, problem.num_regions, idle=True)
    count = (every != IDLE).sum(-1)
    best: Best | None = None
    for working in range(1, agents + 1):
        band = torch.full_like(problem.cpu_max_flops, params.bandwidth_hz / working)
        here = levels(problem, tabulate(problem, band, params, free, grid))
        new = _search(group_deviations(here, need, params), every[count == working])
        if best is None:
            best = new
            continue
        is_better = new.gamma < best.gamma
        best = Best(
            torch.where(is_better.unsqueeze(-1), new.assignment, best.assignment),
            torch.where(is_better, new.gamma, best.gamma),
        )
    assert best is not None
    return best


def single_deviations(levels: Levels, goal: Goal, params: TwinBaseParams) -> Tensor:
    """(S, N, R) deviations of regions that one agent serves alone."""
    sums = levels.agents + levels.base.unsqueeze(1)
    return best_refresh(sums, goal.unsqueeze(1), levels.time_s, params).deviation


def bottleneck_1to1(deviation: Tensor) -> Tensor:
    """One agent for each region, so that the largest deviation is least: exact.

    The least threshold for which a matching of all regions exists among the pairs below it.

    Args:
        deviation: (S, N, R) of single agents, N >= R.

    Returns:
        (S, N) int64; -1 for agents that are left over.
    """
    _check_enough(deviation)
    return _rowwise(deviation, _bottleneck)


def hungarian(deviation: Tensor) -> Tensor:
    """One agent for each region, so that the sum of deviations is least; arguments as above."""
    _check_enough(deviation)
    return _rowwise(deviation, _sum)


def _check_enough(deviation: Tensor) -> None:
    if deviation.shape[-2] < deviation.shape[-1]:
        raise ValueError(f"{deviation.shape[-2]} agents, must be at least {deviation.shape[-1]}")


def _bottleneck(cost: Floats) -> NDArray[np.int64]:
    """(N,) from (N, R)."""
    levels = np.unique(cost)
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        if (_pairing(cost <= levels[middle]) >= 0).all():
            high = middle
        else:
            low = middle + 1
    agents = _pairing(cost <= levels[high])
    result = np.full(cost.shape[0], IDLE)
    result[agents] = np.arange(cost.shape[1])
    return result


def _pairing(allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(R,) agent of each region in a largest matching; -1 where none is left."""
    found: NDArray[np.int64] = maximum_bipartite_matching(
        csr_matrix(allowed.T), perm_type="column"
    ).astype(np.int64)
    return found


def _sum(cost: Floats) -> NDArray[np.int64]:
    agents, regions = linear_sum_assignment(np.minimum(cost, 100.0 * BIG))
    result = np.full(cost.shape[0], IDLE)
    result[agents] = regions
    return result


def _rowwise(deviation: Tensor, one: Callable[[Floats], NDArray[np.int64]]) -> Tensor:
    rows = [one(row) for row in deviation.double().cpu().numpy()]
    return torch.from_numpy(np.stack(rows)).to(deviation.device)
