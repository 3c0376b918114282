"""Uplink multiple access: NOMA with successive decoding, OFDMA and TDMA.

``order`` is a permutation of the users on the last axis: ``order[..., i]`` is the user decoded
i-th, so that user sees the received powers of the users at ``order[..., j]`` with j > i only.
Single-antenna functions work with power gains ``g = |h|^2``; the functions named ``mmse`` take a
channel vector over the antennas of the receiver. ``noise_power_w`` may be 1 for channels that are
divided by the noise amplitude, which is how float32 is best used. All logarithms are natural unless
the name says bits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sixgym.envs.backend.complex import Complex, abs2, conj_mul, mul, scale

LN2 = math.log(2.0)


class MinPower(NamedTuple):
    """Least powers that carry the users' demands, in user order.

    Attributes:
        power_w: (..., users) transmit power, W.
        sinr: (..., users) SINR reached, 1: exactly the target where the power is below the cap.
    """

    power_w: Tensor
    sinr: Tensor


class SharedRate(NamedTuple):
    """What an orthogonal scheme gives each user.

    Attributes:
        rate_bps: (..., users) mean rate, bit/s.
        sinr: (..., users) SNR while the user transmits, 1.
    """

    rate_bps: Tensor
    sinr: Tensor


def nats_per_use(bits: Tensor, bandwidth_hz: float, time_s: float) -> Tensor:
    """Demand in nats per channel use, ``y = ln2 bits / (bandwidth time)``.

    Args:
        bits: bits to be carried, any shape.
        bandwidth_hz: bandwidth, Hz, > 0.
        time_s: time on the air, s, > 0.

    Returns:
        y of the shape of ``bits``, 1. Required SINR: ``expm1(y)``. [standard: Shannon]

    Raises:
        ValueError: if bandwidth or time is not positive.
    """
    _positive("bandwidth_hz", bandwidth_hz)
    _positive("time_s", time_s)
    return bits * (LN2 / (bandwidth_hz * time_s))


def shannon_rate(sinr: Tensor, bandwidth_hz: float) -> Tensor:
    """Rate ``B log2(1 + sinr)`` in bit/s of the SINR, any shape.

    [standard: Shannon]
    """
    return torch.log1p(sinr) * (bandwidth_hz / LN2)


def time_on_air(bits: Tensor, rate_bps: Tensor, limit_s: float) -> Tensor:
    """Time a user transmits, ``min(limit, bits / rate)`` in s; 0 where there is nothing to send.

    Args:
        bits: (..., users) bits to send, >= 0.
        rate_bps: (..., users) rate, bit/s, >= 0; a rate of 0 takes the whole limit.
        limit_s: length of the transmit phase, s.
    """
    tiny = torch.finfo(rate_bps.dtype).tiny
    return (bits / rate_bps.clamp_min(tiny)).clamp_max(limit_s)


def descending_gain_order(gain: Tensor) -> Tensor:
    """Order that decodes the strongest user first; ties keep the lower index first.

    It needs the least sum power for any demands on a single-antenna uplink without power caps,
    since swapping neighbours a, b changes it by ``G_a G_b (1/g_a - 1/g_b)`` times a positive
    constant, with G the required SINRs. [derived]

    Args:
        gain: (..., users) power gains.

    Returns:
        (..., users) int64 permutation.
    """
    return torch.argsort(gain, dim=-1, descending=True, stable=True)


def decode_position(order: Tensor) -> Tensor:
    """Place of each user in the order (the inverse permutation), (..., users) int64, 0 first."""
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter(-1, order, places)


def interference_weight(order: Tensor, residual: Tensor | float, dtype: torch.dtype) -> Tensor:
    """Share of user j's received power that user k sees, (..., users k, users j).

    1 for users decoded after k, ``residual`` for users decoded before k, 0 for k itself.

    Args:
        order: (..., users) int64 permutation.
        residual: share of a decoded user's power that cancellation leaves, in [0, 1]; a float, or a
            tensor that broadcasts against (..., users k, users j).
        dtype: floating dtype of the result.

    Raises:
        ValueError: if a float ``residual`` is outside [0, 1].
    """
    if not isinstance(residual, Tensor) and not 0.0 <= residual <= 1.0:
        raise ValueError(f"residual = {residual}, must be in [0, 1]")
    place = decode_position(order)
    later = (place.unsqueeze(-2) > place.unsqueeze(-1)).to(dtype)
    if not isinstance(residual, Tensor) and residual == 0.0:
        return later
    earlier = (place.unsqueeze(-2) < place.unsqueeze(-1)).to(dtype)
    return later + residual * earlier


def sic_sinr(
    received_w: Tensor, order: Tensor, noise_power_w: Tensor | float, residual: Tensor | float = 0.0
) -> Tensor:
    """SINR of every user under successive interference cancellation, one receive antenna.

    ``sinr_k = Q_k / (noise + sum_{j after k} Q_j + residual * sum_{j before k} Q_j)``.
    [standard: Tse & Viswanath ch. 6; the residual share is the usual model of imperfect
    cancellation]

    Args:
        received_w: (..., users) received powers ``Q = p g``, W, >= 0.
        order: (..., users) int64 decoding order.
        noise_power_w: noise power, W, > 0.
        residual: share of a decoded user's power that stays, in [0, 1].

    Returns:
        (..., users) SINR in user order, 1.

    Raises:
        ValueError: if a float ``noise_power_w`` is not positive or ``residual`` is outside [0, 1].
    """
    _positive("noise_power_w", noise_power_w)
    weight = interference_weight(order, residual, received_w.dtype)
    return received_w / ((weight * received_w.unsqueeze(-2)).sum(-1) + noise_power_w)


def sum_spectral_efficiency(received_w: Tensor, noise_power_w: Tensor | float) -> Tensor:
    """Sum rate of perfect cancellation, ``log2(1 + sum_k Q_k / noise)``, the same for any order.

    Args:
        received_w: (..., users) received powers, W.
        noise_power_w: noise power, W, > 0.

    Returns:
        (...) bit/s/Hz. [standard: Gaussian multiple access channel]
    """
    return torch.log1p(received_w.sum(-1) / noise_power_w) / LN2


def min_power(
    gain: Tensor, target_sinr: Tensor, order: Tensor, noise_power_w: float, max_power_w: float
) -> MinPower:
    """Least powers that reach the target SINRs, capped, one receive antenna.

    Walks from the user decoded last to the first: ``I = noise + sum of later Q``,
    ``Q = min(max_power g, target I)``. A power depends on later-decoded users only, so the capped
    walk is exact. Three operations a user. [derived]

    Args:
        gain: (..., users) power gains ``g``, >= 0; this and the next two of one shape.
        target_sinr: (..., users) required SINRs, >= 0; infinite ones are capped too.
        order: (..., users) int64 decoding order.
        noise_power_w: noise power, W, > 0.
        max_power_w: cap on every transmit power, W, > 0; ``math.inf`` for none.

    Returns:
        Powers and SINRs. A user of gain 0 that has a target transmits at the cap and reaches 0.

    Raises:
        ValueError: if noise power or cap is not positive.
    """
    _positive("noise_power_w", noise_power_w)
    _positive("max_power_w", max_power_w)
    targets = target_sinr.gather(-1, order).unbind(-1)
    caps = (gain * max_power_w).gather(-1, order).unbind(-1) if max_power_w < math.inf else None
    interference = torch.full_like(targets[0], noise_power_w)
    seen = [interference] * len(targets)
    for i in range(len(targets) - 1, -1, -1):
        seen[i] = interference
        received = targets[i] * interference
        if caps is not None:
            received = torch.minimum(received, caps[i])
        interference = interference + received
    needed = torch.empty_like(gain).scatter(-1, order, torch.stack(seen, -1))
    power = target_sinr * needed / gain.clamp_min(torch.finfo(gain.dtype).tiny)
    if caps is None:
        return MinPower(power, target_sinr)
    power = power.clamp_max(max_power_w)
    reached = torch.where(power < max_power_w, target_sinr, power * gain / needed)
    return MinPower(power, reached)


def capped_walk(target_sinr: Tensor, cap: Tensor) -> tuple[Tensor, Tensor]:
    """The walk of :func:`min_power` alone, for users already in decoding order.

    From the user decoded last to the first: ``I = 1 + sum of later Q``, ``Q = min(cap, target I)``,
    all over the noise power. The least work for a step that is run often.

    Args:
        target_sinr: (..., users) required SINRs in decoding order, >= 0.
        cap: (..., users) largest received powers over the noise, > 0; may have further axes in
            front, one walk for each of several caps.

    Returns:
        Received powers Q and interference I, over the noise, shape of ``cap``.
    """
    received, interference = _walk(target_sinr, cap)
    interference.append(torch.ones_like(received[-1]))
    return torch.stack(received, -1), torch.stack(interference, -1)


def capped_received(target_sinr: Tensor, cap: Tensor) -> Tensor:
    """The received powers of :func:`capped_walk` alone."""
    return torch.stack(_walk(target_sinr, cap)[0], -1)


def _walk(target_sinr: Tensor, cap: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Received powers in decoding order, and the interference of all but the user decoded last."""
    targets, caps = target_sinr.unbind(-1), cap.unbind(-1)
    received = [torch.minimum(targets[-1], caps[-1])]
    interference: list[Tensor] = []
    for target, most in zip(targets[-2::-1], caps[-2::-1], strict=True):
        interference.append((interference[-1] if interference else 1.0) + received[-1])
        received.append(torch.minimum(target * interference[-1], most))
    return received[::-1], interference[::-1]


