"""Most information that an agent can deliver about a region by a given time and within its energy.

For a way x towards the base station and a price mu of energy the best resources have closed forms
(`sixgym.baselines.twin_mobility.stages`); with them a sensing time tau takes m_t + c_t tau seconds
and m_e + c_e tau joule, and tells kappa xi tau. Spending all energy at price mu takes the time
T(mu), which rises with mu: the plan for time T has the price where T(mu) = T. [derived]
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.problem import Ingredients, Pairs
from sixgym.baselines.twin_mobility.stages import (
    Margin,
    Resources,
    best_ratio,
    best_ratio_within,
    largest_ratio,
    resources,
)
from sixgym.envs.twin_mobility.base_params import TwinBaseParams
from sixgym.envs.twin_mobility.cycle import preservation, work_per_bit

LEAST_POWER_W = 0.1
"""Stands for a sensing power of 0 where the price is sought at which all energy is spent."""
PRICE_FLOOR = 1e-4
"""s/J added to prices under the logarithm: a cycle of 160 J at this price weighs 0.02 s."""
MOST_PRICE = 1e3
"""s/J at which time counts for nothing."""


_LEAST, _MOST = math.log(PRICE_FLOOR), math.log(MOST_PRICE)


class Lines(NamedTuple):
    """Time and energy of a cycle as lines in the sensing time; broadcast shapes (...)."""

    ratio: Tensor
    """eta."""
    fixed_s: Tensor
    """m_t."""
    fixed_j: Tensor
    """m_e."""
    slope_s: Tensor
    """c_t."""
    slope_j: Tensor
    """c_e, W."""
    gain: Tensor
    """kappa xi(eta), nat/s."""


class Choice(NamedTuple):
    """Resources of a cycle, of the agents' shape (...)."""

    info: Tensor
    """nat; 0 where there is no feasible cycle."""
    sensing_s: Tensor
    """tau."""
    ratio: Tensor
    """eta."""
    used: Resources
    spare_s: Tensor
    """Time that spending all energy would take beyond the time of the cycle, s; at the longest
    sensing time, the energy left (in s) less the time left."""
    growth: Tensor
    """What the information grows by with the time, nat/s."""


def log_price_of(price: Tensor) -> Tensor:
    """Logarithm in which prices are searched, with `PRICE_FLOOR` added."""
    return (price + PRICE_FLOOR).log()


def price_of(log_price: Tensor) -> Tensor:
    """The price of a logarithm, s/J; exactly 0 at the floor."""
    price = log_price.exp() - PRICE_FLOOR
    return torch.where(log_price <= _LEAST + 1e-6, 0.0, price.clamp_min(0.0))


def lines(
    pairs: Pairs,
    used: Resources,
    price: Tensor,
    time_s: Tensor | None,
    params: TwinBaseParams,
    free: Ingredients,
) -> Lines:
    """Best compression ratio at a price, and the lines in the sensing time.

    Args:
        pairs: agents and regions.
        used: resources at the price.
        price: mu, s/J.
        time_s: T of the whole cycle; None: the time that spending all energy takes. It matters for
            raw data of a fixed size only.
        params: of the system.
        free: which resources may be chosen.
    """
    base, slope = params.work_base_flop_per_bit, params.work_slope_flop_per_bit
    sense_w = params.sensing_power_w + params.standing_power_w
    flop, bit = used.flop_cost(price), used.bit_cost(price)
    if params.raw_mode == "rate":
        bits = params.sensing_rate_bps
        fixed = 1.0 + price * sense_w + (bits * base) * flop
        ratio = best_ratio(fixed, bits * bit, bits * slope * flop, params, free)
    else:
        margin = _sensing_margin(pairs, used, price, time_s, params, sense_w)
        ratio = best_ratio_within(margin, bit, slope * flop, params, free)
    work = work_per_bit(ratio, params)
    data_s = work * used.flop_s + ratio * used.bit_s
    data_j = work * used.flop_j + ratio * used.bit_j
    gain = pairs.kappa * preservation(ratio, params.compression_loss)
    if params.raw_mode == "rate":
        return Lines(
            ratio, used.way_s, used.way_j, 1.0 + bits * data_s, sense_w + bits * data_j, gain
        )
    raw = pairs.raw_bits
    fixed_s, fixed_j = used.way_s + raw * data_s, used.way_j + raw * data_j
    return Lines(
        ratio,
        fixed_s,
        fixed_j,
        torch.ones_like(fixed_s),
        torch.full_like(fixed_j, max(sense_w, LEAST_POWER_W)),
        gain,
    )


