"""The deviation of a region for a group of agents: when to refresh it, and what that gives.

The information of a group is the sum of its members'. Waiting costs drift and earns information;
the best time is where the two balance, or the first that meets the requirement. [derived]
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.problem import Problem
from sixgym.baselines.twin_mobility.tables import Table
from sixgym.envs.backend.solvers import golden_section
from sixgym.envs.twin_mobility import twin
from sixgym.envs.twin_mobility.base_params import TwinBaseParams

BIG = 1000.0
"""Deviation of a region that does not get its information, to which the lack is added. [ours]"""
LACK = 1e-3
"""The same addition where a value for regions without update is given."""
GOLDEN_STEPS = 24
ENOUGH = 1.0 - 1e-12
"""Share of the required information that counts as all of it: rounding."""


class Levels(NamedTuple):
    """Sums of information over the time grid.

    Their last axes are (2, T): at the times, and just before them; what jumps between two times of
    the grid counts at the later one only.
    """

    agents: Tensor
    """(S, N, R, 2, T) of every agent in every region, nat."""
    base: Tensor
    """(S, R, 2, T) of committed agents."""
    time_s: Tensor
    """(T,) s."""

    def rows(self, index: Tensor) -> Levels:
        """Some of the rows."""
        return Levels(self.agents[index], self.base[index], self.time_s)


class Goal(NamedTuple):
    """What a region needs, broadcast with the sums but for their last two axes."""

    drift: Tensor
    theta: Tensor
    age_s: Tensor
    unserved: Tensor | None
    """Deviation without update; None: `BIG`."""

    def unsqueeze(self, axis: int) -> Goal:
        """With an axis of length 1 put in."""
        return Goal._make(None if item is None else item.unsqueeze(axis) for item in self)

    def rows(self, index: Tensor) -> Goal:
        """Some of the rows."""
        return Goal._make(None if item is None else item[index] for item in self)

    def of(self, region: Tensor) -> Goal:
        """Those of regions (S, ...), int64 >= 0, from (S, R)."""
        flat = region.flatten(1)
        return Goal._make(None if i is None else i.gather(1, flat).view(region.shape) for i in self)


class Refresh(NamedTuple):
    """The best moment of a refresh, of the shape of the sums but for their last two axes."""

    deviation: Tensor
    """D; a soft value where no time is late enough."""
    time_s: Tensor
    """T, s; the last of the grid where none is late enough."""
    info: Tensor
    """nat by then."""
    is_possible: Tensor
    """Whether the requirement can be met."""


def goals(problem: Problem) -> Goal:
    """The regions' needs, (S, R)."""
    return Goal(problem.drift, problem.theta, problem.age_s, problem.unserved)


def levels(problem: Problem, table: Table) -> Levels:
    """Sums that groups are made of.

    Args:
        problem: the rows, whose committed agents are a base that steps up as they deliver.
        table: of the agents.
    """
    earlier = torch.nn.functional.pad(table.info[..., :-1], (1, 0))
    before = torch.where(earlier > 0.0, table.info, 0.0)
    base = committed(problem, table.time_s)
    return Levels(torch.stack([table.info, before], -2), base, table.time_s)


def committed(problem: Problem, time_s: Tensor) -> Tensor:
    """Information of committed agents by each time and before it, (S, R, 2, T)."""
    shape = (problem.num_rows, problem.num_regions, 2, time_s.numel())
    if problem.step_region is None:
        return problem.theta.new_zeros(shape)
    assert problem.step_time_s is not None
    assert problem.step_info is not None
    region = torch.arange(problem.num_regions, device=time_s.device)
    member = (problem.step_region.unsqueeze(-1) == region).to(time_s.dtype)
    given = member * problem.step_info.unsqueeze(-1)
    by_now = (problem.step_time_s.unsqueeze(-1) <= time_s).to(time_s.dtype)
    now = torch.einsum("snr,snt->srt", given, by_now)
    at_once = (problem.step_time_s <= 0.0).to(time_s.dtype)
    first = torch.einsum("snr,sn->sr", given, at_once).unsqueeze(-1)
    return torch.stack([now, torch.cat([first, now[..., :-1]], -1)], -2)


