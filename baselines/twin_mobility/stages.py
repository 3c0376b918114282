"""Best resources of a cycle at a price of energy, stage by stage.

With a price mu in s/J on energy, time plus mu times energy separates into a cost of a metre
(speed), of an operation (processing rate) and of a bit (power), each with its own minimiser; the
compression ratio then balances what the three cost. [derived]
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.problem import Ingredients, Pairs
from sixgym.envs.backend.mobility import PolynomialMotion
from sixgym.envs.backend.solvers import bisect, lambert_w0
from sixgym.envs.twin_mobility import geometry, link
from sixgym.envs.twin_mobility.base_params import TwinBaseParams

SPEEDS = 256
"""Speeds between which the best one is interpolated where it has no closed form."""
MOST_RATIO = 1e12
"""Largest argument that the power's formula is evaluated at."""
NEWTON_STEPS = 6
"""For the compression ratio: what it earns is then within 1e-6 of the best, mostly 1e-9."""
BISECTION_STEPS = 26


class Resources(NamedTuple):
    """Speed, processing rate and power at a price, and what they cost; broadcast shapes (...)."""

    speed: Tensor
    """v, m/s."""
    cpu: Tensor
    """f, FLOP/s."""
    power: Tensor
    """P, W."""
    rate: Tensor
    """bit/s."""
    way_s: Tensor
    """s of both ways."""
    way_j: Tensor
    """J of both ways."""
    flop_s: Tensor
    """s of an operation."""
    flop_j: Tensor
    """J of an operation."""
    bit_s: Tensor
    """s of a sent bit."""
    bit_j: Tensor
    """J of a sent bit."""

    def flop_cost(self, price: Tensor) -> Tensor:
        """Time plus priced energy of an operation, s."""
        return self.flop_s + price * self.flop_j

    def bit_cost(self, price: Tensor) -> Tensor:
        """Time plus priced energy of a sent bit, s."""
        return self.bit_s + price * self.bit_j


def resources(
    pairs: Pairs, fraction: Tensor, price: Tensor, params: TwinBaseParams, free: Ingredients
) -> Resources:
    """Minimisers of time + price times energy of a metre, an operation and a bit.

    Args:
        pairs: agents and regions, broadcast with what follows.
        fraction: xi in [0, 1], share of the way to the base station that is taken.
        price: mu >= 0, s/J.
        params: of the system.
        free: which of them may be chosen.
    """
    away = geometry.approach_m(pairs.ground_m, fraction, params.approach_limit_m)
    slant = geometry.slant_distance(pairs.ground_m - away, params.bs_height_m)
    gain = link.gain(slant, params.gain_1m, params.path_loss_exponent) * pairs.gain_factor
    band, stand = pairs.bandwidth_hz, params.standing_power_w
    noise = params.noise_w_per_hz
    speed = best_speed(price, params, free)
    cpu = best_cpu(price, pairs.cpu_max, params, free)
    power = best_power(price, gain / (noise * band), params, free)
    rate = link.rate_bps(band, power, gain, noise, params.se_max)
    way = pairs.way_m + away
    sending = power / params.pa_efficiency + (params.circuit_power_w + stand)
    return Resources(
        speed,
        cpu,
        power,
        rate,
        way / speed,
        way * params.motion.energy_per_metre(speed),
        1.0 / cpu,
        params.cpu_capacitance * cpu * cpu + stand / cpu,
        1.0 / rate,
        sending / rate,
    )