def choose(
    pairs: Pairs,
    fraction: Tensor,
    price: Tensor,
    time_s: Tensor,
    params: TwinBaseParams,
    free: Ingredients,
) -> Choice:
    """The feasible cycle at a given way and price that tells most by a time.

    Args:
        pairs: agents and regions (...).
        fraction: share of the way to the base station, broadcast with them.
        price: s/J.
        time_s: T, s.
        params: of the system.
        free: which resources may be chosen.
    """
    used = resources(pairs, fraction, price, params, free)
    line = lines(pairs, used, price, time_s, params, free)
    by_time = (time_s - line.fixed_s) / line.slope_s
    by_energy = (pairs.energy_j - line.fixed_j) / line.slope_j
    longest = torch.minimum(by_time, by_energy)
    sensing = longest.clamp_max(params.sensing_max_s)
    ratio, gain = line.ratio, line.gain
    spare = line.slope_s * (by_energy - by_time)
    if params.compression_loss > 0.0 and free.compress:
        is_capped = longest > params.sensing_max_s
        if bool(is_capped.any()):
            ratio, spare = _raised(pairs, used, ratio, spare, time_s, is_capped, params)
            gain = pairs.kappa * preservation(ratio, params.compression_loss)
    info = torch.where(sensing >= params.sensing_min_s, gain * sensing, 0.0)
    growth = line.gain / (line.slope_s + price * line.slope_j)
    return Choice(info, sensing, ratio, used, spare, growth)


def certificate(
    pairs: Pairs,
    fraction: Tensor,
    price: Tensor,
    time_s: Tensor,
    params: TwinBaseParams,
    free: Ingredients,
) -> Tensor:
    """What no plan with a given way can tell more than, by a time; nat.

    Time and energy weighed together, with any price, are a weaker constraint than both: the bound
    is kappa xi (T + mu E - m_t - mu m_e) / (c_t + mu c_e), least over prices. [derived]

    Args:
        pairs: agents and regions (...).
        fraction: share of the way to the base station, broadcast with them.
        price: s/J of energy, broadcast; the bound holds for each.
        time_s: T, s.
        params: of the system.
        free: which resources may be chosen.
    """
    used = resources(pairs, fraction, price, params, free)
    line = lines(pairs, used, price, time_s, params, free)
    left = time_s + price * pairs.energy_j - line.fixed_s - price * line.fixed_j
    return line.gain * left.clamp_min(0.0) / (line.slope_s + price * line.slope_j)


class Start(NamedTuple):
    """Where the search for a plan begins, and along which line it goes on; shapes (...)."""

    fraction: Tensor
    """Share of the way to the base station."""
    log_price: Tensor
    """Logarithm of the price of energy, with `PRICE_FLOOR` added."""
    to_fraction: Tensor
    """Growth of the fraction by a step of 1."""
    to_log_price: Tensor
    """Growth of the logarithm of the price by the same."""
    slope_s: Tensor
    """Growth of the time T that spending all energy takes, by the same, s; >= 0."""
    only_up: Tensor
    """Whether steps are for T that are too short only: else there is energy left."""