def log_min_received(nats: Tensor, order: Tensor) -> Tensor:
    """Logarithm of the uncapped least received powers over the noise, one receive antenna.

    ``Q / noise = (e^y - 1) exp(sum of y over later-decoded users)``: independent of the channel.
    The logarithm cannot overflow, where the sum of y is large. [derived]

    Args:
        nats: (..., users) demands y, nats per channel use, >= 0.
        order: (..., users) int64 decoding order.

    Returns:
        (..., users) ``ln(Q / noise)`` in user order; -inf where the demand is 0.
    """
    ordered = nats.gather(-1, order)
    later = pad(ordered[..., 1:].flip(-1).cumsum(-1).flip(-1), (0, 1))
    logs = later + ordered + torch.log(-torch.expm1(-ordered))
    return torch.empty_like(logs).scatter(-1, order, logs)


def uncapped_sum_power(
    gain: Tensor, nats: Tensor, order: Tensor, noise_power_w: float = 1.0
) -> Tensor:
    """Sum of the uncapped least transmit powers in closed form, one receive antenna.

    ``noise [ sum_i (1/g_i - 1/g_{i-1}) e^{Y_i} - 1/g_last ]`` over the decoding order, with ``Y_i``
    the demand of user i and of all later users and ``1/g_{-1} = 0``. If gains descend along the
    order every coefficient is positive: convex in the demands. [derived]

    Args:
        gain: (..., users) power gains, > 0.
        nats: (..., users) demands, nats per channel use.
        order: (..., users) int64 decoding order.
        noise_power_w: noise power, W, > 0.

    Returns:
        (...) sum power, W.
    """
    inverse = gain.reciprocal().gather(-1, order)
    to_go = nats.gather(-1, order).flip(-1).cumsum(-1).flip(-1)
    step = torch.diff(inverse, dim=-1, prepend=torch.zeros_like(inverse[..., :1]))
    # expm1 and the telescoping sum of the steps give the same value without the cancelling "- 1/g"
    return noise_power_w * (step * torch.expm1(to_go)).sum(-1)


