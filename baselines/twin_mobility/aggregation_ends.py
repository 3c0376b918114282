"""Both ends of the pairs that could be made, and how near they can come to each other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_PROJECTIONS = 24
"""Each brings two ends nearer to the nearest points of where they can be."""


class Ends(NamedTuple):
    """Both ends of pairs, the sender first; tensors (..., 2) unless said."""

    position: Tensor
    """(..., 2, 2) m."""
    disc: Tensor
    """(..., 2, 3) centre and radius, m."""
    payload_bit: Tensor
    redundancy: Tensor


def ends_of(position: Tensor, disc: Tensor, payload_bit: Tensor, redundancy: Tensor) -> Ends:
    """All ordered pairs of agents, (rows, N, N, 2) with i sending to j; retired ones hold a bit.

    Args:
        position: (rows, N, 2) m.
        disc: (rows, N, 3) m.
        payload_bit: (rows, N).
        redundancy: (rows, N).
    """

    def both(value: Tensor) -> Tensor:
        count = value.shape[1]
        sender = value.unsqueeze(2).expand(-1, -1, count, *value.shape[2:])
        receiver = value.unsqueeze(1).expand(-1, count, -1, *value.shape[2:])
        return torch.stack([sender, receiver], 3)

    held = payload_bit.double().clamp_min(1.0)
    return Ends(*(both(t.double()) for t in (position, disc, held, redundancy)))


def nearest_ends(ends: Ends, length_m: Tensor) -> Tensor:
    """Where two agents are nearest to each other after ways of given lengths within their discs.

    Args:
        ends: (P, ...).
        length_m: (..., P, 2) longest way of each.

    Returns:
        (..., P, 2, 2) m; a way may be shorter than allowed where a disc's border ends it.
    """
    shape = torch.broadcast_shapes(length_m.shape, ends.payload_bit.shape)
    position = ends.position.expand(*shape, 2)
    first, second = position.unbind(-2)
    for _ in range(_PROJECTIONS):
        first = _into_lens(second, ends, length_m, 0)
        second = _into_lens(first, ends, length_m, 1)
    return torch.stack([first, second], -2)


def _into_lens(point: Tensor, ends: Ends, length_m: Tensor, side: int) -> Tensor:
    """The nearest point that one agent can be at: a disc of reach within its patrol disc."""
    position, radius = ends.position[..., side, :], length_m[..., side]
    centre, border = ends.disc[..., side, :2], ends.disc[..., side, 2]
    in_reach = _into_disc(point, position, radius)
    if_reach = _is_within(in_reach, centre, border)
    in_patrol = _into_disc(point, centre, border)
    if_patrol = _is_within(in_patrol, position, radius)
    corner = _nearest_crossing(point, position, radius, centre, border)
    other = torch.where(if_patrol.unsqueeze(-1), in_patrol, corner)
    return torch.where(if_reach.unsqueeze(-1), in_reach, other)


def _into_disc(point: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    off = point - centre
    far = off.square().sum(-1).sqrt()
    share = (radius / far.clamp_min(1e-12)).clamp_max(1.0)
    return centre + off * share.unsqueeze(-1)


def _is_within(point: Tensor, centre: Tensor, radius: Tensor) -> Tensor:
    return (point - centre).square().sum(-1) <= (radius * (1.0 + 1e-9) + 1e-9).square()


def _nearest_crossing(
    point: Tensor, a: Tensor, radius_a: Tensor, b: Tensor, radius_b: Tensor
) -> Tensor:
    """The nearer of the two points in which two circles cross."""
    between = b - a
    d = between.square().sum(-1).sqrt().clamp_min(1e-12)
    along = (d.square() + radius_a.square() - radius_b.square()) / (2.0 * d)
    across = (radius_a.square() - along.square()).clamp_min(0.0).sqrt()
    unit = between / d.unsqueeze(-1)
    normal = torch.stack([-unit[..., 1], unit[..., 0]], -1)
    foot = a + along.unsqueeze(-1) * unit
    side = torch.where(((point - foot) * normal).sum(-1) >= 0.0, across, -across)
    return foot + side.unsqueeze(-1) * normal