def search(
    pairs: Pairs,
    start: Start,
    time_s: Tensor,
    params: TwinBaseParams,
    free: Ingredients,
    visits: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """A plan that spends all energy in the time T, by secant steps along a line.

    Every plan visited is feasible; the best of them is kept.

    Args:
        pairs: agents and regions (...).
        start: of the search.
        time_s: T, s.
        params: of the system.
        free: which resources may be chosen.
        visits: plans that are tried, >= 1.

    Returns:
        Information in nat, the fraction and the price, of the broadcast shape.
    """
    step, slope = torch.zeros_like(start.slope_s), start.slope_s
    info = fraction = price = last_step = last_miss = step
    for k in range(visits):
        way = (start.fraction + step * start.to_fraction).clamp(0.0, 1.0)
        tried = price_of((start.log_price + step * start.to_log_price).clamp(_LEAST, _MOST))
        choice = choose(pairs, way, tried, time_s, params, free)
        miss = choice.spare_s
        if k == 0:
            info, fraction, price = choice.info, way, tried
        else:
            better = choice.info > info
            info = torch.where(better, choice.info, info)
            fraction, price = torch.where(better, way, fraction), torch.where(better, tried, price)
            secant = (miss - last_miss) / (step - last_step)
            slope = torch.where(secant > 0.0, secant, slope)
        last_step, last_miss = step, miss
        move = (miss / slope).nan_to_num(0.0).clamp(-1.0, 1.0)
        step = step - torch.where(start.only_up & (miss > 0.0), 0.0, move)
    return info, fraction, price


def _sensing_margin(
    pairs: Pairs,
    used: Resources,
    price: Tensor,
    time_s: Tensor | None,
    params: TwinBaseParams,
    sense_w: float,
) -> Margin:
    """Time (with energy at its price) that is left for sensing over the raw bits, fixed in size."""
    base, slope = params.work_base_flop_per_bit, params.work_slope_flop_per_bit
    if time_s is not None:
        flop, bit = used.flop_cost(price), used.bit_cost(price)
        total = time_s + price * pairs.energy_j - used.way_s - price * used.way_j
        return Margin(total / pairs.raw_bits - base * flop, bit, slope * flop)
    per_joule = price + 1.0 / max(sense_w, LEAST_POWER_W)
    total = (pairs.energy_j - used.way_j) / pairs.raw_bits - base * used.flop_j
    return Margin(per_joule * total, per_joule * used.bit_j, per_joule * slope * used.flop_j)


def _raised(
    pairs: Pairs,
    used: Resources,
    ratio: Tensor,
    spare_s: Tensor,
    time_s: Tensor,
    is_capped: Tensor,
    params: TwinBaseParams,
) -> tuple[Tensor, Tensor]:
    """Compression ratios raised to what time and energy allow where the sensing time is longest.

    There the spare time is what is left of the energy, in seconds of transmission, less what is
    left of the time.
    """

    def at(item: Tensor) -> Tensor:
        return item.expand_as(is_capped)[is_capped]

    base, slope = params.work_base_flop_per_bit, params.work_slope_flop_per_bit
    sensing = params.sensing_max_s
    sense_w = params.sensing_power_w + params.standing_power_w
    fixed = params.raw_mode == "fixed"
    bits = at(pairs.raw_bits) if fixed else params.sensing_rate_bps * sensing
    flop_s, flop_j, bit_s, bit_j = map(at, (used.flop_s, used.flop_j, used.bit_s, used.bit_j))
    left_s = at(time_s) - at(used.way_s) - sensing
    left_j = at(pairs.energy_j) - at(used.way_j) - sense_w * sensing
    by_time = Margin(left_s / bits - base * flop_s, bit_s, slope * flop_s)
    by_energy = Margin(left_j / bits - base * flop_j, bit_j, slope * flop_j)
    most = largest_ratio((by_time, by_energy), at(ratio))
    spare = bits * (by_energy.at(most) * bit_s / bit_j - by_time.at(most))
    return (
        ratio.expand_as(is_capped).masked_scatter(is_capped, most),
        spare_s.expand_as(is_capped).masked_scatter(is_capped, spare),
    )
