"""The inner loop of H-MAP: ratios, motion and powers of every pair that could be made.

Block coordinate descent alternates two steps for each pair (i sends to j), at most six times:
(a) the sender's ratio for given motion, the receiver keeping eta_req of its own; (b) both ends'
motion for given ratios. Both are exact up to the steps of a search, and batched over pairs.
[notes: algorithm and steps; the searches are ours, the paper solves (b) by SLSQP]

Step (a) is convex in the ratio: the work falls with ln(eta), so the time that is left is concave,
and the energy of sending S bits in time t is convex in both and falls with t. [derived]

Step (b): what counts of two ways of lengths (a, b) is how near the ends come, and the nearest
points of two convex sets (a disc of reach within the patrol disc, each) are found by projecting to
and fro. So four coordinates are a search over two lengths. And a way that pays is rare: a metre
costs at least e* = k1 + 2 sqrt(P_s k2), and it cannot save more than 3 E / d (delta_p E / d) of
the energy E of a link of length d, so wherever that is less, and the link can be made, nobody
moves. [derived]
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.aggregation_ends import Ends, nearest_ends
from sixgym.envs.backend.solvers import golden_section, lambert_w0
from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams
from sixgym.envs.twin_mobility.aggregation_round import (
    INFEASIBLE_J,
    LN2,
    best_move_time_s,
    move_energy_j,
    ratio_grid,
    ready_s,
    send,
    work_flop,
)
from sixgym.envs.twin_mobility.link import gain

PASSES = 6
"""Most passes of the descent. [notes]"""
TOLERANCE = 1e-3
"""Relative change at which it stops. [notes]"""
POWER_SLACK = 1e-3
"""A plan stays this far below P_max, so that rounding in the environment breaks no link. [ours]"""
_RATIO_STEPS, _TIME_STEPS = 32, 18
"""Of the golden sections; a minimum is flat, so the time need not be found as closely."""
_WAYS, _ZOOMS, _SHRINK = 7, 4, 0.35
"""Lengths that are tried on each side, how often around the best of them, and how much closer."""


class Freedom(NamedTuple):
    """What a plan may choose."""

    moves: bool = True
    free_speed: bool = True
    """Otherwise every way is gone at v_max."""
    compresses: bool = True
    """Otherwise all ratios are 1, which needs an environment with eta_req = 1."""


FREE = Freedom()
B = TypeVar("B", "Ends", "Plan")


class Plan(NamedTuple):
    """What both ends of pairs do, and what it costs; tensors (..., 2), the sender first."""

    end: Tensor
    """(..., 2, 2) m."""
    move_s: Tensor
    ratio: Tensor
    energy_j: Tensor
    """(...) of the pair; `INFEASIBLE_J` where no plan was found."""
    received_bit: Tensor
    """(...) what the receiver holds afterwards."""

    @property
    def is_feasible(self) -> Tensor:
        """(...) bool."""
        return self.energy_j < INFEASIBLE_J


def closed_form_ratio(
    params: AgentAggregationParams,
    payload_bit: Tensor,
    redundancy: Tensor,
    distance_m: Tensor,
    time_s: Tensor,
) -> Tensor:
    """Best ratio of a sender whose link has a time that does not depend on it. [derived].

    eta = (B t / (L ln 2)) W0(A h / (sigma^2 t)), A = tau_c f^2 L C_gen gamma (1 - rho), clipped to
    [eta_min, 1]: .4333840 for 20 Mbit over 200 m in 1.5 s under stress.

    Args:
        params: of the system.
        payload_bit: L.
        redundancy: rho.
        distance_m: of the link.
        time_s: t > 0.
    """
    p = params
    new = 1.0 - redundancy if p.use_redundancy else torch.ones_like(redundancy)
    effort = p.joule_per_flop * payload_bit * p.work_gen_flop_per_bit * p.work_gamma * new
    h = gain(distance_m.clamp_min(p.distance_min_m), p.gain_1m, p.path_loss_exponent)
    weight = lambert_w0(effort * h / (p.noise_w * time_s))
    ratio = p.bandwidth_hz * time_s / (payload_bit * LN2) * weight
    return ratio.clamp(p.compression_min, 1.0)


def plan_pairs(params: AgentAggregationParams, ends: Ends, freedom: Freedom = FREE) -> Plan:
    """The plan of least energy of each pair, by block coordinate descent.

    Args:
        params: of the environment that is played.
        ends: of pairs of any leading shape.
        freedom: what may be chosen.

    Returns:
        float64 tensors of the leading shape.
    """
    p = params.model_copy(update={"power_max_w": params.power_max_w * (1.0 - POWER_SLACK)})
    shape = ends.payload_bit.shape[:-1]
    flat = Ends(*(t.flatten(0, len(shape) - 1) for t in ends))
    plan = ratio_step(p, flat, flat.position, torch.zeros_like(flat.payload_bit), freedom)
    if freedom.moves:
        wanting = torch.nonzero(may_move(p, flat, plan))[:, 0]
        if len(wanting):
            some = descend(p, _take(flat, wanting), _take(plan, wanting), freedom)
            pairs = zip(plan, some, strict=True)
            plan = Plan(*(whole.index_copy(0, wanting, part) for whole, part in pairs))
    return Plan(*(t.unflatten(0, shape) for t in plan))


def descend(params: AgentAggregationParams, ends: Ends, plan: Plan, freedom: Freedom) -> Plan:
    """Both steps in turn, the best plan of each pair kept; pairs (P, ...)."""
    best = plan
    for _ in range(PASSES):
        moved = motion_step(params, ends, plan, freedom)
        plan = ratio_step(params, ends, moved.end, moved.move_s, freedom)
        better = plan.energy_j < best.energy_j
        gain_j = torch.where(better, best.energy_j - plan.energy_j, 0.0)
        done = bool((gain_j <= TOLERANCE * best.energy_j).all())
        best = _choose(better, plan, best)
        if done:
            break
    return best


# ----------------------------------------------------------------------------------- (a): the ratio


def ratio_step(
    params: AgentAggregationParams, ends: Ends, end: Tensor, move_s: Tensor, freedom: Freedom
) -> Plan:
    """Step (a): the sender's best ratio for given motion, by a grid and a golden section.

    Where no ratio is feasible the one that comes nearest to it is taken, and the energy is
    `INFEASIBLE_J`.

    Args:
        params: of the system.
        ends: (P, ...).
        end: (P, 2, 2) where both ends stand when they send, m.
        move_s: (P, 2) time of their ways.
        freedom: whether ratios are free.
    """
    keep = params.compression_required if freedom.compresses else 1.0
    kept = torch.full_like(ends.payload_bit[..., 1], keep)
    grid = ratio_grid(params, end)
    if not freedom.compresses:
        grid = torch.ones_like(grid[:1])

    def price(log_ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Energy of the pair, and how many seconds the link lacks."""
        ratio = torch.stack([log_ratio.exp(), kept.expand_as(log_ratio)], -1)
        cost = _cost(params, ends, end, move_s, ratio)
        return cost.energy_j, cost.lack_s

    tried = grid.log().unsqueeze(-1).expand(-1, len(kept))
    energy, lack = price(tried)
    feasible = energy < INFEASIBLE_J
    # Among those that are all infeasible the one that lacks least.
    rank = torch.where(feasible, energy, INFEASIBLE_J + lack.clamp_min(0.0))
    place = rank.argmin(0, keepdim=True)
    logs = grid.log()
    low, high = logs[(place[0] - 1).clamp_min(0)], logs[(place[0] + 1).clamp_max(len(grid) - 1)]
    found = golden_section(lambda x: price(x)[0], low, high, _RATIO_STEPS).point
    on_grid = logs[place[0]]
    best = torch.where(price(found)[0] < price(on_grid)[0], found, on_grid)
    ratio = torch.stack([best.exp(), kept], -1)
    bits = (ratio * ends.payload_bit).sum(-1)
    return Plan(end, move_s, ratio, price(best)[0], bits)


