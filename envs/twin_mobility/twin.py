"""The twins at the base station: how far they are off, and what a delivery does to them.

A region's twin rests on an accepted update: a time stamp g and the information I that came with it.
The station keeps the packets of a region with the newest stamps and fuses those that serve best.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.twin_mobility.base_params import TwinBaseParams
from sixgym.envs.twin_mobility.cycle import fidelity

EMPTY = -math.inf
"""Time stamp of an empty place of a buffer."""
LEAST_FIDELITY = 1e-6
"""Least fidelity that deviation ratio divides by."""


def deviation(drift: Tensor, age_s: Tensor, info: Tensor, params: TwinBaseParams) -> Tensor:
    """Deviation D of twins. [additive: standard, Wiener process and its remote estimate].

    additive: lambda Delta + omega e^-I; ratio: lambda Delta / F; ou: lambda / (2 theta) (1 - q) +
    omega e^-I q with q = e^(-2 theta Delta).

    Args:
        drift: lambda, 1/s.
        age_s: Delta, s.
        info: I, nat.
        params: mode, omega, theta.

    Returns:
        Broadcast shape.
    """
    if params.deviation == "ratio":
        return drift * age_s / fidelity(info).clamp_min(LEAST_FIDELITY)
    unseen = params.omega * torch.exp(-info)
    if params.deviation == "additive":
        return drift * age_s + unseen
    decay = 2.0 * params.ou_rate_per_s
    lost = -torch.expm1(-decay * age_s)
    return drift / decay * lost + unseen * (1.0 - lost)


class Packets(NamedTuple):
    """The buffers of all regions, the newest packets first."""

    stamp: Tensor
    """(..., regions, places) t_gen in s, descending; `EMPTY` where there is none."""
    info: Tensor
    """(..., regions, places) I in nat; 0 where there is none."""
    sample: Tensor
    """(..., regions, places) the process at t_gen of sampled twins; otherwise no places."""


class Fusion(NamedTuple):
    """What the best admissible packets of each region would make of its twin, (..., regions)."""

    is_possible: Tensor
    """bool: some newest packets together carry the required information."""
    stamp: Tensor
    """gamma, the oldest stamp of the best ones, s."""
    info: Tensor
    """Their information together, nat."""
    value: Tensor
    """The deviation with them; infinity where no fusion is possible."""
    sample: Tensor
    """The process at gamma, of sampled twins; (..., 0) otherwise."""


def insert(packets: Packets, new: Packets) -> Packets:
    """Put the packets of a slot into the buffers, of which the newest stay.

    Args:
        packets: sorted, (..., regions, places).
        new: in any order, (..., regions, agents), `EMPTY` stamps where there is nothing.

    Returns:
        Of the shape of ``packets``.
    """
    places = packets.stamp.shape[-1]
    stamp, order = torch.cat([packets.stamp, new.stamp], -1).topk(places, -1)
    info = torch.cat([packets.info, new.info], -1).gather(-1, order)
    sample = packets.sample
    if sample.shape[-1]:
        sample = torch.cat([sample, new.sample], -1).gather(-1, order)
    return Packets(stamp, info, sample)


def fuse(
    packets: Packets, theta: Tensor, drift: Tensor, now_s: Tensor, params: TwinBaseParams
) -> Fusion:
    """The newest packets whose fusion serves a region best at a time.

    Of the newest j packets the information adds and the oldest stamp counts; among the j with
    enough information the one with the least deviation is chosen. [ours]

    Args:
        packets: the buffers, (rows, regions, places).
        theta: required information, (rows, regions).
        drift: (rows, regions).
        now_s: (rows,).
        params: of the deviation.
    """
    total = packets.info.cumsum(-1)
    possible = (total >= theta.unsqueeze(-1)) & (packets.stamp > EMPTY)
    age = now_s[:, None, None] - packets.stamp.clamp_min(torch.finfo(total.dtype).min)
    value = deviation(drift.unsqueeze(-1), age, total, params)
    value, best = torch.where(possible, value, math.inf).min(-1, keepdim=True)
    sample = packets.sample
    return Fusion(
        possible.any(-1),
        packets.stamp.gather(-1, best).squeeze(-1),
        total.gather(-1, best).squeeze(-1),
        value.squeeze(-1),
        sample.gather(-1, best).squeeze(-1) if sample.shape[-1] else sample.flatten(-2),
    )


class Tail(NamedTuple):
    """Sums over the slots in which nobody moves any more."""

    largest: Tensor
    """(rows,) of the largest deviation of each slot."""
    each: Tensor
    """(rows, regions) of each region's."""


