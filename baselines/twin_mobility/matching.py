"""The outer layer: a matching game with externalities between agents and regions.

Many agents may join one region, and what an agent is worth depends on its partners, so stability is
by exchange: no agent moves to another region, and no two agents swap theirs, for the better.
Better is a smaller vector of deviations in leximax order: the largest first, then the next.
[two layers, dynamic matching game: paper; moves: standard, Bodine-Baron et al. 2011 and Gu et al.
2015; order: ours]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.problem import IDLE
from sixgym.baselines.twin_mobility.regions import Goal, Levels, best_refresh, group_sums
from sixgym.envs.twin_mobility.base_params import TwinBaseParams

MAX_MOVES = 30
"""Most moves of a matching; under 10 are needed with 8 agents and 4 regions."""
CELLS = 2**21
"""Most entries of the sums of all moves that are evaluated at once."""


class Moves(NamedTuple):
    """Candidate assignments of a sweep: C moves of each row."""

    assignment: Tensor
    """(S, C, N) int64."""
    deviation: Tensor
    """(S, C, R) of all regions after the move."""
    touched: Tensor
    """(S, C, R) bool, whose group changes."""
    is_move: Tensor
    """(S, C) bool; false for what would change nothing or may not be done."""


class Matching(NamedTuple):
    """Where the moves end."""

    assignment: Tensor
    """(S, N) int64."""
    deviation: Tensor
    """(S, R)."""
    moves: Tensor
    """(S,) int64, moves made."""
    evaluations: Tensor
    """(S,) int64, moves looked at."""
    is_stable: Tensor
    """(S,) bool, whether no accepted move is left."""


Accept = Callable[[Tensor, Moves, float], Tensor]
"""(S, C) bool: which moves are made willingly, given the deviations (S, R) before and the
difference that counts."""


def leximax(before: Tensor, moves: Moves, tolerance: float) -> Tensor:
    """Whether the vector of deviations falls in leximax order: common interest."""
    old, new = keys(before, tolerance).unsqueeze(1), keys(moves.deviation, tolerance)
    first = (new != old).int().argmax(-1, keepdim=True)
    return new.gather(-1, first).squeeze(-1) < old.expand_as(new).gather(-1, first).squeeze(-1)


def two_sided(before: Tensor, moves: Moves, tolerance: float) -> Tensor:
    """Whether no region that the move touches, and so no agent of it, is worse off, and one better.

    Exchange stability of both sides [standard: Bodine-Baron et al. 2011]; a subset of `leximax`.
    """
    change = torch.where(moves.touched, moves.deviation - before.unsqueeze(1), 0.0)
    return (change <= tolerance).all(-1) & (change < -tolerance).any(-1)


def keys(deviation: Tensor, tolerance: float) -> Tensor:
    """Deviations rounded and sorted, the largest first; compared from the left."""
    return (deviation / tolerance).round().sort(-1, descending=True).values


def tolerance_of(dtype: torch.dtype) -> float:
    """Difference of deviations that counts: 1e-9, with single precision 1e-5."""
    return 1e-9 if dtype == torch.float64 else 1e-5


def propose(levels: Levels, goal: Goal, movable: Tensor, params: TwinBaseParams) -> Tensor:
    """Start: again and again the worst region takes the free agent that helps it most.

    Of the regions that some free agent can improve, that with the largest deviation; agents that
    can improve none stay idle.

    Args:
        levels: sums of information.
        goal: (S, R) needs of the regions.
        movable: (S, N) bool, who may be assigned.
        params: of the system.

    Returns:
        (S, N) int64.
    """
    rows, agents, regions = levels.agents.shape[:3]
    assignment = torch.full((rows, agents), IDLE, dtype=torch.int64, device=movable.device)
    sums = levels.base
    tolerance = tolerance_of(sums.dtype)
    for _ in range(agents):
        present = best_refresh(sums, goal, levels.time_s, params).deviation
        joined = best_refresh(
            sums.unsqueeze(1) + levels.agents, goal.unsqueeze(1), levels.time_s, params
        ).deviation
        free = (movable & (assignment == IDLE)).unsqueeze(-1)
        helps = free & (joined < present.unsqueeze(1) - tolerance)
        region = torch.where(helps.any(1), present, -torch.inf).argmax(-1)
        own = region[:, None, None].expand(-1, agents, 1)
        value = torch.where(helps, joined, torch.inf).gather(-1, own).squeeze(-1)
        agent = value.argmin(-1)
        takes = helps.any(-1).any(-1)
        if not bool(takes.any()):
            break
        chosen = torch.where(takes, region, assignment.gather(-1, agent.unsqueeze(-1)).squeeze(-1))
        assignment = assignment.scatter(-1, agent.unsqueeze(-1), chosen.unsqueeze(-1))
        sums = group_sums(levels, members(assignment, regions))
    return assignment


def balanced(num_agents: int, num_regions: int) -> Tensor:
    """(3, N) int64 starts that spread the agents: in turn, in turn from the last, in blocks."""
    agent = torch.arange(num_agents)
    turn = agent % num_regions
    return torch.stack([turn, turn.flip(0), agent * num_regions // num_agents])


def members(assignment: Tensor, num_regions: int) -> Tensor:
    """(..., N, R) bool, whether an agent is in a region's group."""
    return assignment.unsqueeze(-1) == torch.arange(num_regions, device=assignment.device)


