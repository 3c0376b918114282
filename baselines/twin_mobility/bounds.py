"""What no assignment and no split of the band can beat."""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.problem import ALL, Ingredients, Problem
from sixgym.baselines.twin_mobility.regions import best_refresh, goals, levels
from sixgym.baselines.twin_mobility.tables import GRID, Grid, tabulate
from sixgym.envs.twin_mobility.base_params import TwinBaseParams


def lower_bound(
    problem: Problem,
    params: TwinBaseParams,
    free: Ingredients = ALL,
    grid: Grid = GRID,
) -> Tensor:
    """(S,) the largest deviation if everyone helped every region with all the bandwidth.

    What an agent tells may jump up between two times of the grid and is tabled at the later one, so
    the bound is lowered by what a region drifts in a step. Apart from that it is as exact as the
    table, which is some 1e-4 below the most information. [derived]

    Args:
        problem: the rows.
        params: of the system.
        free: which resources may be chosen.
        grid: of the table.
    """
    band = problem.cpu_max_flops.new_full(problem.cpu_max_flops.shape, params.bandwidth_hz)
    found = levels(problem, tabulate(problem, band, params, free, grid))
    everyone = found.agents.sum(1) + found.base
    deviation = best_refresh(everyone, goals(problem), found.time_s, params).deviation
    slope = problem.drift
    if params.deviation == "ratio":
        slope = slope / -torch.expm1(-problem.theta)
    return (deviation - grid.step_s * slope).amax(-1)
