"""Cycles of idle agents on top of what is on its way: the two layers once, for one dispatch.

The time grid and the prices are coarser than those of the one-shot problem, and there is one pass:
plans are exact for the assignment and the time, which may be some per cent from the best. The band
is split evenly, as nobody knows ahead who will transmit when.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.instances import controls
from sixgym.baselines.twin_mobility.matching import match, members, propose
from sixgym.baselines.twin_mobility.problem import ALL, IDLE, Problem
from sixgym.baselines.twin_mobility.realise import Plan, realise
from sixgym.baselines.twin_mobility.regions import (
    Refresh,
    best_refresh,
    goals,
    group_sums,
    levels,
)
from sixgym.baselines.twin_mobility.tables import Grid, Table, tabulate
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.twin import deviation

GRID = Grid(fractions=6, prices=16, step_s=2.0, times=90, visits=2)
"""Where information is tabled."""
ENOUGH = 1.0 - 1e-3
"""Share of the required information that counts as all of it: what is held is rounded."""
HALF = 0.5
"""An agent that cannot tell this share of what is required does not go alone."""


class Coming(NamedTuple):
    """What is on the way, by time from now; agents grow as they are sent."""

    region: Tensor
    """(S, N) int64, -1 for nothing."""
    sensed_s: Tensor
    """(S, N) when the sample is taken; negative where it is held."""
    due_s: Tensor
    """(S, N) when it is delivered."""
    info: Tensor
    """(S, N) nat."""


def expected_age(coming: Coming, problem: Problem, time_s: Tensor) -> Tensor:
    """Age that a twin will have at a time, given what is on the way.

    The newest sample that suffices alone counts; where only all samples together suffice, the
    oldest of them.

    Args:
        coming: what is on the way.
        problem: ages and required information.
        time_s: (S, K, R) from now.

    Returns:
        (S, K, R) s.
    """
    index = torch.arange(problem.num_regions, device=time_s.device)
    serves = coming.region.unsqueeze(-1) == index  # (S, N, R)
    arrives = serves.unsqueeze(1) & (coming.due_s[:, None, :, None] <= time_s.unsqueeze(2))
    info = torch.where(arrives, coming.info[:, None, :, None], 0.0)
    sensed = coming.sensed_s[:, None, :, None]
    theta = problem.theta[:, None, None, :] * ENOUGH
    stamp = -problem.age_s.unsqueeze(1)
    alone = torch.where(info >= theta, sensed, -torch.inf).amax(2)
    oldest = torch.where(arrives, sensed, torch.inf).amin(2)
    together = torch.where(info.sum(2) >= theta[:, 0], oldest, -torch.inf)
    return time_s - torch.maximum(stamp, torch.maximum(alone, together))


# ---------------------------------------------------------------------------------------- the plan


class Cycles(NamedTuple):
    """What agents are to do, (S, K) each; times from now on."""

    region: Tensor
    """int64, -1 for agents that stay."""
    level: Tensor
    """(S, K, 7)."""
    sensed_s: Tensor
    due_s: Tensor
    info: Tensor


def _cycles(plan: Plan, problem: Problem, params: TwinSyncParams) -> Cycles:
    level = controls(plan, problem.cpu_max_flops, params)
    level[..., -1] = 1.0
    return Cycles(plan.region, level, plan.stage_s[..., :2].sum(-1), plan.duration_s, plan.info)


def plan_cycles(problem: Problem, params: TwinSyncParams, coming: Coming) -> Cycles:
    """Regions and plans of idle agents.

    Args:
        problem: of the idle agents.
        params: with the band that they are to share.
        coming: what is on the way.
    """
    table = _table(problem, params)
    here, need = levels(problem, table), goals(problem)
    movable = torch.ones_like(problem.energy_j, dtype=torch.bool)
    start = propose(here, need, movable, params)
    found = match(here, need, start, movable, params).assignment
    sums = group_sums(here, members(found, problem.num_regions))
    refresh = best_refresh(sums, need, here.time_s, params)
    band = _even(problem, params)
    plan = realise(problem, found, band, table, refresh, params, ALL)
    cycles = _cycles(plan, problem, params)
    spare = cycles.region == IDLE
    if not bool(spare.any()):
        return cycles
    coming = Coming(*(torch.cat([a, b], 1) for a, b in zip(coming, _of(cycles), strict=True)))
    lone = Lone.of(problem, table, params)
    region = where_alone(lone, problem, coming, spare, params)
    return lone.plan(region, cycles, params)


def _of(cycles: Cycles) -> Coming:
    return Coming(cycles.region, cycles.sensed_s, cycles.due_s, cycles.info)


def _even(problem: Problem, params: TwinSyncParams) -> Tensor:
    return torch.full_like(problem.energy_j, params.bandwidth_hz / problem.num_agents)


def _table(problem: Problem, params: TwinSyncParams) -> Table:
    band = _even(problem, params).float()
    single = tabulate(problem.to(torch.float32), band, params, ALL, GRID)
    return Table(*(part.double() for part in single))


class Lone(NamedTuple):
    """Agents one by one, S K problems of one agent without anything on the way."""

    problem: Problem
    """Where one cannot have the information alone, what it can have is required."""
    table: Table
    refresh: Refresh
    """(S K, R) when an agent alone serves a region best."""
    is_possible: Tensor
    """(S K, R) bool, whether it tells enough to go."""

    @staticmethod
    def of(problem: Problem, table: Table, params: TwinSyncParams) -> Lone:
        """Take the agents of problems (S, K) apart."""
        count = problem.num_agents

        def each(part: Tensor) -> Tensor:
            return part.flatten(0, 1).unsqueeze(1)

        single = Table(each(table.info), each(table.fraction), each(table.price), table.time_s)
        most = single.info[:, 0, :, -1]
        shared = problem._replace(step_region=None, step_time_s=None, step_info=None)
        wide = Problem._make(
            None if part is None else part.repeat_interleave(count, 0) for part in shared
        )
        own = {
            name: each(part)
            for name in ("pos", "kappa", "cpu_max_flops", "energy_j", "raw_bits", "gain_factor")
            if (part := getattr(problem, name)) is not None
        }
        wide = wide._replace(**own, theta=torch.minimum(wide.theta, ENOUGH * most))
        here = levels(wide, single)
        refresh = best_refresh(here.agents[:, 0], goals(wide), here.time_s, params)
        theta = problem.theta.repeat_interleave(count, 0)
        return Lone(wide, single, refresh, (most >= HALF * theta) & (most > 0.0))

    def plan(self, region: Tensor, cycles: Cycles, params: TwinSyncParams) -> Cycles:
        """Cycles with those of agents that go alone put in.

        Args:
            region: (S, K) int64, where they go; -1 for all others.
            cycles: of the others.
            params: with the band that the K share.
        """
        flat = region.flatten()
        index = (flat != IDLE).nonzero().squeeze(-1)
        if not index.numel():
            return cycles
        info, fraction, price, time = self.table
        table = Table(info[index], fraction[index], price[index], time)
        problem = self.problem.rows(index)
        band = torch.full_like(problem.energy_j, params.bandwidth_hz / region.shape[1])
        refresh = Refresh(*(part[index] for part in self.refresh))
        plan = realise(problem, flat[index].unsqueeze(1), band, table, refresh, params, ALL)
        alone = _cycles(plan, problem, params)
        return Cycles(
            *(
                old.flatten(0, 1).index_copy(0, index, new.flatten(0, 1)).view_as(old)
                for old, new in zip(cycles, alone, strict=True)
            )
        )


def where_alone(
    lone: Lone, problem: Problem, coming: Coming, spare: Tensor, params: TwinSyncParams
) -> Tensor:
    """Where agents go that improve nothing, (S, K) int64, -1 for nowhere.

    One after the other to the region whose twin will be off most when it delivers.

    Args:
        lone: the agents one by one.
        problem: of all K.
        coming: what is on the way.
        spare: (S, K) bool, who is asked.
        params: of the system.
    """
    shape = (*spare.shape, problem.num_regions)
    time, possible = lone.refresh.time_s.view(shape), lone.is_possible.view(shape)
    drift, theta = problem.drift, problem.theta
    found = []
    for k in range(spare.shape[1]):
        age = expected_age(coming, problem, time[:, k : k + 1])[:, 0]
        off = torch.where(possible[:, k], deviation(drift, age, theta, params), -torch.inf)
        chosen = off.argmax(-1, keepdim=True)
        goes = spare[:, k] & possible[:, k].any(-1)
        region = torch.where(goes, chosen[:, 0], IDLE)
        due = time[:, k].gather(-1, chosen)
        news = Coming(region.unsqueeze(-1), due, due, theta.gather(-1, chosen))
        coming = Coming(*(torch.cat([a, b], 1) for a, b in zip(coming, news, strict=True)))
        found.append(region)
    return torch.stack(found, 1)