def group_sums(levels: Levels, member: Tensor) -> Tensor:
    """Sums of groups with the committed agents, (S, ..., R, 2, T).

    Args:
        levels: of the rows.
        member: (S, ..., N, R) 1 where an agent is in the group of a region.
    """
    lead = member.flatten(1, -3) if member.dim() > 3 else member.unsqueeze(1)
    sums = torch.einsum("scnr,snrkt->scrkt", lead.to(levels.agents.dtype), levels.agents)
    sums = sums + levels.base.unsqueeze(1)
    return sums.view(*member.shape[:-2], *sums.shape[2:])


def best_refresh(sums: Tensor, goal: Goal, time_s: Tensor, params: TwinBaseParams) -> Refresh:
    """When a group refreshes its region best, exact for information linear between grid times.

    Args:
        sums: (..., 2, T) nat, see `Levels`.
        goal: (...) of the regions.
        time_s: (T,) s, evenly spaced.
        params: mode and weight of the deviation.
    """
    now, before = sums.unbind(-2)
    theta = (goal.theta * ENOUGH).unsqueeze(-1)
    age = goal.age_s.unsqueeze(-1) + time_s
    score = twin.deviation(goal.drift.unsqueeze(-1), age, now, params)
    least, best = torch.where(now >= theta, score, torch.inf).min(-1)
    possible = torch.isfinite(least)
    time, last = time_s[best], time_s.numel() - 1
    info = now.gather(-1, best.unsqueeze(-1)).squeeze(-1)
    step = float(time_s[1] - time_s[0]) if last else 1.0

    def at(item: Tensor, index: Tensor) -> Tensor:
        return item.gather(-1, index.clamp(0, last).unsqueeze(-1)).squeeze(-1)

    for back in (1, 0):
        start = time_s[best] - back * step
        low, high = at(now, best - back), at(before, best - back + 1)
        is_inside = (best >= back) if back else (best < last)
        found = _inside(start, step, low, high, goal, params)
        is_better = possible & is_inside & (found[0] < least)
        least, time, info = (
            torch.where(is_better, new, old)
            for new, old in zip(found, (least, time, info), strict=True)
        )
    return Refresh(
        torch.where(possible, least, _soft(goal, now[..., -1])),
        torch.where(possible, time, time_s[-1]),
        torch.where(possible, info, now[..., -1]),
        possible,
    )


def interior_information(drift: Tensor, growth: Tensor, omega: float) -> Tensor:
    """Information at which waiting stops to pay: ln(omega İ / lambda), nat.

    With information growing by İ nat/s the deviation lambda T + omega e^-I is least there: the
    fidelity 1 - lambda / (omega İ). [derived]
    """
    return (omega * growth / drift).log()


def _inside(
    start: Tensor, step: float, low: Tensor, high: Tensor, goal: Goal, params: TwinBaseParams
) -> tuple[Tensor, Tensor, Tensor]:
    """Least deviation, its time and information in one interval of the grid.

    The deviation is infinite where nothing is possible.
    """
    growth = (high - low).clamp_min(0.0) / step
    least = torch.maximum(low, goal.theta * ENOUGH)
    possible = (high >= least) & (growth > 0.0)
    safe = torch.where(possible, growth, 1.0)
    most = torch.maximum(high, least)

    def score(info: Tensor) -> Tensor:
        age = goal.age_s + start + (info - low) / safe
        return twin.deviation(goal.drift, age, info, params)

    if params.deviation == "additive":
        info = interior_information(goal.drift, safe, params.omega).clamp(least, most)
    else:
        info = golden_section(score, least, most, GOLDEN_STEPS).point
        # its end may be the best, which the search only approaches
        info = torch.where(score(least) <= score(info), least, info)
    value = torch.where(possible, score(info), torch.inf)
    return value, start + (info - low) / safe, info


def _soft(goal: Goal, most: Tensor) -> Tensor:
    """Value of a region that does not get its information; falls with what it could get."""
    lack = (goal.theta - most).clamp_min(0.0)
    if goal.unserved is None:
        return BIG * (1.0 + lack)
    return goal.unserved + LACK * lack
