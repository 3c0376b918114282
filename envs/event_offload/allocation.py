"""How an uplink and a server are shared among devices: fair shares, whole units, best value.

Everything works on a last axis of devices under any leading axes, has fixed shapes and reads
nothing back to the host, so it can stand in a compiled step. A device that takes no part has weight
0 and cap 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

FRACTION_GRID = 1e6
"""Fractions of units nearer than its inverse count as equal, so that rounding decides no tie."""


def water_filling(weight: Tensor, cap: Tensor, total: Tensor) -> Tensor:
    r"""Proportionally fair shares of one resource with caps.

    Maximises :math:`\sum_n \rho_n \ln x_n` subject to :math:`x_n \le c_n` and
    :math:`\sum_n x_n \le X`: the solution is :math:`x_n = \min(c_n, \rho_n \nu)` with the level
    :math:`\nu` at which the whole is used up. [related: FREDI, two-stage; standard]

    Exact: the level lies between two of the caps' own levels :math:`c_n / \rho_n`, all of which are
    tried.

    Args:
        weight: (..., devices) :math:`\rho`, >= 0.
        cap: (..., devices) :math:`c`, >= 0; 0 where the weight is 0.
        total: (...) :math:`X`, >= 0.

    Returns:
        (..., devices), summing to ``min(total, sum of caps)``.
    """
    taking = weight > 0
    own_level = torch.where(taking, cap / torch.where(taking, weight, 1.0), 0.0)
    # Demand of everybody (last axis) at the level at which each (axis before) becomes full.
    demand = torch.minimum(cap.unsqueeze(-2), weight.unsqueeze(-2) * own_level.unsqueeze(-1))
    full = demand.sum(-1) <= total.unsqueeze(-1)
    left = (total - torch.where(full, cap, 0.0).sum(-1)).clamp_min(0.0)
    open_weight = torch.where(full, 0.0, weight).sum(-1)
    level = left / torch.where(open_weight > 0, open_weight, 1.0)
    return torch.where(full, cap, torch.minimum(cap, weight * level.unsqueeze(-1)))


def whole_units(share: Tensor, cap: Tensor, total: Tensor) -> Tensor:
    """Shares rounded to whole units that keep their sum.

    Every device gets the floor of its share; what is left goes, one unit each, to the largest
    fractions, of equal ones to the lowest index. [our choice]

    Args:
        share: (..., devices) float, at most the cap, summing to ``min(total, sum of caps)``.
        cap: (..., devices) int64.
        total: (...) int64.

    Returns:
        (..., devices) int64, at most the cap.
    """
    base = torch.minimum(share.floor().to(torch.int64), cap)
    left = torch.minimum(total, cap.sum(-1)) - base.sum(-1)
    fraction = torch.round((share - base) * FRACTION_GRID)
    fraction = torch.where(base < cap, fraction, -1.0)
    return base + ((rank_descending(fraction) < left.unsqueeze(-1)) & (base < cap)).to(torch.int64)


def rank_descending(value: Tensor) -> Tensor:
    """Place of each entry among its last axis, 0 for the largest; ties to the lowest index.

    Args:
        value: (..., n).

    Returns:
        (..., n) int64.
    """
    mine, other = value.unsqueeze(-1), value.unsqueeze(-2)
    index = torch.arange(value.shape[-1], device=value.device)
    before = (other > mine) | ((other == mine) & (index < index.unsqueeze(-1)))
    return before.sum(-1)


def fair_units(weight: Tensor, cap: Tensor, total: Tensor) -> Tensor:
    """Proportionally fair whole units: `water_filling`, then `whole_units`.

    Args:
        weight: (..., devices) >= 0.
        cap: (..., devices) int64; 0 where the weight is 0.
        total: (...) int64.

    Returns:
        (..., devices) int64.
    """
    # In float64 whatever the physics runs in: a unit must not hang on rounding.
    share = water_filling(weight.double(), cap.double(), total.double())
    return whole_units(share, cap, total)


class Packing(NamedTuple):
    """A solution of the multiple-choice knapsack."""

    units: Tensor
    """(..., devices) int64."""
    value: Tensor
    """(...) the sum of the chosen values."""


def knapsack(value: Tensor, total: int) -> Packing:
    r"""Whole units that maximise a sum of values: a multiple-choice knapsack, exactly.

    Maximises :math:`\sum_n V_n(r_n)` subject to :math:`\sum_n r_n \le W` by dynamic programming
    over devices, :math:`O(N W R)` with R the most units of one device. With
    :math:`V = \rho \ln U` it is the proportionally fair problem, with :math:`V = U` the largest
    sum. [related: FREDI; standard]

    Of equal sums the one with fewer units for later devices is taken.

    Args:
        value: (..., devices, R + 1), the value of r units in place r; ``-inf`` forbids; r = 0 must
            be allowed.
        total: W, >= 0.

    Returns:
        Units and value.
    """
    most = value.shape[-1] - 1
    best = value.new_zeros((*value.shape[:-2], total + 1))
    choices: list[Tensor] = []
    for device in range(value.shape[-2]):
        # Window w holds what w, w - 1, ..., w - R units gave the devices before.
        windows = torch.nn.functional.pad(best, (most, 0), value=float("-inf"))
        windows = windows.unfold(-1, most + 1, 1).flip(-1)
        best, choice = (windows + value[..., device, :].unsqueeze(-2)).max(-1)
        choices.append(choice)
    left = torch.full_like(choices[0][..., :1], total)
    units: list[Tensor] = []
    for choice in reversed(choices):
        taken = choice.gather(-1, left)
        left = left - taken
        units.append(taken)
    return Packing(torch.cat(units[::-1], -1), best[..., -1])


def bid_shares(bid: Tensor, present: Tensor) -> Tensor:
    """Shares of the bandwidth by a softmax of bids among those present.

    Args:
        bid: (..., devices).
        present: (..., devices) bool.

    Returns:
        (..., devices), summing to 1 where anybody is present, else 0.
    """
    raw = torch.where(present, torch.exp(bid - bid.amax(-1, keepdim=True)), 0.0)
    return raw / raw.sum(-1, keepdim=True).clamp_min(torch.finfo(raw.dtype).tiny)


def weight_shares(weight: Tensor) -> Tensor:
    r"""Shares of a resource without caps by weight, :math:`\rho_n / \sum \rho`.

    The proportionally fair bandwidth with rates linear in it, whatever the SNRs [standard].

    Args:
        weight: (..., devices) >= 0.

    Returns:
        (..., devices), summing to 1 where any weight is positive, else 0.
    """
    return weight / weight.sum(-1, keepdim=True).clamp_min(torch.finfo(weight.dtype).tiny)


def jain(value: Tensor) -> Tensor:
    r"""Jain's fairness index :math:`(\sum x)^2 / (n \sum x^2)` in [1/n, 1]; 1 where all are 0.

    Args:
        value: (..., devices) >= 0.

    Returns:
        (...).
    """
    square = value.square().sum(-1) * value.shape[-1]
    return torch.where(square > 0, value.sum(-1).square() / torch.where(square > 0, square, 1.0), 1)
