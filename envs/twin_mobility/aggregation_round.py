"""The physics of a round: moving, compressing, sending, and what a pair costs.

Everything is elementwise over tensors of any shape, so that the step of the environment, its own
matching and the planners of the baselines stand on the same formulas. Equation numbers are those of
the paper as its reproduction gives them. [notes]
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams
from sixgym.envs.twin_mobility.link import gain

LN2 = math.log(2.0)
INFEASIBLE_J = 1e3
"""Cost of a pair whose link fails whatever is sent. [ours]"""
GRID_POINTS = 64
"""Compression ratios that the environment's own matching tries, from eta_min to 1. [ours]"""
_MOST_EXPONENT = 60.0
"""Beyond it 2^x - 1 exceeds every power that is allowed."""


class Link(NamedTuple):
    """What sending costs; tensors of one shape."""

    power_w: Tensor
    """Power, at most power_max_w; 0 where the link fails."""
    energy_j: Tensor
    """0 where the link fails."""
    fails: Tensor
    """bool: the payload does not fit into the time that is left."""


class PairCost(NamedTuple):
    """A handover without motion at the ratio that costs the sender least."""

    ratio: Tensor
    """eta_i of the sender."""
    compute_j: Tensor
    """E_comp of both."""
    send_j: Tensor
    """E_comm of the sender."""
    payload_bit: Tensor
    """What the receiver holds afterwards."""
    fails: Tensor
    """bool: no ratio is feasible; the energies are `INFEASIBLE_J` and 0."""

    @property
    def energy_j(self) -> Tensor:
        """Energy of the pair."""
        return self.compute_j + self.send_j


def move_energy_j(params: AgentAggregationParams, distance_m: Tensor, time_s: Tensor) -> Tensor:
    """P_s t + k1 d + k2 d^2 / t, J; 0 for a way of length 0 (eqs. 3, 4).

    10 m in 2 s cost 1.4 J; in their best time d sqrt(k2 / P_s) = 2.236 s, 1.394427 J.

    Args:
        params: the motor's constants.
        distance_m: d >= 0.
        time_s: t, positive where d is.
    """
    speed = distance_m / time_s.clamp_min(1e-9)
    energy = params.motion.energy_j(distance_m, speed)
    return torch.where(distance_m > 0.0, energy, 0.0)


def best_move_time_s(params: AgentAggregationParams, distance_m: Tensor) -> Tensor:
    """Time of a way that costs least, d sqrt(k2 / P_s), at most the speed's limit. [derived]."""
    return distance_m / min(params.motion.best_speed_mps, params.speed_max_mps)


def work_flop(
    params: AgentAggregationParams, payload_bit: Tensor, redundancy: Tensor, ratio: Tensor
) -> Tensor:
    """L (C_base + C_gen gamma (1 - rho) ln(1 / eta)), FLOP (eq. 6).

    Args:
        params: the constants; without ``use_redundancy`` rho is 0.
        payload_bit: L.
        redundancy: rho in [0, 1].
        ratio: eta in (0, 1].
    """
    new = 1.0 - redundancy if params.use_redundancy else 1.0
    effort = params.work_gen_flop_per_bit * params.work_gamma
    return payload_bit * (params.work_base_flop_per_bit - effort * new * ratio.log())


def ready_s(params: AgentAggregationParams, move_s: Tensor, compute_s: Tensor) -> Tensor:
    """When an agent has moved and computed: the longer of both, or their sum (eq. 15b)."""
    if params.parallel_move_compute:
        return torch.maximum(move_s, compute_s)
    return move_s + compute_s


def send(params: AgentAggregationParams, bits: Tensor, time_s: Tensor, distance_m: Tensor) -> Link:
    """Sending in the time that is left (eqs. 8 to 11, 18, 23).

    The least power that fills time t is (sigma^2 / h) (2^(S / (B t)) - 1), its energy t times that.

    Args:
        params: the radio.
        bits: S > 0.
        time_s: t, what is left of the round; may be negative.
        distance_m: of the two, floored at ``distance_min_m``.
    """
    p = params
    noise = p.noise_w / gain(
        distance_m.clamp_min(p.distance_min_m), p.gain_1m, p.path_loss_exponent
    )
    if p.power == "max":
        rate = p.bandwidth_hz / LN2 * (p.power_max_w / noise).log1p()
        took = bits / rate
        fails = (took > time_s) | (time_s <= p.tx_time_min_s)
        power = torch.where(fails, 0.0, p.power_max_w)
        return Link(power, power * torch.where(fails, 0.0, took), fails)
    time = time_s.clamp_min(max(p.tx_time_min_s, 1e-6))
    exponent = (bits * (LN2 / p.bandwidth_hz) / time).clamp_max(_MOST_EXPONENT)
    wanted = noise * exponent.expm1()
    fails = (wanted > p.power_max_w) | (time_s <= p.tx_time_min_s)
    power = torch.where(fails, 0.0, wanted)
    return Link(power, power * time, fails)