def mmse_sic_sinr(
    channel: Complex,
    power_w: Tensor,
    order: Tensor,
    noise_power_w: float,
    residual: Tensor | float = 0.0,
) -> Tensor:
    """SINR of every user for an MMSE receiver with successive cancellation.

    ``sinr_k = p_k h_k^H (noise I + sum_j w_kj p_j h_j h_j^H)^{-1} h_k`` with w of
    :func:`interference_weight`. [standard: Tse & Viswanath ch. 8, 10]

    Args:
        channel: (..., users, antennas).
        power_w: (..., users) transmit powers, W, >= 0.
        order: (..., users) int64 decoding order.
        noise_power_w: noise power at each antenna, W, > 0.
        residual: share of a decoded user's power that stays, in [0, 1].

    Returns:
        (..., users) SINR in user order, 1.

    Raises:
        ValueError: if ``noise_power_w`` is not positive or ``residual`` is outside [0, 1].
    """
    _positive("noise_power_w", noise_power_w)
    weight = interference_weight(order, residual, power_w.dtype)
    amplitude = torch.sqrt(power_w).unsqueeze(-1) * noise_power_w**-0.5
    outer = _outer_products(scale(channel, amplitude))
    users, size = outer.shape[-3], outer.shape[-1]
    mixed = weight @ outer.flatten(-2)
    covariance = mixed.reshape(*mixed.shape[:-1], size, size)
    covariance = covariance + torch.eye(size, dtype=power_w.dtype, device=power_w.device)
    factor: Tensor = torch.linalg.cholesky_ex(covariance).L
    column = torch.cat([channel.re * amplitude, channel.im * amplitude], -1)
    whitened: Tensor = torch.linalg.solve_triangular(
        factor, column.expand(*factor.shape[:-3], users, size).unsqueeze(-1), upper=False
    )
    return whitened.square().sum((-2, -1))