class _Cost(NamedTuple):
    energy_j: Tensor
    """(...) of pairs, `INFEASIBLE_J` where the link fails."""
    lack_s: Tensor
    """(...) by how much the time left is too short at full power; negative where it is not."""


def _cost(
    params: AgentAggregationParams, ends: Ends, end: Tensor, move_s: Tensor, ratio: Tensor
) -> _Cost:
    """What a plan costs; ``ratio`` (..., P, 2) may have leading axes of its own."""
    p = params
    flop = work_flop(p, ends.payload_bit, ends.redundancy, ratio)
    ready = ready_s(p, move_s.expand_as(flop), flop / p.cpu_flops).amax(-1)
    left = p.round_time_s - ready
    bits = ratio[..., 0] * ends.payload_bit[..., 0]
    across = (end[..., 0, :] - end[..., 1, :]).square().sum(-1).sqrt()
    link = send(p, bits, left, across)
    way = (end - ends.position).square().sum(-1).sqrt()
    spent = move_energy_j(p, way, move_s).sum(-1) + p.joule_per_flop * flop.sum(-1)
    lack = _lack_s(p, ends, across, move_s, ratio)
    return _Cost(torch.where(link.fails, INFEASIBLE_J, spent + link.energy_j), lack)


def _lack_s(
    params: AgentAggregationParams, ends: Ends, across_m: Tensor, move_s: Tensor, ratio: Tensor
) -> Tensor:
    """(..., P) by how much the time that is left is too short at full power, s."""
    p = params
    flop = work_flop(p, ends.payload_bit, ends.redundancy, ratio)
    left = p.round_time_s - ready_s(p, move_s.expand_as(flop), flop / p.cpu_flops).amax(-1)
    bits = ratio[..., 0] * ends.payload_bit[..., 0]
    return (bits / full_rate_bps(p, across_m)).clamp_min(p.tx_time_min_s) - left