def best_speed(price: Tensor, params: TwinBaseParams, free: Ingredients) -> Tensor:
    """Speed v that minimises (1 + mu P(v)) / v, m/s.

    For wheels sqrt((1 + mu P_s) / (mu k2)); else interpolated between the corners of the lower
    convex hull of time and energy a metre. [derived]
    """
    if free.speed_mps is not None:
        return torch.full_like(price, free.speed_mps)
    motion, low, high = params.motion, params.best_speed_mps, params.speed_max_mps
    if isinstance(motion, PolynomialMotion):
        square = (1.0 / price + motion.static_w) / motion.quadratic if motion.quadratic else None
        fastest = torch.full_like(price, high)
        return fastest if square is None else square.sqrt().clamp(params.speed_min_mps, high)
    if low >= high:
        return torch.full_like(price, high)
    speed = torch.linspace(high, low, SPEEDS, dtype=price.dtype, device=price.device)
    energy = motion.energy_per_metre(speed)
    # price above which the next lower speed is better; rises along the grid
    switch = ((1.0 / speed[1:] - 1.0 / speed[:-1]) / (energy[:-1] - energy[1:])).cummax(0).values
    middle = 0.5 * (speed[1:] + speed[:-1])
    index = torch.searchsorted(switch, price.contiguous()).clamp(1, SPEEDS - 2)
    left, right = switch[index - 1], switch[index]
    share = ((price - left) / (right - left)).clamp(0.0, 1.0)
    inner = middle[index - 1] + share * (middle[index] - middle[index - 1])
    return torch.where(price <= switch[0], speed[0], inner)


def speed_limit_price(params: TwinBaseParams) -> float:
    """The price of energy up to which the largest speed is the best, s/J.

    1 / (v P'(v) - P(v)) at v_max, where (1 + mu P(v)) / v is flat; 0 where v_max is slower than
    what is cheapest a metre. [derived]
    """
    v = torch.tensor(params.speed_max_mps, dtype=torch.float64)
    ahead, behind = (params.motion.power_w(v * (1.0 + s)) for s in (1e-5, -1e-5))
    growth = float((ahead - behind) / 2e-5 - params.motion.power_w(v))
    return 1.0 / growth if growth > 1e-9 else 0.0


def best_cpu(price: Tensor, cpu_max: Tensor, params: TwinBaseParams, free: Ingredients) -> Tensor:
    """Rate f that minimises (1 + mu p) / f + mu tau_c f^2, FLOP/s; p: power of being there.

    ((1 + mu p) / (2 mu tau_c))^(1/3) within the bounds: (2 mu tau_c)^(-1/3) on wheels. [derived]
    """
    if free.full_cpu or params.fixed_cpu or params.cpu_capacitance == 0.0:
        return cpu_max.expand(torch.broadcast_shapes(cpu_max.shape, price.shape))
    cube = (1.0 / price + params.standing_power_w) / (2.0 * params.cpu_capacitance)
    wanted = cube.pow(1.0 / 3.0).clamp_min(params.cpu_min_flops)
    return torch.minimum(wanted, cpu_max)


def best_power(
    price: Tensor, snr_per_w: Tensor, params: TwinBaseParams, free: Ingredients
) -> Tensor:
    """Power P that minimises (1 + mu (P / eps + P_c + p)) / rate(P), W.

    With c = eps (1 / mu + P_c + p) h / (n0 b) and u = P h / (n0 b): (1 + u) (ln(1 + u) - 1) =
    c - 1, hence u = exp(1 + W0((c - 1) / e)) - 1. [derived]

    Args:
        price: mu, s/J.
        snr_per_w: h / (n0 b), 1/W.
        params: of the system.
        free: which resources may be chosen.
    """
    most = params.power_max_w
    if params.se_max > 0.0:
        # more power than the capped rate needs is only a cost
        top = (2.0**params.se_max - 1.0) / snr_per_w
        cap = top.clamp(params.power_min_w, most)
    else:
        cap = torch.full_like(snr_per_w, most)
    if free.full_power:
        return torch.full_like(cap, most)
    rest = params.circuit_power_w + params.standing_power_w
    c = (params.pa_efficiency * (1.0 / price + rest) * snr_per_w).clamp_max(MOST_RATIO)
    most_u = cap * snr_per_w
    # the derivative at the upper bound tells whether the bound is the answer: mostly
    inner = (1.0 + most_u) * (most_u.log1p() - 1.0) > c - 1.0
    power: Tensor = cap.expand_as(inner)
    if bool(inner.any()):
        w = lambert_w0((c[inner] - 1.0) * math.exp(-1.0))
        u = torch.expm1(1.0 + w) / snr_per_w.expand_as(inner)[inner]
        power = power.masked_scatter(inner, u.clamp(params.power_min_w, most))
    return power