def match(
    levels: Levels,
    goal: Goal,
    start: Tensor,
    movable: Tensor,
    params: TwinBaseParams,
    *,
    accept: Accept = leximax,
    steepest: bool = True,
    max_moves: int = MAX_MOVES,
) -> Matching:
    """Moves until none is accepted, row by row.

    Args:
        levels: sums of information.
        goal: (S, R) needs of the regions.
        start: (S, N) int64 assignment to start from.
        movable: (S, N) bool, who may be moved.
        params: of the system.
        accept: which moves are made.
        steepest: whether the best accepted move is made, else the first: transfers before swaps,
            by agent and region.
        max_moves: at most so many.
    """
    assignment = start.clone()
    rows = start.shape[0]
    deviation = deviations(levels, goal, assignment, params)
    made = torch.zeros(rows, dtype=torch.int64, device=start.device)
    looked, stable = torch.zeros_like(made), torch.zeros_like(made, dtype=torch.bool)
    tolerance = tolerance_of(deviation.dtype)
    agents, regions, _, times = levels.agents.shape[1:]
    size = max(1, CELLS // (2 * times * agents * (agents + regions)))
    for _ in range(max_moves):
        open_rows = (~stable).nonzero().squeeze(-1)
        for index in open_rows.split(size):
            here, need = levels.rows(index), goal.rows(index)
            before = deviation[index]
            moves = candidates(here, need, assignment[index], before, movable[index], params)
            good = accept(before, moves, tolerance) & moves.is_move
            pick = _best(moves, good, tolerance) if steepest else good.int().argmax(-1)
            is_found = good.any(-1)
            looked[index] += _looked_at(moves, pick, is_found, steepest)
            stable[index] = ~is_found
            chosen = moves.assignment.gather(
                1, pick[:, None, None].expand(-1, 1, assignment.shape[-1])
            ).squeeze(1)
            assignment[index] = torch.where(is_found.unsqueeze(-1), chosen, assignment[index])
            made[index] += is_found.long()
            # anew, so that rounding does not pile up
            deviation[index] = deviations(here, need, assignment[index], params)
        if bool(stable.all()):
            break
    return Matching(assignment, deviation, made, looked, stable)


def match_best(
    levels: Levels, goal: Goal, starts: list[Tensor], movable: Tensor, params: TwinBaseParams,
    *, accept: Accept = leximax, steepest: bool = True, max_moves: int = MAX_MOVES,
) -> Matching:  # fmt: skip
    """The best of the matchings that several starts lead to, row by row.

    Args:
        levels: sums of information.
        goal: (S, R) needs.
        starts: (S, N) int64 assignments.
        movable: (S, N) bool.
        params: of the system.
        accept: which moves are made.
        steepest: whether the best accepted move is made, else the first.
        max_moves: at most so many from each start.

    Returns:
        The moves are the best one's, the evaluations those of all.
    """
    best: Matching | None = None
    for start in starts:
        new = match(
            levels, goal, torch.where(movable, start, IDLE), movable, params,
            accept=accept, steepest=steepest, max_moves=max_moves,
        )  # fmt: skip
        best = new if best is None else _better(best, new)
    assert best is not None
    return best


def _better(old: Matching, new: Matching) -> Matching:
    tolerance = tolerance_of(old.deviation.dtype)
    move = Moves(
        new.assignment.unsqueeze(1), new.deviation.unsqueeze(1), *[new.is_stable[:, None]] * 2
    )
    is_better = leximax(old.deviation, move, tolerance)
    chosen = [
        torch.where(is_better if b.dim() == 2 else is_better[:, 0], b, a)
        for a, b in zip(old, new, strict=True)
    ]
    return Matching(*chosen)._replace(evaluations=old.evaluations + new.evaluations)


def deviations(levels: Levels, goal: Goal, assignment: Tensor, params: TwinBaseParams) -> Tensor:
    """(S, R) deviations of the regions with an assignment (S, N)."""
    sums = group_sums(levels, members(assignment, goal.drift.shape[-1]))
    return best_refresh(sums, goal, levels.time_s, params).deviation


def candidates(
    levels: Levels,
    goal: Goal,
    assignment: Tensor,
    deviation: Tensor,
    movable: Tensor,
    params: TwinBaseParams,
) -> Moves:
    """All transfers (also to and from idling), then all swaps; C = N (R + 1) + N (N - 1) / 2.

    Args:
        levels: sums of information.
        goal: (S, R) needs.
        assignment: (S, N) int64 now.
        deviation: (S, R) now.
        movable: (S, N) bool.
        params: of the system.
    """
    rows, agents, regions = levels.agents.shape[:3]
    own = members(assignment, regions)
    sums, region = group_sums(levels, own), assignment.clamp_min(0)
    mine = _take(sums, region) - _own(levels.agents, region)
    goal_own = goal.of(region)
    left = best_refresh(mine, goal_own, levels.time_s, params).deviation
    joined = best_refresh(
        sums.unsqueeze(1) + levels.agents, goal.unsqueeze(1), levels.time_s, params
    ).deviation
    # [n, m]: the region of n with m in the place of n
    other = levels.agents.gather(
        2, region[:, None, :, None, None].expand(rows, agents, agents, *mine.shape[-2:])
    ).transpose(1, 2)
    swapped = best_refresh(
        mine.unsqueeze(2) + other, goal_own.unsqueeze(2), levels.time_s, params
    ).deviation
    transfers = _transfers(assignment, own, deviation, left, joined, movable)
    swaps = _swaps(assignment, own, deviation, swapped, movable)
    return Moves(*(torch.cat(parts, 1) for parts in zip(transfers, swaps, strict=True)))


def _transfers(
    assignment: Tensor, own: Tensor, deviation: Tensor, left: Tensor, joined: Tensor,
    movable: Tensor,
) -> Moves:  # fmt: skip
    """(S, N (R + 1)) moves of one agent; the last target is idling."""
    agents, regions = own.shape[1:]
    places = torch.arange(regions + 1, device=own.device)
    target = torch.where(places < regions, places, IDLE)
    is_target = target[:, None] == torch.arange(regions, device=own.device)
    old = own.unsqueeze(2).expand(-1, -1, regions + 1, -1)
    after = torch.where(
        old,
        left[..., None, None],
        torch.where(is_target, joined.unsqueeze(2), deviation[:, None, None, :]),
    )
    is_self = torch.eye(agents, dtype=torch.bool, device=own.device)[:, None, :]
    moved = torch.where(is_self, target[:, None], assignment[:, None, None, :])
    is_move = movable.unsqueeze(-1) & (target != assignment.unsqueeze(-1))
    return Moves(
        moved.flatten(1, 2),
        after.flatten(1, 2),
        (old ^ is_target).flatten(1, 2),
        is_move.flatten(1, 2),
    )


def _swaps(
    assignment: Tensor, own: Tensor, deviation: Tensor, swapped: Tensor, movable: Tensor
) -> Moves:
    """(S, N (N - 1) / 2) exchanges of two agents' places."""
    agents = own.shape[1]
    first, second = torch.triu_indices(agents, agents, 1, device=own.device)
    old_first, old_second = own[:, first], own[:, second]
    after = torch.where(
        old_first,
        swapped[:, first, second].unsqueeze(-1),
        torch.where(old_second, swapped[:, second, first].unsqueeze(-1), deviation.unsqueeze(1)),
    )
    place = torch.arange(agents, device=own.device)
    moved = torch.where(
        place == first[:, None],
        assignment[:, second].unsqueeze(-1),
        torch.where(
            place == second[:, None],
            assignment[:, first].unsqueeze(-1),
            assignment.unsqueeze(1),
        ),
    )
    differ = assignment[:, first] != assignment[:, second]
    is_move = movable[:, first] & movable[:, second] & differ
    return Moves(moved, after, old_first | old_second, is_move)


def _best(moves: Moves, good: Tensor, tolerance: float) -> Tensor:
    """(S,) index of the good move whose deviations are least in leximax order."""
    for key in keys(moves.deviation, tolerance).unbind(-1):
        least = torch.where(good, key, torch.inf).amin(-1, keepdim=True)
        good = good & (key == least)
    return good.int().argmax(-1)


def _take(sums: Tensor, region: Tensor) -> Tensor:
    """(S, N, 2, T) sums of the agents' regions, from (S, R, 2, T)."""
    return sums.gather(1, region[..., None, None].expand(-1, -1, *sums.shape[-2:]))


def _own(agents: Tensor, region: Tensor) -> Tensor:
    """(S, N, 2, T) what the agents tell of their regions, from (S, N, R, 2, T)."""
    index = region[..., None, None, None].expand(-1, -1, 1, *agents.shape[-2:])
    return agents.gather(2, index).squeeze(2)


def _looked_at(moves: Moves, pick: Tensor, is_found: Tensor, steepest: bool) -> Tensor:
    """(S,) moves evaluated: all, or those up to the first that was accepted."""
    everything = moves.is_move.sum(-1)
    if steepest:
        return everything
    until = moves.is_move.cumsum(-1).gather(-1, pick.unsqueeze(-1)).squeeze(-1)
    return torch.where(is_found, until, everything)
