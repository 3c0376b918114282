"""Assignments by simple rules."""

from __future__ import annotations

from torch import Tensor

from sixgym.baselines.twin_mobility.problem import Problem
from sixgym.envs.twin_mobility.geometry import ground_distance


def random_balanced(uniform: Tensor, num_regions: int) -> Tensor:
    """Agents in random order, region after region: groups differ by one at most.

    Args:
        uniform: (S, N) independent uniform draws.
        num_regions: R.

    Returns:
        (S, N) int64.
    """
    rank: Tensor = uniform.argsort(-1).argsort(-1)
    return rank % num_regions


def nearest(problem: Problem) -> Tensor:
    """Every agent to the region whose centre is nearest, (S, N) int64."""
    distance = ground_distance(problem.pos.unsqueeze(2), problem.region_xy.unsqueeze(1))
    return distance.argmin(-1)
