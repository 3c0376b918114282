"""Places and ways on the map: sensing points, the way towards the base station, distances.

Points are (..., 2) tensors in metres; everything broadcasts over the leading axes.
"""

from __future__ import annotations

import torch
from torch import Tensor


def norm(vector: Tensor) -> Tensor:
    """Length of (..., 2) vectors, (...)."""
    return (vector * vector).sum(-1).sqrt()


def ground_distance(point: Tensor, other: Tensor) -> Tensor:
    """Distance in the plane, m, (...)."""
    return norm(point - other)


def sensing_point(position: Tensor, centre: Tensor, radius_m: float) -> Tensor:
    """Nearest point of a sensing disc: c + (p - c) min(1, R_s / |p - c|). [ours].

    Args:
        position: p, (..., 2) m.
        centre: c, (..., 2) m.
        radius_m: R_s, m.

    Returns:
        (..., 2) m; the position itself where it lies within the disc, the centre at rho = 0.
    """
    offset = position - centre
    rho = norm(offset).unsqueeze(-1)
    return torch.where(
        rho > radius_m, centre + offset * (radius_m / rho.clamp_min(1e-30)), position
    )


def move_to_sense_m(position: Tensor, centre: Tensor, radius_m: float) -> Tensor:
    """Way to the sensing disc, max(0, |p - c| - R_s), m; arguments as `sensing_point`."""
    return (ground_distance(position, centre) - radius_m).clamp_min(0.0)


def approach_m(ground_m: Tensor, fraction: Tensor, limit_m: float) -> Tensor:
    """Way x = xi max(0, g - g_min) towards the base station, m.

    Args:
        ground_m: g, distance of the sensing point to the station's ground point.
        fraction: xi in [0, 1].
        limit_m: g_min, how near an agent may come.
    """
    return fraction * (ground_m - limit_m).clamp_min(0.0)


def towards(position: Tensor, goal: Tensor, distance_m: Tensor, ground_m: Tensor) -> Tensor:
    """The point ``distance_m`` on the way from a position to a goal ``ground_m`` away, (..., 2)."""
    share = torch.where(ground_m > 0.0, distance_m / ground_m.clamp_min(1e-30), 0.0)
    return position + (goal - position) * share.unsqueeze(-1)


def slant_distance(ground_m: Tensor, height_m: float) -> Tensor:
    """Distance to an antenna at a height, sqrt(g^2 + H^2), m."""
    return (ground_m * ground_m + height_m * height_m).sqrt()