def best_ratio(
    fixed: Tensor, per_bit: Tensor, per_log: Tensor, params: TwinBaseParams, free: Ingredients
) -> Tensor:
    """Compression ratio that maximises xi(eta) / (A + B eta + C ln(1 / eta)).

    A concave over a convex function: one maximum, where z / (e^z - 1) at z = k eta equals
    (B eta - C) / (A + B eta + C ln(1 / eta)), found by Newton's method. Without loss (k = 0) it is
    C / B. [derived]

    Args:
        fixed: A > 0.
        per_bit: B > 0.
        per_log: C >= 0, of the broadcast shape.
        params: of the system.
        free: which resources may be chosen.
    """
    least, k = params.compression_min, params.compression_loss
    balance = per_log / per_bit
    if not free.compress:
        return torch.ones_like(balance)
    if k == 0.0:
        return balance.clamp(least, 1.0)
    # exact for C = 0 up to A, and above the zero of B eta - C
    lossless = (k * (fixed + per_log) / per_bit).log1p() / k
    ratio = (balance + lossless / (1.0 + k * balance)).clamp(least, 1.0)
    for _ in range(NEWTON_STEPS):
        z = k * ratio
        share = z / torch.expm1(z)
        cost = fixed + per_bit * ratio - per_log * ratio.log()
        slope_cost = per_bit * ratio - per_log
        miss = share * cost - slope_cost
        slope = share * ((1.0 - share - z) * cost + slope_cost) / ratio - per_bit
        ratio = (ratio - miss / slope).clamp(least, 1.0)
    return ratio


class Margin(NamedTuple):
    """A margin A - B eta - C ln(1 / eta) that a compression ratio leaves, concave in it."""

    budget: Tensor
    """A."""
    per_bit: Tensor
    """B >= 0."""
    per_log: Tensor
    """C >= 0."""

    def at(self, ratio: Tensor) -> Tensor:
        """The margin of a compression ratio."""
        return self.budget - self.per_bit * ratio + self.per_log * ratio.log()


def best_ratio_within(
    left: Margin, per_bit: Tensor, per_log: Tensor, params: TwinBaseParams, free: Ingredients
) -> Tensor:
    """The compression ratio where raw data have a fixed size, and sensing gets what is left.

    Without loss it is C / B, the cheapest; else the ratio above it at which z / (e^z - 1) times
    what is left equals B eta - C, with z = k eta. [derived]

    Args:
        left: time (and energy at its price) left for sensing over the raw bits.
        per_bit: B > 0, cost of the uplink of a raw bit at ratio 1.
        per_log: C >= 0, cost of processing a raw bit by a factor e.
        params: of the system.
        free: which resources may be chosen.
    """
    least, k = params.compression_min, params.compression_loss
    balance = (per_log / per_bit).expand_as(left.budget)
    if not free.compress:
        return torch.ones_like(balance)
    start = balance.clamp(least, 1.0)
    if k == 0.0:
        return start

    def gain(ratio: Tensor) -> Tensor:
        z = k * ratio
        return z / torch.expm1(z) * left.at(ratio).clamp_min(0.0) + per_log - per_bit * ratio

    found = bisect(gain, start, torch.ones_like(start), BISECTION_STEPS)
    return torch.where(left.at(start) > 0.0, found, start)


def largest_ratio(margins: tuple[Margin, Margin], start: Tensor) -> Tensor:
    """The largest compression ratio in [start, 1] that keeps both margins.

    Args:
        margins: not negative at ``start``.
        start: a ratio that keeps them.
    """

    def least(ratio: Tensor) -> Tensor:
        return torch.minimum(margins[0].at(ratio), margins[1].at(ratio))

    one = torch.ones_like(start)
    found = bisect(least, start, one, BISECTION_STEPS)
    # half a bisection step below the root, not above it
    found = torch.maximum(start, found - (1.0 - start) * 0.5**BISECTION_STEPS)
    return torch.where(least(one) >= 0.0, one, found)
