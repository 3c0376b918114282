"""Small-scale fading and array geometry.

Random draws come from outside (``rng``) as complex normals of unit power, so that a step is a pure
function. A channel is amplitude times a Rician mixture of a constant line-of-sight part and a
scattered part that moves by a Gauss-Markov step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sixgym.envs.backend.complex import Complex, add, scale

SPEED_OF_LIGHT = 299_792_458.0
"""m/s, exact. [standard: SI]"""


def wavelength(carrier_hz: float) -> float:
    """Wavelength ``c / f`` in m.

    Raises:
        ValueError: if ``carrier_hz`` is not positive.
    """
    if not carrier_hz > 0.0:
        raise ValueError(f"carrier_hz = {carrier_hz}, must be > 0")
    return SPEED_OF_LIGHT / carrier_hz


def doppler_frequency(speed_mps: Tensor | float, carrier_hz: float) -> Tensor | float:
    """Largest Doppler shift ``v f / c`` in Hz of a speed in m/s, shape of ``speed_mps``."""
    return speed_mps / wavelength(carrier_hz)


def jakes_correlation(doppler_hz: Tensor | float, lag_s: float) -> Tensor:
    """Correlation ``J0(2 pi f_D tau)`` of a Rayleigh channel with itself a time tau later.

    Args:
        doppler_hz: largest Doppler shift, Hz, any shape; a float gives a float64 scalar tensor.
        lag_s: tau, s, >= 0.

    Returns:
        rho in [-0.403, 1]; 0.95 at f_D tau = 0.07163. [standard: Clarke and Jakes, isotropic
        scattering]

    Raises:
        ValueError: if ``lag_s`` is negative.
    """
    if not lag_s >= 0.0:
        raise ValueError(f"lag_s = {lag_s}, must be >= 0")
    if not isinstance(doppler_hz, Tensor):
        doppler_hz = torch.tensor(doppler_hz, dtype=torch.float64)
    return bessel_j0(2.0 * math.pi * lag_s * doppler_hz)


def bessel_j0(x: Tensor) -> Tensor:
    """Bessel function of the first kind, order 0, to 1e-14 absolute.

    ``torch.special.bessel_j0`` is off by up to 4e-7 for 2 < x < 10, in float64 too. Up to 25 the
    mean of ``cos(x sin t)`` over a quarter turn is taken at 16 midpoints, whose error is
    ``2 J_64(x)``; beyond, Hankel's expansion. [standard: Abramowitz & Stegun 9.1.18, 9.2.5]

    Args:
        x: any shape; found in float64 and given in its dtype.
    """
    size = x.double().abs()
    nodes = (torch.arange(16, dtype=torch.float64, device=x.device) + 0.5) * (math.pi / 32.0)
    near = torch.cos(size.clamp_max(25.0).unsqueeze(-1) * torch.sin(nodes)).mean(-1)
    large = size.clamp_min(25.0)
    even, odd = torch.zeros_like(large), torch.zeros_like(large)
    term = torch.ones_like(large)
    for k in range(18):
        sign = -1.0 if k % 4 in (1, 2) else 1.0
        even, odd = (even + sign * term, odd) if k % 2 == 0 else (even, odd + sign * term)
        term = term * ((2 * k + 1) ** 2 / (8.0 * (k + 1))) / large
    phase = large - math.pi / 4.0
    far = torch.sqrt(2.0 / (math.pi * large)) * (even * torch.cos(phase) - odd * torch.sin(phase))
    return torch.where(size <= 25.0, near, far).to(x.dtype)


def gauss_markov(state: Complex, innovation: Complex, correlation: Tensor | float) -> Complex:
    """One step of a first-order Gauss-Markov process, ``rho h + sqrt(1 - rho^2) z``.

    Unit power is kept and the lag-n correlation is rho^n. [standard]

    Args:
        state: h, any shape, unit power.
        innovation: z, shape of ``state``, unit power, independent of it.
        correlation: rho in [-1, 1]; a float, or a tensor that broadcasts against ``state``.

    Raises:
        ValueError: if a float ``correlation`` is outside [-1, 1].
    """
    if isinstance(correlation, Tensor):
        spread: Tensor | float = torch.sqrt((1.0 - correlation * correlation).clamp_min(0.0))
    else:
        if not -1.0 <= correlation <= 1.0:
            raise ValueError(f"correlation = {correlation}, must be in [-1, 1]")
        spread = math.sqrt(1.0 - correlation * correlation)
    return add(scale(state, correlation), scale(innovation, spread))


def rayleigh(scattered: Complex, gain: Tensor | float) -> Complex:
    """Rayleigh channel ``sqrt(L) z`` of mean power gain L.

    Args:
        scattered: z, any shape, complex normal of unit power.
        gain: L >= 0, linear; a float, or a tensor that broadcasts against ``scattered``.
    """
    return scale(scattered, _root(gain))


def rician(
    line_of_sight: Complex, scattered: Complex, k_factor: float, gain: Tensor | float
) -> Complex:
    """Rician channel ``sqrt(L) (sqrt(K/(1+K)) a + sqrt(1/(1+K)) z)`` of mean power gain L.

    Args:
        line_of_sight: a, unit modulus, any shape.
        scattered: z, shape of ``line_of_sight``, unit power.
        k_factor: K, linear, >= 0: power of the line of sight over the scattered power. 0 is
            Rayleigh, ``math.inf`` a pure line of sight.
        gain: L >= 0, linear; a float, or a tensor that broadcasts against the channel.

    Raises:
        ValueError: if ``k_factor`` is negative. [standard]
    """
    steady, moving = rician_weights(k_factor)
    root = _root(gain)
    return add(scale(line_of_sight, steady * root), scale(scattered, moving * root))


def rician_weights(k_factor: float) -> tuple[float, float]:
    """Amplitudes ``sqrt(K/(1+K))`` and ``sqrt(1/(1+K))`` of the two parts of a Rician channel.

    Raises:
        ValueError: if ``k_factor`` is negative.
    """
    if not k_factor >= 0.0:
        raise ValueError(f"k_factor = {k_factor}, must be >= 0")
    scattered = 1.0 / (1.0 + k_factor)
    return math.sqrt(1.0 - scattered), math.sqrt(scattered)


def linear_array(centre: Tensor, spacing_m: float, count: int, axis: int) -> Tensor:
    """Positions of a uniform linear array.

    Element m is at ``centre + spacing (m - (count - 1) / 2)`` along the axis.

    Args:
        centre: (3,) m.
        spacing_m: distance between neighbours, m, > 0.
        count: elements, >= 0.
        axis: 0, 1 or 2 for x, y, z.

    Returns:
        (count, 3) m.

    Raises:
        ValueError: if spacing, count or axis is out of range.
    """
    _check_array(spacing_m, count, (axis,))
    steps = torch.arange(count, dtype=centre.dtype, device=centre.device)
    offset = spacing_m * (steps - (count - 1) / 2.0)
    return centre + offset.unsqueeze(-1) * _unit(axis, centre)


def planar_array(
    centre: Tensor, spacing_m: float, count: int, axes: tuple[int, int] = (0, 2)
) -> Tensor:
    """Positions of a nearly square grid of ceil(sqrt(count)) columns, filled row by row.

    Element n is at ``centre + spacing (n mod c - (c-1)/2, floor(n/c) - (r-1)/2)`` along the two
    axes, with c columns and r = ceil(count / c) rows. [our choice]

    Args:
        centre: (3,) m.
        spacing_m: distance between neighbours, m, > 0.
        count: elements, >= 0.
        axes: axis along a row and axis across rows.

    Returns:
        (count, 3) m.

    Raises:
        ValueError: if spacing, count or axes are out of range.
    """
    _check_array(spacing_m, count, axes)
    columns = max(1, math.isqrt(max(count - 1, 0)) + 1) if count else 1
    rows = -(-count // columns)
    index = torch.arange(count, device=centre.device)
    along = (index % columns).to(centre.dtype) - (columns - 1) / 2.0
    across = torch.div(index, columns, rounding_mode="floor").to(centre.dtype) - (rows - 1) / 2.0
    offset = along.unsqueeze(-1) * _unit(axes[0], centre)
    offset = offset + across.unsqueeze(-1) * _unit(axes[1], centre)
    return centre + spacing_m * offset


def pairwise_distance(a: Tensor, b: Tensor) -> Tensor:
    """Distance between every point of ``a`` and every point of ``b``.

    Args:
        a: (..., points A, 3) m.
        b: (..., points B, 3) m.

    Returns:
        (..., points A, points B) m.
    """
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(-1).sqrt()


def steering(a: Tensor, b: Tensor, wavelength_m: float) -> Complex:
    """Line-of-sight phasors ``exp(-j 2 pi D / wavelength)`` for exact point-to-point distances D.

    No far-field approximation. Distances are found in float64, since a wavelength is a small part
    of them, and the phasors are given in the dtype of ``a``.

    Args:
        a: (..., points A, 3) m.
        b: (..., points B, 3) m.
        wavelength_m: m, > 0.

    Returns:
        (..., points A, points B), unit modulus. [standard: spherical wave]

    Raises:
        ValueError: if ``wavelength_m`` is not positive.
    """
    if not wavelength_m > 0.0:
        raise ValueError(f"wavelength_m = {wavelength_m}, must be > 0")
    turns = pairwise_distance(a.double(), b.double()) / wavelength_m
    phase = -2.0 * math.pi * (turns - torch.floor(turns))
    return Complex(torch.cos(phase).to(a.dtype), torch.sin(phase).to(a.dtype))


def _root(gain: Tensor | float) -> Tensor | float:
    return torch.sqrt(gain) if isinstance(gain, Tensor) else math.sqrt(gain)


def _unit(axis: int, like: Tensor) -> Tensor:
    return torch.eye(3, dtype=like.dtype, device=like.device)[axis]


def _check_array(spacing_m: float, count: int, axes: tuple[int, ...]) -> None:
    if not spacing_m > 0.0:
        raise ValueError(f"spacing_m = {spacing_m}, must be > 0")
    if count < 0:
        raise ValueError(f"count = {count}, must be >= 0")
    if len(set(axes)) < len(axes) or not set(axes) <= {0, 1, 2}:
        raise ValueError(f"axes = {axes}, must be distinct and from 0, 1, 2")
