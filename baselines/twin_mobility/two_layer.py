"""The hierarchical two-layer algorithm: a matching game outside, continuous resources inside.

The band is split evenly at first. A pass tables what every agent can tell of every region by every
time, lets agents and regions match, finds the exact plans and splits the band anew; the best pass
counts. Rows stop by themselves. [two layers, matching outside, resources inside: paper; all else:
ours]
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.bandwidth import share_out, split_band
from sixgym.baselines.twin_mobility.matching import (
    MAX_MOVES,
    Accept,
    balanced,
    leximax,
    match_best,
    members,
    propose,
)
from sixgym.baselines.twin_mobility.problem import ALL, IDLE, Ingredients, Problem
from sixgym.baselines.twin_mobility.realise import Plan, realise
from sixgym.baselines.twin_mobility.regions import best_refresh, goals, group_sums, levels
from sixgym.baselines.twin_mobility.tables import GRID, Grid, Table, tabulate
from sixgym.envs.twin_mobility.base_params import TwinBaseParams

PASSES = 6
LEAST_GAIN = 1e-4
"""Relative fall of the largest deviation below which a row stops."""


class Rule(NamedTuple):
    """How the outer layer assigns."""

    accept: Accept = leximax
    """Which moves are made."""
    steepest: bool = True
    """Whether the best move is made, else the first."""
    max_moves: int = MAX_MOVES
    """At most so many a pass; 0 keeps the start."""
    starts: int = 4
    """Assignments that the first pass starts from: the proposal, then those of `balanced`."""


MATCHING = Rule()
"""The default."""
GREEDY = Rule(max_moves=0, starts=1)
"""The proposal only: the worst region takes who helps it most."""


class Solution(NamedTuple):
    """The best pass of each row."""

    assignment: Tensor
    """(S, N) int64 region of each agent, -1 for none; as in the plan."""
    plan: Plan
    gamma: Tensor
    """(S,) the largest deviation; 1000 and more where a region does not get its information."""
    is_feasible: Tensor
    """(S,) bool."""
    trace: Tensor
    """(S, passes + 1) best gamma after each pass, and at the end; what was reached last where a row
    had stopped."""
    passes: Tensor
    """(S,) int64, passes run."""
    moves: Tensor
    """(S,) int64, moves of the matching in all passes."""
    evaluations: Tensor
    """(S,) int64, moves evaluated."""


class _Setting(NamedTuple):
    """What all passes share."""

    params: TwinBaseParams
    free: Ingredients
    rule: Rule | None
    """None: assignments are not to be changed."""
    grid: Grid
    dtype: torch.dtype


class _Rows(NamedTuple):
    """What a pass starts from, of the rows that it runs on."""

    problem: Problem
    band_hz: Tensor
    """(S, N)."""
    assignment: Tensor
    """(S, N) int64."""
    movable: Tensor
    """(S, N) bool."""

    def at(self, index: Tensor) -> _Rows:
        """Some of the rows."""
        return _Rows(self.problem.rows(index), *(item[index] for item in self[1:]))


class _Pass(NamedTuple):
    plan: Plan
    assignment: Tensor
    moves: Tensor
    evaluations: Tensor


def solve(
    problem: Problem,
    params: TwinBaseParams,
    ingredients: Ingredients = ALL,
    frozen: Tensor | None = None,
    *,
    assignment: Tensor | None = None,
    rule: Rule = MATCHING,
    passes: int = PASSES,
    grid: Grid = GRID,
    table_dtype: torch.dtype = torch.float64,
) -> Solution:
    """Solve the one-shot problem of every row.

    Args:
        problem: the rows; floating tensors in double precision.
        params: of the system.
        ingredients: which resources may be chosen.
        frozen: (S, N) bool, agents that may not be assigned now: committed ones, whose deliveries
            the problem holds as steps, and dead ones. They keep their share B / N of the band.
        assignment: (S, N) int64 that is not to be changed; None: found by matching.
        rule: of the matching.
        passes: at most so many, >= 1.
        grid: of the table.
        table_dtype: of the table; plans are in double precision.
    """
    movable = torch.ones_like(problem.cpu_max_flops, dtype=torch.bool)
    if frozen is not None:
        movable = ~frozen
    even = params.bandwidth_hz / problem.num_agents
    current = torch.full_like(movable, IDLE, dtype=torch.int64)
    if assignment is not None:
        current = torch.where(movable, assignment, IDLE)
    state = _Rows(problem, torch.full_like(problem.cpu_max_flops, even), current, movable)
    total = even * movable.sum(-1).to(problem.energy_j.dtype)
    setting = _Setting(params, ingredients, rule if assignment is None else None, grid, table_dtype)
    active = torch.arange(problem.num_rows, device=movable.device)
    counts = torch.zeros(3, problem.num_rows, dtype=torch.int64, device=movable.device)
    best: Plan | None = None
    trace: list[Tensor] = []
    for k in range(passes):
        here = state.at(active)
        done = _run(here, setting, is_first=k == 0)
        once = torch.ones_like(done.moves)
        counts[:, active] += torch.stack([once, done.moves, done.evaluations])
        best, goes_on = _keep_best(best, done.plan, active, total[active])
        trace.append(best.gamma)
        split = _next_split(here.problem, done.plan, total[active], params, ingredients)
        goes_on &= ((split - here.band_hz).abs() > 1e-6 * here.band_hz).any(-1)
        state.assignment[active], state.band_hz[active] = done.assignment, split
        active = active[goes_on]
        if not active.numel():
            break
    assert best is not None
    best = _use_all(best, state, total, setting)
    trace += [torch.minimum(trace[-1], best.gamma)] * (passes - len(trace) + 1)
    return Solution(
        best.region, best, best.gamma, best.is_feasible, torch.stack(trace, -1), *counts
    )


def _run(rows: _Rows, setting: _Setting, *, is_first: bool) -> _Pass:
    """One pass: table, matching, exact plans."""
    problem, params = rows.problem, setting.params
    table = _table(problem, rows.band_hz, setting)
    here, need = levels(problem, table), goals(problem)
    assignment = rows.assignment
    moves = evaluations = torch.zeros_like(assignment[:, 0])
    rule = setting.rule
    if rule is not None:
        starts = [assignment]
        if is_first:
            more = balanced(problem.num_agents, problem.num_regions).to(assignment.device)
            starts = [propose(here, need, rows.movable, params), *more][: rule.starts]
        found = match_best(
            here, need, starts, rows.movable, params,
            accept=rule.accept, steepest=rule.steepest, max_moves=rule.max_moves,
        )  # fmt: skip
        assignment, moves, evaluations = found.assignment, found.moves, found.evaluations
    sums = group_sums(here, members(assignment, problem.num_regions))
    refresh = best_refresh(sums, need, here.time_s, params)
    plan = realise(problem, assignment, rows.band_hz, table, refresh, params, setting.free)
    return _Pass(plan, assignment, moves, evaluations)


def _use_all(best: Plan, state: _Rows, total: Tensor, setting: _Setting) -> Plan:
    """The best plans, once more with the whole band where agents that turned out idle had some."""
    works = best.region != IDLE
    taken = torch.where(works, best.bandwidth_hz, 0.0).sum(-1)
    index = ((taken < total * (1.0 - 1e-6)) & works.any(-1)).nonzero().squeeze(-1)
    if not index.numel():
        return best
    band = share_out(best.bandwidth_hz, works, total, setting.params)
    band = torch.where(works, band, best.bandwidth_hz)
    rows = _Rows(state.problem, band, best.region, state.movable).at(index)
    done = _run(rows, setting._replace(rule=None), is_first=False)
    return _keep_best(best, done.plan, index, total[index])[0]


def _table(problem: Problem, band: Tensor, setting: _Setting) -> Table:
    table = tabulate(
        problem.to(setting.dtype), band.to(setting.dtype), setting.params, setting.free,
        setting.grid,
    )  # fmt: skip
    return Table(*(item.to(band.dtype) for item in table))


def _next_split(
    problem: Problem, plan: Plan, total: Tensor, params: TwinBaseParams, free: Ingredients
) -> Tensor:
    """(S, N) Hz for the next pass; agents without region are tabled with an even share."""
    works = plan.region != IDLE
    even = share_out(torch.ones_like(plan.bandwidth_hz), works, total, params)
    if free.equal_bandwidth or params.equal_weight:
        split = even
    else:
        better = split_band(problem, plan, total, params)
        split = torch.where(plan.is_feasible.unsqueeze(-1), better, even)
    return torch.where(works, split, params.bandwidth_hz / problem.num_agents)


def _keep_best(best: Plan | None, plan: Plan, rows: Tensor, total: Tensor) -> tuple[Plan, Tensor]:
    """The better of old and new plans, and which of the new rows are worth another pass.

    A plan whose agents take more than the band (one has joined that was idle when the band was
    split) does not count, but is gone on from.
    """
    if best is None:
        return plan, torch.ones_like(total, dtype=torch.bool)
    taken = torch.where(plan.region != IDLE, plan.bandwidth_hz, 0.0).sum(-1)
    fits = taken <= total * (1.0 + 1e-9)
    old = best.gamma[rows]
    better = fits & (plan.gamma < old)
    chosen = rows[better]
    items = []
    for kept, new in zip(best, plan, strict=True):
        item = kept.clone()
        item[chosen] = new[better]
        items.append(item)
    return Plan(*items), ~fits | (plan.gamma < old * (1.0 - LEAST_GAIN))
