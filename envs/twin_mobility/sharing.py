"""How those who transmit in a slot share the band."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sixgym.envs.backend.solvers import lambert_wm1
from sixgym.envs.twin_mobility import link
from sixgym.envs.twin_mobility.params import TwinSyncParams

BISECTIONS = 60
_LN2 = math.log(2.0)


def share_band(
    sends: Tensor, weight: Tensor, bits: Tensor, received_w: Tensor, params: TwinSyncParams
) -> Tensor:
    """Bandwidth of each agent by ``bw_mode``, (rows, agents) Hz; 0 of who does not transmit.

    Args:
        sends: (rows, agents) bool.
        weight: requests, (rows, agents) > 0.
        bits: what is left to send, (rows, agents).
        received_w: P h, (rows, agents) W.
        params: the mode, the band and the noise.
    """
    by_weight = weight if params.bw_mode == "request" else torch.ones_like(weight)
    asked = torch.where(sends, by_weight, 0.0)
    total = asked.sum(-1, keepdim=True)
    band = params.bandwidth_hz * asked / torch.where(total > 0.0, total, 1.0)
    if params.bw_mode != "minmax":
        return band
    return _equal_times(sends, bits, received_w, band, params)


def _equal_times(
    sends: Tensor, bits: Tensor, received_w: Tensor, equal: Tensor, params: TwinSyncParams
) -> Tensor:
    """The split of the band after which all need the same time, the shortest possible.

    Bisection of the time t between that of an endless band and that of equal parts, for the t at
    which the least bandwidths of the rates bits / t fill the band. [derived]
    """
    snr_hz = received_w / params.noise_w_per_hz
    everything = torch.where(sends, bits, 0.0)
    rate = link.rate_bps(equal, received_w, torch.ones_like(equal), params.noise_w_per_hz,
                         params.se_max)  # fmt: skip
    spent = torch.where(sends, everything / torch.where(sends, rate, 1.0), 0.0)
    low = torch.where(sends, everything * _LN2 / snr_hz, 0.0).amax(-1, keepdim=True)
    high = spent.amax(-1, keepdim=True)
    tiny = torch.finfo(bits.dtype).tiny
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        need = min_bandwidth(everything / middle.clamp_min(tiny), snr_hz, params.se_max)
        fits = need.sum(-1, keepdim=True) <= params.bandwidth_hz
        low, high = torch.where(fits, low, middle), torch.where(fits, middle, high)
    need = min_bandwidth(everything / high.clamp_min(tiny), snr_hz, params.se_max)
    need = torch.where(sends & torch.isfinite(need), need, equal)
    total = need.sum(-1, keepdim=True)
    return params.bandwidth_hz * need / torch.where(total > 0.0, total, 1.0)


def min_bandwidth(rate_bps: Tensor, snr_hz: Tensor, se_max: float = 0.0) -> Tensor:
    """Least bandwidth that carries a rate, Hz; infinity where none does. [derived].

    With a = P h / n0 and y = q ln 2 / a, b = a / z for z = -W_-1(-y e^-y) / y - 1.

    Args:
        rate_bps: q >= 0.
        snr_hz: a > 0, Hz.
        se_max: cap of the spectral efficiency; 0 for none.

    Returns:
        Broadcast shape; 0 at rate 0.
    """
    y = rate_bps * _LN2 / snr_hz
    possible = (y > 0.0) & (y < 1.0)
    inner = torch.where(possible, y, 0.5)
    z = -lambert_wm1(-inner * torch.exp(-inner)) / inner - 1.0
    need = torch.where(possible, snr_hz / z, torch.where(y > 0.0, math.inf, 0.0))
    if se_max > 0.0:
        need = torch.maximum(need, rate_bps / se_max)
    return need