def full_rate_bps(params: AgentAggregationParams, distance_m: Tensor) -> Tensor:
    """B log2(1 + P_max h / sigma^2), bit/s: 1.16173313e7 over 200 m."""
    p = params
    h = gain(distance_m.clamp_min(p.distance_min_m), p.gain_1m, p.path_loss_exponent)
    return p.bandwidth_hz / LN2 * (p.power_max_w * h / p.noise_w).log1p()


# ---------------------------------------------------------------------------------- (b): the motion


def may_move(params: AgentAggregationParams, ends: Ends, plan: Plan) -> Tensor:
    """(P,) bool: a way might pay, as the link costs enough, or cannot be made without one.

    Args:
        params: of the system.
        ends: (P, ...).
        plan: without motion.
    """
    p = params
    cheapest = p.motion_linear_j_per_m + 2.0 * math.sqrt(p.motion_static_w * p.motion_quadratic)
    flop = work_flop(p, ends.payload_bit, ends.redundancy, plan.ratio)
    radio = plan.energy_j - p.joule_per_flop * flop.sum(-1)
    across = (ends.position[..., 0, :] - ends.position[..., 1, :]).square().sum(-1).sqrt()
    saved = p.path_loss_exponent * radio / across.clamp_min(p.distance_min_m)
    return torch.where(plan.is_feasible, saved > cheapest, ~_is_hopeless(p, ends, plan))


def _is_hopeless(params: AgentAggregationParams, ends: Ends, plan: Plan) -> Tensor:
    """(P,) bool: even if both stood as near as they can get at once, no ratio would do."""
    reach = params.speed_max_mps * params.reach_time_s
    end = nearest_ends(ends, torch.full_like(plan.move_s, reach))
    across = (end[..., 0, :] - end[..., 1, :]).square().sum(-1).sqrt()
    kept = plan.ratio[..., 1]
    grid = ratio_grid(params, end) if bool((kept < 1.0).any()) else kept.new_ones(1)
    tried = torch.stack([grid.unsqueeze(-1).expand(-1, len(kept)), kept.expand(len(grid), -1)], -1)
    lack = _lack_s(params, ends, across, torch.zeros_like(plan.move_s), tried)
    return lack.amin(0) > 0.0


class _Motion(NamedTuple):
    end: Tensor
    move_s: Tensor


