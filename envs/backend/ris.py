"""Channels through a reconfigurable intelligent surface (RIS).

A surface of N elements turns the phase of what it reflects: element n multiplies by
``v_n = exp(j theta_n)``. Axes: users K, elements N, receive antennas M. N = 0 is no surface.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sixgym.envs.backend.complex import (
    Complex,
    abs2,
    absolute,
    add,
    angle,
    expand_dim,
    from_polar,
    mul,
    norm2,
    total,
)


def unit_phasor(phase: Tensor) -> Complex:
    """Reflection coefficients ``exp(j theta)`` of phases in rad, any shape."""
    return from_polar(1.0, phase)


def cascade(user_to_ris: Complex, ris_to_receiver: Complex) -> Complex:
    """Cascaded channel of every element, ``A[k, n, m] = r[k, n] G[n, m]``.

    Args:
        user_to_ris: r, (..., users, elements).
        ris_to_receiver: G, (..., elements, antennas).

    Returns:
        A, (..., users, elements, antennas).
    """
    return mul(expand_dim(user_to_ris, -1), expand_dim(ris_to_receiver, -3))


def effective_channel(direct: Complex, cascaded: Complex, reflection: Complex) -> Complex:
    """Effective channel ``h_k = d_k + sum_n v_n A[k, n, :]``.

    Args:
        direct: d, (..., users, antennas).
        cascaded: A, (..., users, elements, antennas).
        reflection: v, (..., elements), unit modulus.

    Returns:
        h, (..., users, antennas).
    """
    column = Complex(reflection.re[..., None, :, None], reflection.im[..., None, :, None])
    return add(direct, total(mul(column, cascaded), -2))


def effective_channel_single(direct: Complex, cascaded: Complex, reflection: Complex) -> Complex:
    """Effective channel of a single-antenna receiver, without the antenna axis.

    Args:
        direct: d, (..., users).
        cascaded: A, (..., users, elements).
        reflection: v, (..., elements), unit modulus.

    Returns:
        h, (..., users).
    """
    return add(direct, total(mul(expand_dim(reflection, -2), cascaded), -1))


def quantise_phase(phase: Tensor, bits: int) -> Tensor:
    """Nearest of the 2^b phases ``2 pi m / 2^b``, in (-pi, pi].

    Args:
        phase: rad, any shape and value.
        bits: b, 1 to 16.

    Returns:
        rad, shape of ``phase``, within ``pi / 2^b`` of it on the circle.

    Raises:
        ValueError: if ``bits`` is outside 1 to 16.
    """
    levels = _levels(bits)
    step = 2.0 * math.pi / levels
    level = torch.round(phase / step)
    # the half turn counts as +pi: levels run from -2^(b-1) + 1 to 2^(b-1)
    half = levels // 2
    return (half - torch.remainder(half - level, levels)) * step


def quantisation_loss(bits: int) -> float:
    """Mean power kept by b-bit phases on a large aligned surface, ``(2^b/pi sin(pi/2^b))^2``.

    0.40528, 0.81057, 0.94964 for 1, 2, 3 bits. [standard: Wu & Zhang, discrete phase shifts]

    Raises:
        ValueError: if ``bits`` is outside 1 to 16.
    """
    levels = _levels(bits)
    return (levels / math.pi * math.sin(math.pi / levels)) ** 2


def aligned_phase(direct: Complex, cascaded: Complex) -> Tensor:
    """Phases that align every reflected path of one user with its direct path.

    ``theta_n = angle(d) - angle(A_n)``, the optimum for a single user and antenna, where it reaches
    ``|h| = |d| + sum |A_n|``; with d = 0 all paths are turned to angle 0. [standard]

    Args:
        direct: d, (...).
        cascaded: A, (..., elements).

    Returns:
        (..., elements) rad, in (-2 pi, 2 pi].
    """
    return angle(direct).unsqueeze(-1) - angle(cascaded)


def alignment_bound(direct: Complex, cascaded: Complex) -> Tensor:
    """Largest gain any phases can give each user alone, ``(|d_k| + sum_n |A_kn|)^2``.

    Reached at one antenna; an upper bound at more (triangle inequality). [standard]

    Args:
        direct: d, (..., users, antennas).
        cascaded: A, (..., users, elements, antennas).

    Returns:
        (..., users) power gain.
    """
    if direct.re.shape[-1] == 1:
        paths = absolute(cascaded).sum((-2, -1))
        return (absolute(direct).squeeze(-1) + paths).square()
    return (norm2(direct).sqrt() + norm2(cascaded).sqrt().sum(-1)).square()


def effective_channel_of_hops(
    direct: Complex, user_to_ris: Complex, ris_to_receiver: Complex, reflection: Complex
) -> Complex:
    """Effective channel ``h_k = d_k + sum_n r[k, n] (v_n G[n, :])`` without the cascade.

    The same as :func:`effective_channel` of :func:`cascade`, with half the products: for a step
    that wants the channel once.

    Args:
        direct: d, (..., users, antennas).
        user_to_ris: r, (..., users, elements).
        ris_to_receiver: G, (..., elements, antennas).
        reflection: v, (..., elements), unit modulus.

    Returns:
        h, (..., users, antennas).
    """
    turned = mul(expand_dim(reflection, -1), ris_to_receiver)
    return add(direct, total(mul(expand_dim(user_to_ris, -1), expand_dim(turned, -3)), -2))


def effective_channel_of_hops_single(
    direct: Complex, user_to_ris: Complex, ris_to_receiver: Complex, reflection: Complex
) -> Complex:
    """:func:`effective_channel_of_hops` of a single-antenna receiver, without the antenna axis.

    Args:
        direct: d, (..., users).
        user_to_ris: r, (..., users, elements).
        ris_to_receiver: G, (..., elements).
        reflection: v, (..., elements), unit modulus.

    Returns:
        h, (..., users).
    """
    turned = expand_dim(_fused_mul(reflection, ris_to_receiver), -2)
    return add(direct, total(_fused_mul(user_to_ris, turned), -1))


def _fused_mul(a: Complex, b: Complex) -> Complex:
    """The product, in four kernels instead of six."""
    re = torch.addcmul(a.re * b.re, a.im, b.im, value=-1.0)
    return Complex(re, torch.addcmul(a.re * b.im, a.im, b.re))


def alignment_bound_of_hops(
    direct: Complex, user_to_ris: Complex, ris_to_receiver: Complex
) -> Tensor:
    """:func:`alignment_bound` of the cascade of two hops: ``(|d_k| + sum_n |r_kn| |G_n|)^2``.

    Args:
        direct: d, (..., users, antennas).
        user_to_ris: r, (..., users, elements).
        ris_to_receiver: G, (..., elements, antennas).

    Returns:
        (..., users) power gain.
    """
    element = norm2(ris_to_receiver).sqrt().unsqueeze(-2)
    paths = (abs2(user_to_ris).sqrt() * element).sum(-1)
    return (norm2(direct).sqrt() + paths).square()


def random_phase_mean_gain(direct: Complex, cascaded: Complex) -> Tensor:
    """Mean gain over independent uniform phases, ``|d_k|^2 + sum_n |A_kn|^2``.

    Args:
        direct: d, (..., users, antennas).
        cascaded: A, (..., users, elements, antennas).

    Returns:
        (..., users) power gain. [derived]
    """
    return norm2(direct) + norm2(cascaded).sum(-1)


def _levels(bits: int) -> int:
    if not 1 <= bits <= 16:
        raise ValueError(f"bits = {bits}, must be from 1 to 16")
    return 1 << bits
