"""The uplink of an agent: large-scale gain and the rate of a share of the band."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_PER_BIT = 1.0 / math.log(2.0)


def gain(distance_m: Tensor, gain_1m: float, exponent: float) -> Tensor:
    """Power gain h = beta_0 d^-alpha of a slant distance in m. [notes: alpha 3 there]."""
    return gain_1m * distance_m.pow(-exponent)


def rate_bps(
    bandwidth_hz: Tensor,
    power_w: Tensor,
    power_gain: Tensor,
    noise_w_per_hz: float,
    se_max: float = 0.0,
) -> Tensor:
    """Shannon's rate b log2(1 + P h / (n0 b)) of each agent, bit/s. [standard].

    Args:
        bandwidth_hz: b >= 0.
        power_w: P >= 0.
        power_gain: h >= 0.
        noise_w_per_hz: n0 > 0.
        se_max: cap of the spectral efficiency, bit/s/Hz; 0 for none.

    Returns:
        Broadcast shape; 0 at b = 0, at most P h / (n0 ln 2).
    """
    has_band = bandwidth_hz > 0.0
    band = torch.where(has_band, bandwidth_hz, 1.0)
    efficiency = (power_w * power_gain / (noise_w_per_hz * band)).log1p() * _PER_BIT
    if se_max > 0.0:
        efficiency = efficiency.clamp_max(se_max)
    return torch.where(has_band, band * efficiency, 0.0)