def mmse_sum_spectral_efficiency(channel: Complex, power_w: Tensor, noise_power_w: float) -> Tensor:
    """Sum rate of perfect cancellation, ``log2 det(I + sum_k p_k h_k h_k^H / noise)``.

    Args:
        channel: (..., users, antennas).
        power_w: (..., users) transmit powers, W.
        noise_power_w: noise power at each antenna, W, > 0.

    Returns:
        (...) bit/s/Hz; the sum of ``log2(1 + sinr)`` of :func:`mmse_sic_sinr` for any order.
        [standard: Gaussian multiple access channel]
    """
    _positive("noise_power_w", noise_power_w)
    amplitude = torch.sqrt(power_w).unsqueeze(-1) * noise_power_w**-0.5
    total = _outer_products(scale(channel, amplitude)).sum(-3)
    eye = torch.eye(total.shape[-1], dtype=total.dtype, device=total.device)
    # the real 2M x 2M form has every eigenvalue twice, so the logarithm is halved;
    # log det = 2 sum log diag(cholesky)
    factor: Tensor = torch.linalg.cholesky_ex(total + eye).L
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) / LN2


def mmse_min_power(
    channel: Complex, target_sinr: Tensor, order: Tensor, noise_power_w: float, max_power_w: float
) -> MinPower:
    """Least powers that reach the target SINRs, capped, MMSE receiver with cancellation.

    The walk of :func:`min_power` with ``g / I`` replaced by ``h^H R^{-1} h``; a square root S of
    ``R^{-1} = S S^H`` is updated by rank one (Potter's form), which keeps ``R^{-1}`` positive in
    float32 where the plain inverse update cancels. [standard: Potter's square-root update, mem.]

    Args:
        channel: (..., users, antennas).
        target_sinr: (..., users) required SINRs, >= 0.
        order: (..., users) int64 decoding order.
        noise_power_w: noise power at each antenna, W, > 0.
        max_power_w: cap on every transmit power, W, > 0; ``math.inf`` for none.

    Returns:
        Powers and SINRs. A user of gain 0 that has a target transmits at the cap and reaches 0.

    Raises:
        ValueError: if noise power or cap is not positive.
    """
    _positive("noise_power_w", noise_power_w)
    _positive("max_power_w", max_power_w)
    antennas = channel.re.shape[-1]
    by_antenna = order.unsqueeze(-1).expand(*order.shape, antennas)
    normed = scale(channel, noise_power_w**-0.5)
    columns = Complex(normed.re.gather(-2, by_antenna), normed.im.gather(-2, by_antenna))
    targets = target_sinr.gather(-1, order).unbind(-1)
    eye = torch.eye(antennas, dtype=target_sinr.dtype, device=target_sinr.device)
    root = Complex(eye.expand(*order.shape[:-1], antennas, antennas), torch.zeros_like(eye))
    powers, sinrs = list(targets), list(targets)
    for i in range(len(targets) - 1, -1, -1):
        column = Complex(columns.re[..., i, :, None], columns.im[..., i, :, None])
        product = conj_mul(root, column)
        seen = Complex(product.re.sum(-2), product.im.sum(-2))  # S^H h
        per_watt = abs2(seen).sum(-1)
        powers[i] = (targets[i] / per_watt.clamp_min(torch.finfo(per_watt.dtype).tiny)).clamp_max(
            max_power_w
        )
        sinrs[i] = torch.where(powers[i] < max_power_w, targets[i], powers[i] * per_watt)
        root = _potter_update(root, seen, powers[i], per_watt)
    blank = torch.empty_like(target_sinr)
    return MinPower(
        blank.scatter(-1, order, torch.stack(powers, -1)),
        blank.scatter(-1, order, torch.stack(sinrs, -1)),
    )


def _potter_update(root: Complex, seen: Complex, power_w: Tensor, per_watt: Tensor) -> Complex:
    """Square root of the inverse covariance after ``power h h^H`` is added; seen = S^H h."""
    rest = 1.0 / (1.0 + power_w * per_watt)
    weight = power_w * rest / (1.0 + torch.sqrt(rest))
    projected = mul(root, Complex(seen.re.unsqueeze(-2), seen.im.unsqueeze(-2)))
    image = Complex(projected.re.sum(-1, keepdim=True), projected.im.sum(-1, keepdim=True))
    across = Complex(seen.re.unsqueeze(-2), -seen.im.unsqueeze(-2))
    change = scale(mul(image, across), weight[..., None, None])
    return Complex(root.re - change.re, root.im - change.im)


