"""Path loss, line-of-sight probability and decibels.

Losses are in dB and positive, gains are linear power ratios. Frequencies are in Hz and distances in
m throughout; the formulas of 3GPP want GHz inside, which is done here. The 3GPP models are those of
TR 38.901 (V16 to V19, tables 7.4.1-1 and 7.4.2-1); outside the ranges given they extrapolate.
[standard: 3GPP TR 38.901]
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.backend.fading import SPEED_OF_LIGHT


class ShadowSigma(NamedTuple):
    """Standard deviation of log-normal shadow fading, dB.

    Attributes:
        los: on line-of-sight links.
        nlos: on the others.
    """

    los: float
    nlos: float


UMI_SHADOW_DB = ShadowSigma(4.0, 7.82)
"""UMi street canyon. [standard: TR 38.901 table 7.4.1-1]"""
UMA_SHADOW_DB = ShadowSigma(4.0, 6.0)
"""UMa. [standard: TR 38.901 table 7.4.1-1]"""
INH_SHADOW_DB = ShadowSigma(3.0, 8.03)
"""InH office. [standard: TR 38.901 table 7.4.1-1]"""


def db_to_linear(value_db: Tensor) -> Tensor:
    """Power ratio ``10^(dB/10)``, shape of ``value_db``."""
    return torch.exp(value_db * (math.log(10.0) / 10.0))


def linear_to_db(ratio: Tensor) -> Tensor:
    """``10 log10(ratio)`` of a power ratio, dB; -inf for 0."""
    return 10.0 * torch.log10(ratio)


def dbm_to_watt(power_dbm: float) -> float:
    """Power in W of a power in dBm: -80 dBm are 1e-11 W."""
    return math.pow(10.0, (power_dbm - 30.0) / 10.0)


def watt_to_dbm(power_w: float) -> float:
    """Power in dBm of a power in W.

    Raises:
        ValueError: if ``power_w`` is not positive.
    """
    _positive("power_w", power_w)
    return 10.0 * math.log10(power_w) + 30.0


def gain_of_loss(loss_db: Tensor) -> Tensor:
    """Linear power gain ``10^(-loss/10)`` of a loss in dB, shape of ``loss_db``."""
    return db_to_linear(-loss_db)


def log_distance_gain(
    distance_m: Tensor, exponent: float, gain_at_1m_db: float, extra_loss_db: float = 0.0
) -> Tensor:
    """Linear power gain ``C0 D^-a``, less an extra loss.

    Args:
        distance_m: D, m, any shape, > 0; the law is meant for D >= 1 m.
        exponent: a, 1, >= 0 (2 in free space, 3.5 over a blocked urban link).
        gain_at_1m_db: C0, dB (-30 in Wu & Zhang).
        extra_loss_db: loss of a wall or another blockage, dB.

    Returns:
        Shape of ``distance_m``. [standard: log-distance law]

    Raises:
        ValueError: if ``exponent`` is negative.
    """
    if not exponent >= 0.0:
        raise ValueError(f"exponent = {exponent}, must be >= 0")
    scale = math.pow(10.0, (gain_at_1m_db - extra_loss_db) / 10.0)
    return scale * distance_m**-exponent


def free_space_loss_db(distance_m: Tensor, carrier_hz: float) -> Tensor:
    """Friis loss ``20 log10(4 pi D f / c)`` in dB between isotropic antennas.

    Args:
        distance_m: D, m, any shape, > 0.
        carrier_hz: f, Hz, > 0.

    Raises:
        ValueError: if ``carrier_hz`` is not positive.
    """
    _positive("carrier_hz", carrier_hz)
    return 20.0 * torch.log10(distance_m * (4.0 * math.pi * carrier_hz / SPEED_OF_LIGHT))


def distance_3d(distance_2d_m: Tensor, height_a_m: Tensor | float, height_b_m: float) -> Tensor:
    """Slant distance ``sqrt(d^2 + (h_a - h_b)^2)`` in m, broadcast shape."""
    difference = torch.as_tensor(
        height_a_m - height_b_m, dtype=distance_2d_m.dtype, device=distance_2d_m.device
    )
    return torch.hypot(distance_2d_m, difference)


def breakpoint_distance(
    user_height_m: Tensor | float,
    base_height_m: float,
    carrier_hz: float,
    environment_height_m: float = 1.0,
) -> Tensor | float:
    """Breakpoint ``d_BP = 4 (h_BS - h_E) (h_UT - h_E) f / c`` in m, of UMi and UMa.

    Args:
        user_height_m: h_UT, m, float or any shape.
        base_height_m: h_BS, m.
        carrier_hz: f, Hz.
        environment_height_m: h_E, m: 1 in UMi; in UMa 1 for users up to 13 m, and above that drawn
            from 12, 15, ... with a probability that is left to the caller.

    Returns:
        Shape of ``user_height_m``. TR 38.901 rounds c to 3e8 m/s, which moves the loss beyond the
        breakpoint by less than 0.006 dB; here c is exact. [standard: TR 38.901 table 7.4.1-1]
    """
    reach = 4.0 * (base_height_m - environment_height_m) * carrier_hz / SPEED_OF_LIGHT
    return (user_height_m - environment_height_m) * reach


def umi_los_loss_db(
    distance_2d_m: Tensor,
    carrier_hz: float,
    user_height_m: Tensor | float = 1.5,
    base_height_m: float = 10.0,
) -> Tensor:
    """UMi street canyon, line of sight.

    ``32.4 + 21 lg d + 20 lg f`` up to the breakpoint, then
    ``32.4 + 40 lg d + 20 lg f - 9.5 lg(d_BP^2 + (h_BS - h_UT)^2)``, with d the slant distance in m
    and f in GHz.

    Args:
        distance_2d_m: ground distance, m, any shape; 10 m to 5 km.
        carrier_hz: 0.5 to 100 GHz.
        user_height_m: 1.5 to 22.5 m, float or a shape that broadcasts.
        base_height_m: 10 m in the standard, > 1.

    Returns:
        Loss in dB. [standard: TR 38.901 table 7.4.1-1; shadow fading: ``UMI_SHADOW_DB``]

    Raises:
        ValueError: if a float argument is out of range.
    """
    _check_urban(carrier_hz, user_height_m, base_height_m)
    return _dual_slope(
        distance_2d_m, carrier_hz, user_height_m, base_height_m, _DualSlope(32.4, 21.0, 9.5)
    )


def umi_nlos_loss_db(
    distance_2d_m: Tensor,
    carrier_hz: float,
    user_height_m: Tensor | float = 1.5,
    base_height_m: float = 10.0,
) -> Tensor:
    """UMi street canyon, no line of sight.

    The larger of the line-of-sight loss and
    ``35.3 lg d + 22.4 + 21.3 lg f - 0.3 (h_UT - 1.5)``.

    Arguments, result and errors are those of :func:`umi_los_loss_db`. [standard: TR 38.901]
    """
    los = umi_los_loss_db(distance_2d_m, carrier_hz, user_height_m, base_height_m)
    slant = distance_3d(distance_2d_m, user_height_m, base_height_m)
    fixed = 22.4 + 21.3 * math.log10(carrier_hz / 1e9)
    other = 35.3 * torch.log10(slant) + (fixed - 0.3 * (user_height_m - 1.5))
    return torch.maximum(los, other)


def uma_los_loss_db(
    distance_2d_m: Tensor,
    carrier_hz: float,
    user_height_m: Tensor | float = 1.5,
    base_height_m: float = 25.0,
) -> Tensor:
    """UMa, line of sight, with an effective environment height of 1 m.

    ``28 + 22 lg d + 20 lg f`` up to the breakpoint, then
    ``28 + 40 lg d + 20 lg f - 9 lg(d_BP^2 + (h_BS - h_UT)^2)``, with d the slant distance in m and
    f in GHz.

    Args:
        distance_2d_m: ground distance, m, any shape; 10 m to 5 km.
        carrier_hz: 0.5 to 100 GHz.
        user_height_m: 1.5 to 22.5 m, float or a shape that broadcasts. Above 13 m the standard
            draws the environment height (:func:`breakpoint_distance`), which is not done here.
        base_height_m: 25 m in the standard, > 1.

    Returns:
        Loss in dB. [standard: TR 38.901 table 7.4.1-1; shadow fading: ``UMA_SHADOW_DB``]

    Raises:
        ValueError: if a float argument is out of range.
    """
    _check_urban(carrier_hz, user_height_m, base_height_m)
    return _dual_slope(
        distance_2d_m, carrier_hz, user_height_m, base_height_m, _DualSlope(28.0, 22.0, 9.0)
    )


def uma_nlos_loss_db(
    distance_2d_m: Tensor,
    carrier_hz: float,
    user_height_m: Tensor | float = 1.5,
    base_height_m: float = 25.0,
) -> Tensor:
    """UMa, no line of sight.

    The larger of the line-of-sight loss and ``13.54 + 39.08 lg d + 20 lg f - 0.6 (h_UT - 1.5)``.

    Arguments, result and errors are those of :func:`uma_los_loss_db`. [standard: TR 38.901]
    """
    los = uma_los_loss_db(distance_2d_m, carrier_hz, user_height_m, base_height_m)
    slant = distance_3d(distance_2d_m, user_height_m, base_height_m)
    fixed = 13.54 + 20.0 * math.log10(carrier_hz / 1e9)
    other = 39.08 * torch.log10(slant) + (fixed - 0.6 * (user_height_m - 1.5))
    return torch.maximum(los, other)


def inh_los_loss_db(distance_3d_m: Tensor, carrier_hz: float) -> Tensor:
    """InH office, line of sight: ``32.4 + 17.3 lg d + 20 lg f``, f in GHz.

    Args:
        distance_3d_m: slant distance, m, any shape; 1 to 150 m.
        carrier_hz: 0.5 to 100 GHz.

    Returns:
        Loss in dB. [standard: TR 38.901 table 7.4.1-1; shadow fading: ``INH_SHADOW_DB``]

    Raises:
        ValueError: if ``carrier_hz`` is out of range.
    """
    _check_carrier(carrier_hz)
    return 17.3 * torch.log10(distance_3d_m) + (32.4 + 20.0 * math.log10(carrier_hz / 1e9))


def inh_nlos_loss_db(distance_3d_m: Tensor, carrier_hz: float) -> Tensor:
    """InH office, no line of sight.

    The larger of the line-of-sight loss and ``38.3 lg d + 17.3 + 24.9 lg f``.

    Arguments, result and errors are those of :func:`inh_los_loss_db`. [standard: TR 38.901]
    """
    los = inh_los_loss_db(distance_3d_m, carrier_hz)
    other = 38.3 * torch.log10(distance_3d_m) + (17.3 + 24.9 * math.log10(carrier_hz / 1e9))
    return torch.maximum(los, other)


def umi_los_probability(distance_2d_m: Tensor) -> Tensor:
    """UMi: 1 up to 18 m, then ``18/d + exp(-d/36) (1 - 18/d)``.

    Args:
        distance_2d_m: outdoor ground distance, m, any shape.

    Returns:
        In (0, 1]. [standard: TR 38.901 table 7.4.2-1]
    """
    near = 18.0 / distance_2d_m.clamp_min(18.0)
    return near + torch.exp(-distance_2d_m / 36.0) * (1.0 - near)


def uma_los_probability(distance_2d_m: Tensor, user_height_m: Tensor | float = 1.5) -> Tensor:
    """UMa: 1 up to 18 m, then the UMi form with 63 m, raised for users above 13 m.

    ``[18/d + exp(-d/63) (1 - 18/d)] [1 + C' 5/4 (d/100)^3 exp(-d/150)]`` with
    ``C' = ((h_UT - 13)/10)^1.5`` above 13 m and 0 below.

    Args:
        distance_2d_m: outdoor ground distance, m, any shape.
        user_height_m: up to 23 m, float or a shape that broadcasts.

    Returns:
        In (0, 1]. [standard: TR 38.901 table 7.4.2-1]

    Raises:
        ValueError: if a float ``user_height_m`` is above 23.
    """
    if not isinstance(user_height_m, Tensor) and not user_height_m <= 23.0:
        raise ValueError(f"user_height_m = {user_height_m}, must be <= 23")
    height = torch.as_tensor(user_height_m, dtype=distance_2d_m.dtype, device=distance_2d_m.device)
    raised = ((height - 13.0).clamp_min(0.0) / 10.0) ** 1.5
    near = 18.0 / distance_2d_m.clamp_min(18.0)
    base = near + torch.exp(-distance_2d_m / 63.0) * (1.0 - near)
    lift = 1.25 * (distance_2d_m / 100.0) ** 3 * torch.exp(-distance_2d_m / 150.0)
    return torch.where(distance_2d_m <= 18.0, 1.0, base * (1.0 + raised * lift))


def inh_mixed_los_probability(distance_2d_m: Tensor) -> Tensor:
    """InH mixed office: 1 up to 1.2 m, ``exp(-(d - 1.2)/4.7)`` to 6.5 m, then the far part.

    The far part is ``0.32 exp(-(d - 6.5)/32.6)``.

    Args:
        distance_2d_m: ground distance, m, any shape.

    Returns:
        In (0, 1]. [standard: TR 38.901 table 7.4.2-1]
    """
    near = torch.exp(-(distance_2d_m - 1.2).clamp_min(0.0) / 4.7)
    return torch.where(distance_2d_m < 6.5, near, 0.32 * torch.exp(-(distance_2d_m - 6.5) / 32.6))


def inh_open_los_probability(distance_2d_m: Tensor) -> Tensor:
    """InH open office: 1 up to 5 m, ``exp(-(d - 5)/70.8)`` to 49 m, then the far part.

    The far part is ``0.54 exp(-(d - 49)/211.7)``.

    Args:
        distance_2d_m: ground distance, m, any shape.

    Returns:
        In (0, 1]. [standard: TR 38.901 table 7.4.2-1]
    """
    near = torch.exp(-(distance_2d_m - 5.0).clamp_min(0.0) / 70.8)
    return torch.where(
        distance_2d_m <= 49.0, near, 0.54 * torch.exp(-(distance_2d_m - 49.0) / 211.7)
    )


class _DualSlope(NamedTuple):
    intercept_db: float
    near_slope: float
    breakpoint_slope: float


def _dual_slope(
    distance_2d_m: Tensor,
    carrier_hz: float,
    user_height_m: Tensor | float,
    base_height_m: float,
    law: _DualSlope,
) -> Tensor:
    corner = breakpoint_distance(user_height_m, base_height_m, carrier_hz)
    corner = torch.as_tensor(corner, dtype=distance_2d_m.dtype, device=distance_2d_m.device)
    level = torch.log10(distance_3d(distance_2d_m, user_height_m, base_height_m))
    fixed = law.intercept_db + 20.0 * math.log10(carrier_hz / 1e9)
    bend = law.breakpoint_slope * torch.log10(
        corner.square() + (base_height_m - user_height_m) ** 2
    )
    near = fixed + law.near_slope * level
    far = fixed + 40.0 * level - bend
    return torch.where(distance_2d_m < corner, near, far)


def _check_urban(carrier_hz: float, user_height_m: Tensor | float, base_height_m: float) -> None:
    _check_carrier(carrier_hz)
    if not isinstance(user_height_m, Tensor) and not 1.5 <= user_height_m <= 22.5:
        raise ValueError(f"user_height_m = {user_height_m}, must be from 1.5 to 22.5")
    if not base_height_m > 1.0:
        raise ValueError(f"base_height_m = {base_height_m}, must be > 1")


def _check_carrier(carrier_hz: float) -> None:
    if not 0.5e9 <= carrier_hz <= 100e9:
        raise ValueError(f"carrier_hz = {carrier_hz}, must be from 0.5e9 to 100e9")


def _positive(name: str, value: float) -> None:
    if not value > 0.0:
        raise ValueError(f"{name} = {value}, must be > 0")