def idle_tail(
    start: Tensor, info: Tensor, drift: Tensor, slots: Tensor, params: TwinBaseParams, slot_s: float
) -> Tail:
    """Sums of deviations over slots without a delivery, exactly.

    In slot i = 0, 1, ... the deviation of a region, taken in the middle of the slot, is a line a +
    b w_i in w_i = i, or in w_i = 1 - q^i with q = e^(-2 theta delta) for deviation ou. The largest
    is the upper envelope of lines: between its crossings with the others each line is on top for a
    range of slots, over which w_i sums up in closed form. [derived]

    Args:
        start: age at the beginning of the first slot, (rows, regions) s.
        info: (rows, regions) nat.
        drift: (rows, regions).
        slots: how many slots, (rows,), integers in floats.
        params: of the deviation.
        slot_s: length delta of a slot.
    """
    ratio = 1.0
    first = deviation(drift, start + 0.5 * slot_s, info, params)
    if params.deviation == "ou":
        ratio = math.exp(-2.0 * params.ou_rate_per_s * slot_s)
        slope = drift / (2.0 * params.ou_rate_per_s) - first
    else:
        slope = deviation(drift, start + 1.5 * slot_s, info, params) - first
    low, high = _on_top(first, slope, slots, ratio)
    count = (high - low).clamp_min(0.0)
    largest = count * first + slope * _weight(low, torch.maximum(high, low), ratio)
    weight = _weight(torch.zeros_like(slots), slots, ratio).unsqueeze(-1)
    return Tail(largest.sum(-1), slots.unsqueeze(-1) * first + slope * weight)


def _on_top(first: Tensor, slope: Tensor, slots: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Where each line is the largest: first slot, and first slot after, (rows, regions).

    Of two lines the steeper one wins from the slot of their crossing on; of parallel ones the
    higher, of equal ones the first.
    """
    gap = first.unsqueeze(-2) - first.unsqueeze(-1)  # of the other line [..., r, other]
    rise = slope.unsqueeze(-1) - slope.unsqueeze(-2)  # of the line over the other
    cross = gap / torch.where(rise == 0.0, 1.0, rise)
    if ratio < 1.0:
        left = (1.0 - cross).clamp_min(torch.finfo(cross.dtype).tiny)
        cross = torch.where(cross < 1.0, left.log() / math.log(ratio), math.inf)
    end = slots[:, None, None]
    wins_from = torch.minimum(cross.ceil().clamp_min(0.0), end)
    index = torch.arange(first.shape[-1], device=first.device)
    is_later = index.unsqueeze(-1) > index
    loses = (rise == 0.0) & ((gap > 0.0) | ((gap == 0.0) & is_later))
    low = torch.where(rise > 0.0, wins_from, torch.where(loses, end, 0.0)).amax(-1)
    high = torch.where(rise < 0.0, wins_from, end).amin(-1)
    return low, high


def _weight(low: Tensor, high: Tensor, ratio: float) -> Tensor:
    """Sum of w_i over low <= i < high."""
    count = high - low
    if ratio == 1.0:
        return count * (low + high - 1.0) * 0.5
    return count - (ratio**low - ratio**high) / (1.0 - ratio)
