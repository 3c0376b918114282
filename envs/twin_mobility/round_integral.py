"""The time integral of the largest deviation over a round, exactly.

Between the refreshes of a round every deviation is a line in a clock w: time itself, or 1 - e^(-2
theta t) for deviation ou. The largest is the upper envelope of lines, and where each line is on
top follows from its crossings with the others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.twin_mobility.base_params import TwinBaseParams
from sixgym.envs.twin_mobility.cycle import fidelity
from sixgym.envs.twin_mobility.twin import LEAST_FIDELITY, deviation


class Twins(NamedTuple):
    """Twins at some time, (..., regions) each."""

    age_s: Tensor
    info: Tensor


def over_round(
    before: Twins,
    after: Twins,
    refresh_s: Tensor,
    drift: Tensor,
    length_s: Tensor,
    params: TwinBaseParams,
) -> Tensor:
    """Integral of max_r D_r over a round in which twins jump once, (rows,) s.

    Args:
        before: the twins at the round's beginning, (rows, regions).
        after: what a refresh makes of them; ``age_s`` as if it were the round's beginning, that is
            minus the time of the stamp since then.
        refresh_s: when each is refreshed, (rows, regions) s; infinity if never.
        drift: (rows, regions).
        length_s: of the round, (rows,).
        params: of the deviation.
    """
    length = length_s.unsqueeze(-1)
    inner = torch.minimum(refresh_s, length).sort(-1).values
    cuts = torch.cat([torch.zeros_like(length), inner, length], -1)
    begin, pieces = cuts[:, :-1], cuts.diff(dim=-1)
    is_new = refresh_s.unsqueeze(1) <= begin.unsqueeze(-1)  # (rows, pieces, regions)
    age = torch.where(is_new, after.age_s.unsqueeze(1), before.age_s.unsqueeze(1))
    info = torch.where(is_new, after.info.unsqueeze(1), before.info.unsqueeze(1))
    twins = Twins(age + begin.unsqueeze(-1), info)
    return of_largest(twins, drift.unsqueeze(1), pieces, params).sum(-1)


def of_largest(twins: Twins, drift: Tensor, length_s: Tensor, params: TwinBaseParams) -> Tensor:
    """Integral of max_r D_r over a time without refresh, (...) s. [derived].

    Args:
        twins: at its beginning.
        drift: broadcasts with them.
        length_s: (...) s.
        params: of the deviation.
    """
    first = deviation(drift, twins.age_s, twins.info, params)
    decay = 2.0 * params.ou_rate_per_s if params.deviation == "ou" else 0.0
    if decay:
        slope, end = drift / decay - first, -torch.expm1(-decay * length_s)
    else:
        rate = drift if params.deviation == "additive" else drift / _divisor(twins.info)
        slope, end = rate.expand_as(first), length_s
    low, high = _on_top(first, slope, end.unsqueeze(-1))
    width = (high - low).clamp_min(0.0)
    if not decay:
        return (width * (first + 0.5 * slope * (low + high))).sum(-1)
    tiny = torch.finfo(low.dtype).tiny
    full = length_s.unsqueeze(-1)

    def when(clock: Tensor) -> Tensor:
        inside = (1.0 - clock).clamp_min(tiny).log() * (-1.0 / decay)
        return torch.where(clock >= end.unsqueeze(-1), full, inside)

    seconds = torch.where(width > 0.0, when(high) - when(low), 0.0)
    return (seconds * (first + slope) - width * slope / decay).sum(-1)


def _divisor(info: Tensor) -> Tensor:
    return fidelity(info).clamp_min(LEAST_FIDELITY)


def _on_top(first: Tensor, slope: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Where each line first + slope w is the largest over 0 <= w <= end: from, to (...).

    Of two lines the steeper one wins from their crossing on; of parallel ones the higher, of equal
    ones the first.
    """
    gap = first.unsqueeze(-2) - first.unsqueeze(-1)  # of the other line [..., r, other]
    rise = slope.unsqueeze(-1) - slope.unsqueeze(-2)  # of the line over the other
    limit = end.unsqueeze(-1)
    cross = gap / torch.where(rise == 0.0, 1.0, rise)
    cross = torch.minimum(cross.clamp_min(0.0), limit)
    index = torch.arange(first.shape[-1], device=first.device)
    is_later = index.unsqueeze(-1) > index
    loses = (rise == 0.0) & ((gap > 0.0) | ((gap == 0.0) & is_later))
    start = torch.where(loses, limit, 0.0)
    low = torch.where(rise > 0.0, cross, start).amax(-1)
    high = torch.where(rise < 0.0, cross, math.inf).amin(-1)
    return low, torch.minimum(high, end)