def potential_j(
    params: AgentAggregationParams, position: Tensor, active: Tensor, payload_bit: Tensor
) -> Tensor:
    """Potential zeta |p - mean p|^delta_p L of each agent, J (eqs. 34, 35).

    200 m from the mean 7.6 Mbit have .608 J at zeta = 1e-14.

    Args:
        params: zeta and delta_p.
        position: (..., N, 2) m.
        active: (..., N) bool: whose positions make the mean.
        payload_bit: (..., N).

    Returns:
        (..., N); also of inactive agents.
    """
    off = (position - centroid(position, active).unsqueeze(-2)).square().sum(-1).sqrt()
    return params.potential_weight * off.pow(params.path_loss_exponent) * payload_bit


def centroid(position: Tensor, active: Tensor) -> Tensor:
    """(..., 2) mean position of the active agents."""
    here = active.to(position.dtype).unsqueeze(-1)
    return (position * here).sum(-2) / here.sum(-2).clamp_min(1.0)


def ratio_grid(params: AgentAggregationParams, like: Tensor) -> Tensor:
    """(64,) ratios from eta_min to 1 in equal steps of their logarithm."""
    power = torch.linspace(1.0, 0.0, GRID_POINTS, dtype=like.dtype, device=like.device)
    return params.compression_min**power


def grid_pair_cost(
    params: AgentAggregationParams,
    payload_bit: Tensor,
    redundancy: Tensor,
    distance_m: Tensor,
) -> PairCost:
    """Every pair of agents, the sender's ratio by search on a grid, nobody moving.

    The receiver keeps eta_req of its own payload. [notes: step (a) of the inner loop].

    Args:
        params: of the system.
        payload_bit: (rows, N).
        redundancy: (rows, N).
        distance_m: (rows, N, N).

    Returns:
        Tensors (rows, N, N) of agent i sending to agent j; of the diagonal anything.
    """
    grid = ratio_grid(params, distance_m)
    kept = torch.full_like(payload_bit, params.compression_required)
    own_flop = work_flop(params, payload_bit, redundancy, kept)
    flop = work_flop(params, payload_bit.unsqueeze(-1), redundancy.unsqueeze(-1), grid)
    ready = torch.maximum(flop.unsqueeze(2), own_flop[:, None, :, None]) / params.cpu_flops
    bits = (payload_bit.unsqueeze(-1) * grid).unsqueeze(2)
    link = send(params, bits, params.round_time_s - ready, distance_m.unsqueeze(-1))
    compute_j = params.joule_per_flop * (flop.unsqueeze(2) + own_flop[:, None, :, None])
    energy = torch.where(link.fails, INFEASIBLE_J, compute_j + link.energy_j)
    place = energy.argmin(-1, keepdim=True)
    picked = (t.gather(-1, place).squeeze(-1) for t in (compute_j, link.energy_j, link.fails))
    compute, radio, fails = picked
    ratio = grid[place.squeeze(-1)]
    held = kept.unsqueeze(1) * payload_bit.unsqueeze(1) + ratio * payload_bit.unsqueeze(2)
    return PairCost(ratio, torch.where(fails, INFEASIBLE_J, compute), radio, held, fails)


def potential_field_cost(
    params: AgentAggregationParams,
    position: Tensor,
    active: Tensor,
    payload_bit: Tensor,
    redundancy: Tensor,
) -> Tensor:
    """w_ij = E_ij + Phi_j of agent i sending to agent j, nobody moving, J (eqs. 34 to 36).

    Args:
        params: of the system.
        position: (rows, N, 2) m.
        active: (rows, N) bool.
        payload_bit: (rows, N).
        redundancy: (rows, N).

    Returns:
        (rows, N, N) float64; `INFEASIBLE_J` where the link cannot be made.
    """
    position, payload, rho = (t.double() for t in (position, payload_bit, redundancy))
    distance = distances(position)
    # Retired agents hold nothing; a bit keeps their unused pairs finite.
    cost = grid_pair_cost(params, payload.clamp_min(1.0), rho, distance)
    ahead = potential_j(params, position, active, torch.ones_like(payload)).unsqueeze(1)
    total = cost.energy_j + ahead * cost.payload_bit
    return torch.where(cost.fails, INFEASIBLE_J, total.clamp_max(INFEASIBLE_J))


def distances(position: Tensor) -> Tensor:
    """(..., N, N) distances between agents, m."""
    return (position.unsqueeze(-2) - position.unsqueeze(-3)).square().sum(-1).sqrt()
