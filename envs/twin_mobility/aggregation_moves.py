"""What the numbers of an action mean: the way of an agent and the ratios of both roles.

======= ============================================================================================
u       meaning
======= ============================================================================================
0       direction of the way, 2 pi u
1       length of the way: this share of min(v_max (T_max - 0.2 s), way to the border of the disc)
2       time of the way: max(d / v_max, u (T_max - 0.2 s))
3       ratio eta of what is sent, eta_min^(1 - u)
4       ratio at which a receiver keeps its own payload, eta_min (eta_req / eta_min)^u
======= ============================================================================================
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams

NUM_CONTROLS = 5
"""Length of u."""
ANGLE, LENGTH, TIME, SEND_RATIO, KEEP_RATIO = range(NUM_CONTROLS)
_LEAST_M = 1e-6
"""A shorter way is none."""


class Way(NamedTuple):
    """How agents move in a round; tensors (..., N) unless said."""

    end: Tensor
    """(..., N, 2) m, within the disc."""
    distance_m: Tensor
    time_s: Tensor
    """0 where nobody moves."""


def way_of(
    params: AgentAggregationParams, position: Tensor, disc: Tensor, u: Tensor, moves: Tensor
) -> Way:
    """The way that controls ask for.

    Args:
        params: speed and times.
        position: (..., N, 2) m.
        disc: (..., N, 3) centre and radius, m.
        u: (..., N, 5) in [0, 1].
        moves: (..., N) bool: who moves at all.
    """
    angle = 2.0 * math.pi * u[..., ANGLE]
    heading = torch.stack([angle.cos(), angle.sin()], -1)
    reach = params.speed_max_mps * params.reach_time_s
    asked = u[..., LENGTH] * border_m(position, disc, heading).clamp_max(reach)
    distance = torch.where(moves & (asked > _LEAST_M), asked, 0.0)
    time = torch.maximum(distance / params.speed_max_mps, u[..., TIME] * params.reach_time_s)
    centre, radius = disc[..., :2], disc[..., 2:]
    off = position + distance.unsqueeze(-1) * heading - centre
    # Rounding may carry a way to the border beyond it.
    inside = off * (radius / off.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-9)).clamp_max(1)
    end = torch.where((distance > 0.0).unsqueeze(-1), centre + inside, position)
    return Way(end, distance, torch.where(distance > 0.0, time, 0.0))


def border_m(position: Tensor, disc: Tensor, heading: Tensor) -> Tensor:
    """(...) way from a point of a disc to its border in a direction, m.

    Args:
        position: (..., 2) m.
        disc: (..., 3) centre and radius, m.
        heading: (..., 2) unit vectors.
    """
    off = position - disc[..., :2]
    along = (off * heading).sum(-1)
    room = disc[..., 2].square() - off.square().sum(-1)
    return ((along.square() + room).clamp_min(0.0).sqrt() - along).clamp_min(0.0)


def send_ratio(params: AgentAggregationParams, u: Tensor) -> Tensor:
    """eta_min^(1 - u), elementwise."""
    return params.compression_min ** (1.0 - u)


def keep_ratio(params: AgentAggregationParams, u: Tensor) -> Tensor:
    """eta_min (eta_req / eta_min)^u, elementwise."""
    least = params.compression_min
    return least * (params.compression_required / least) ** u