def _outer_products(channel: Complex) -> Tensor:
    """``h h^H`` of every user in the real form [[Re, -Im], [Im, Re]], (..., users, 2M, 2M)."""
    left, right = torch.cat([channel.re, channel.im], -1), torch.cat([-channel.im, channel.re], -1)
    return left.unsqueeze(-1) * left.unsqueeze(-2) + right.unsqueeze(-1) * right.unsqueeze(-2)


def ofdma_rate(
    share: Tensor, received_w: Tensor, bandwidth_hz: float, noise_power_w: Tensor | float
) -> SharedRate:
    """Rates when user k has the fraction ``share_k`` of the band all the time.

    ``r = share B log2(1 + Q / (share noise))``: a narrower band collects less noise.
    [standard: Tse & Viswanath ch. 6]

    Args:
        share: (..., users) fractions of the band, >= 0; 0 gives rate 0.
        received_w: (..., users) received powers, W.
        bandwidth_hz: whole band, Hz, > 0.
        noise_power_w: noise power in the whole band, W, > 0.
    """
    _positive("bandwidth_hz", bandwidth_hz)
    _positive("noise_power_w", noise_power_w)
    tiny = torch.finfo(share.dtype).tiny
    sinr = torch.where(share > 0, received_w / (share * noise_power_w).clamp_min(tiny), 0.0)
    return SharedRate(share * shannon_rate(sinr, bandwidth_hz), sinr)


def tdma_rate(
    share: Tensor, received_w: Tensor, bandwidth_hz: float, noise_power_w: Tensor | float
) -> SharedRate:
    """Rates when user k has the whole band for the fraction ``share_k`` of the time.

    ``r = share B log2(1 + Q / noise)`` with Q the received power while transmitting (a peak, not a
    mean). [standard]

    Args:
        share: (..., users) fractions of the time, >= 0.
        received_w: (..., users) received powers while on the air, W.
        bandwidth_hz: band, Hz, > 0.
        noise_power_w: noise power in the band, W, > 0.
    """
    _positive("bandwidth_hz", bandwidth_hz)
    _positive("noise_power_w", noise_power_w)
    sinr = received_w / noise_power_w
    return SharedRate(share * shannon_rate(sinr, bandwidth_hz), sinr)


def tdma_min_power(
    gain: Tensor,
    nats: Tensor,
    noise_power_w: float,
    max_power_w: float,
    share: Tensor | float,
) -> MinPower:
    """Least powers while on the air when user k sends its demand in ``share_k`` of the time.

    ``p = (e^{y / share} - 1) noise / g``, capped. The energy of a phase of length t is
    ``t / efficiency * sum(share p)``. [standard]

    Args:
        gain: (..., users) power gains.
        nats: (..., users) demands y in nats per channel use *of the whole phase*.
        noise_power_w: noise power, W, > 0.
        max_power_w: cap on every transmit power, W, > 0; ``math.inf`` for none.
        share: fractions of the time, > 0; ``1 / users`` for equal turns.

    Raises:
        ValueError: if noise power, cap or a float ``share`` is not positive.
    """
    _positive("noise_power_w", noise_power_w)
    _positive("max_power_w", max_power_w)
    _positive("share", share)
    target = torch.expm1(nats / share)
    quality = gain / noise_power_w
    power = (target / quality.clamp_min(torch.finfo(gain.dtype).tiny)).clamp_max(max_power_w)
    return MinPower(power, torch.where(power < max_power_w, target, power * quality))


def transmit_energy(power_w: Tensor, time_s: Tensor | float, efficiency: float) -> Tensor:
    """Energy drawn by the amplifiers, ``sum_k p_k t_k / efficiency`` in J, (...).

    Args:
        power_w: (..., users) transmit powers while on the air, W.
        time_s: time on the air, s; a float or (..., users).
        efficiency: of the amplifier, in (0, 1].

    Raises:
        ValueError: if ``efficiency`` is outside (0, 1].
    """
    if not 0.0 < efficiency <= 1.0:
        raise ValueError(f"efficiency = {efficiency}, must be in (0, 1]")
    return (power_w * time_s).sum(-1) / efficiency


def _positive(name: str, value: Tensor | float) -> None:
    if not isinstance(value, Tensor) and not value > 0.0:
        raise ValueError(f"{name} = {value}, must be > 0")