def motion_step(
    params: AgentAggregationParams, ends: Ends, plan: Plan, freedom: Freedom
) -> _Motion:
    """Step (b): ends, times of ways and the time of the link that cost least, for given ratios.

    Lengths of ways are tried on a grid that closes in on the best of them; where nothing is
    feasible, on the one that lacks the least time.

    Args:
        params: of the system.
        ends: (P, ...).
        plan: whose ratios are held.
        freedom: whether speeds are free.
    """
    p = params
    count = len(plan.energy_j)
    reach = p.speed_max_mps * p.reach_time_s
    step = torch.linspace(0.0, 1.0, _WAYS, dtype=torch.float64, device=plan.end.device)
    low = torch.zeros(count, 2, dtype=torch.float64, device=plan.end.device)
    width = torch.ones_like(low)
    first, second = torch.meshgrid(step, step, indexing="ij")
    shares = torch.stack([first, second], -1).flatten(0, 1).unsqueeze(1)
    best_rank = torch.full((count,), math.inf, dtype=torch.float64, device=plan.end.device)
    best = _Motion(ends.position, torch.zeros_like(low))
    for _ in range(_ZOOMS):
        length = (low + width * shares) * reach
        end = nearest_ends(ends, length)
        move_s, rank = _best_times(p, ends, plan.ratio, end, freedom)
        place = rank.argmin(0)
        row = torch.arange(count, device=place.device)
        better = rank[place, row] < best_rank
        best_rank = torch.minimum(best_rank, rank[place, row])
        found = _Motion(end[place, row], move_s[place, row])
        best = _Motion(*(_where(better, a, b) for a, b in zip(found, best, strict=True)))
        way = (best.end - ends.position).square().sum(-1).sqrt() / reach
        width = width * _SHRINK
        low = (way - 0.5 * width).clamp_min(0.0).minimum(1.0 - width)
    return best


def _best_times(
    params: AgentAggregationParams, ends: Ends, ratio: Tensor, end: Tensor, freedom: Freedom
) -> tuple[Tensor, Tensor]:
    """Times of ways (..., P, 2), and what ranks them (..., P): energy, else what is lacking."""
    p = params
    way = (end - ends.position).square().sum(-1).sqrt()
    fastest = way / p.speed_max_mps
    compute_s = work_flop(p, ends.payload_bit, ends.redundancy, ratio) / p.cpu_flops
    cheapest = torch.where(way > 0.0, best_move_time_s(p, way), 0.0)

    def times(link_s: Tensor) -> Tensor:
        """The cheapest times that leave so much for the link."""
        room = p.round_time_s - link_s.unsqueeze(-1)
        if not p.parallel_move_compute:
            room = room - compute_s
        return torch.maximum(torch.minimum(cheapest, room.clamp_max(p.reach_time_s)), fastest)

    def energy(link_s: Tensor) -> Tensor:
        return _cost(p, ends, end, times(link_s), ratio.expand_as(way)).energy_j

    longest = p.round_time_s - ready_s(p, fastest, compute_s.expand_as(fastest)).amax(-1)
    if freedom.free_speed:
        # At least the time that full power takes, at most what the fastest ways leave.
        bits = ratio[..., 0] * ends.payload_bit[..., 0]
        across = (end[..., 0, :] - end[..., 1, :]).square().sum(-1).sqrt()
        least = (bits / full_rate_bps(p, across)).clamp_min(p.tx_time_min_s).minimum(longest)
        link_s = golden_section(energy, least, longest, _TIME_STEPS).point
        link_s = torch.where(energy(longest) <= energy(link_s), longest, link_s)
        move_s = times(link_s)
    else:
        move_s = fastest
    cost = _cost(p, ends, end, move_s, ratio.expand_as(way))
    return move_s, torch.where(
        cost.energy_j < INFEASIBLE_J, cost.energy_j, INFEASIBLE_J + cost.lack_s.clamp_min(0.0)
    )


# ------------------------------------------------------------------------------------------ helpers


def _take(bundle: B, index: Tensor) -> B:
    return type(bundle)(*(t[index] for t in bundle))


def _where(flag: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(flag.reshape(-1, *(1,) * (a.dim() - 1)), a, b)


def _choose(flag: Tensor, a: Plan, b: Plan) -> Plan:
    return Plan(*(_where(flag, x, y) for x, y in zip(a, b, strict=True)))
