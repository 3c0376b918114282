"""The numerical optimisers behind `solvers`: extraction factors and orders for given demands.

Fixed iteration counts, no host synchronisation, no in-place writes. The default system (one
antenna, least power) is solved in the dtype it is given and in logarithms where a power can be
large; every other variant computes in float64, because rank-one updates and searches over uncapped
powers lose float32.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from sixgym.envs.backend.access import decode_position, descending_gain_order
from sixgym.envs.backend.complex import Complex, norm2
from sixgym.envs.backend.compute import factor_of_workload, workload
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.physics import compute_energy, fixed_power_rate, needed_power, transmit

MAX_SEARCHED_USERS = 6
"""Up to here all K! orders are compared; beyond, neighbours are swapped."""
OVERTIME_PENALTY = 50.0
"""Weight of the part of a transmission that does not fit in the slot, in fixed_power costs."""
GOLDEN_STEPS = 40
"""Golden sections of the one-dimensional search used with several antennas."""

OrderCost = Callable[[Complex, Tensor], Tensor]
"""Cost (...) of channels (..., users, antennas) under orders (..., users)."""


# --------------------------------------------------------------------------------------- extraction


def optimal_factor(
    model: Model,
    channel: Complex,
    queue_bits: Tensor,
    volume_bits: Tensor,
    rho: Tensor,
    order: Tensor,
) -> Tensor:
    """Extraction factors that minimise transmit plus compute energy of the slot at given volumes.

    One antenna and least power: with the others fixed, the transmit energy of the semantic bits s
    of one user is ``(tau/eta) P e^{beta (q + s)}`` plus a constant, and the stationarity equation
    ``(tau/eta) beta P e^{beta (q+s)} = dE_c/ds`` has a rising left and a falling right side: halve
    the interval, cycle over the users. For gains that descend along the order the problem is
    jointly convex, so the cycle converges to the optimum. [derived]

    Args:
        model: the constants.
        channel: (rows, users, antennas).
        queue_bits: (rows, users) semantic bits waiting.
        volume_bits: (rows, users) raw bits to extract, taken as at least 1.
        rho: (rows, users) factors to start from.
        order: (rows, users) int64.

    Returns:
        (rows, users) in [rho_min, 1], no lower than the processor allows.
    """
    volume = volume_bits.clamp_min(1.0)
    lowest = lowest_factor(model, volume)
    rho = torch.minimum(torch.maximum(rho, lowest), torch.ones_like(rho))
    if model.fixed_power:
        return _factor_at_fixed_power(model, channel, queue_bits, volume, rho, lowest, order)
    if model.antennas > 1:
        return _factor_by_search(model, channel, queue_bits, volume, rho, lowest, order)
    log_gain = torch.log(norm2(channel).clamp_min(1e-30))
    place = decode_position(order)
    later = (place.unsqueeze(-2) > place.unsqueeze(-1)).to(rho.dtype)
    slope = model.beta * volume
    fixed = math.log(model.transmit_s * model.beta / model.params.amplifier_efficiency)
    columns = list(rho.unbind(-1))
    for _ in range(model.params.extraction_sweeps):
        for k in range(model.users):
            nats = model.beta * (queue_bits + volume * torch.stack(columns, -1))
            price = _log_price(nats, log_gain, later, k) + (fixed + model.beta * queue_bits[:, k])
            columns[k] = _halve(
                model, price, slope[:, k], volume[:, k], lowest[:, k], torch.ones_like(price)
            )
    return torch.stack(columns, -1)


def lowest_factor(model: Model, volume_bits: Tensor) -> Tensor:
    """Smallest factor the processor can reach on a volume, at least rho_min; (rows, users)."""
    p = model.params
    load = model.cycle_budget / (p.cycles_per_bit * volume_bits)
    return factor_of_workload(load, p.workload).clamp(p.rho_min, 1.0)


def _log_price(nats: Tensor, log_gain: Tensor, later: Tensor, user: int) -> Tensor:
    """The ln P of one user: sum power is ``P e^{y}`` plus a constant, as a function of its own y.

    ``P e^y`` is ``e^{y + later y} / g`` of its own plus the powers of all users decoded before it,
    which grow in the same proportion.
    """
    after = (later * nats.unsqueeze(-2)).sum(-1)
    log_power = nats + torch.log(-torch.expm1(-nats)) + after - log_gain
    own = nats[:, user] + after[:, user] - log_gain[:, user]
    before = torch.where(later[:, :, user] > 0, log_power, -math.inf)
    return torch.logaddexp(own, torch.logsumexp(before, -1)) - nats[:, user]


def _halve(
    model: Model, log_price: Tensor, slope: Tensor, volume: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Root of the stationarity equation in rho by halving [low, high]; all of one shape.

    In logarithms: ``log_price + slope rho`` against ln of the energy that one more semantic bit
    saves, ``3 kappa c^3 x^2 phi^2 |phi'| / t^2`` (dvfs) or ``e0 c |phi'|`` (linear law).
    """
    p = model.params
    if p.cpu_law == "dvfs":
        scale = 3.0 * p.switched_capacitance * p.cycles_per_bit**3 / model.compute_s**2
        constant = log_price - 2.0 * torch.log(volume) - math.log(scale)
    else:
        constant = log_price - math.log(p.energy_per_cycle_j * p.cycles_per_bit)
    width = high - low
    shrink = 1.0
    for steps in _ladder(p.extraction_bisections, low):
        middle = torch.addcmul(low, width, steps, value=shrink)
        below = torch.signbit(_excess(model, constant, slope, middle))
        low = torch.where(below, middle, low).amax(0)
        shrink /= len(steps) + 1
    return torch.add(low, width, alpha=0.5 * shrink)


def _ladder(halvings: int, like: Tensor) -> list[Tensor]:
    """Inner points of [0, 1] to try in each round: five halvings at once are 31 points.

    The highest point below the root is where the plain halvings would be too, in a sixth of the
    operations. The points are the leading axis, so that they broadcast against any shape.
    """
    points = torch.arange(1, 32, dtype=like.dtype, device=like.device) / 32.0
    points = points.view(-1, *[1] * like.dim())
    rounds, rest = divmod(halvings, 5)
    stride = 2 ** (5 - rest)
    return [points] * rounds + ([points[stride - 1 :: stride]] if rest else [])


def _excess(model: Model, constant: Tensor, slope: Tensor, rho: Tensor) -> Tensor:
    """``constant + slope rho`` less the logarithm of what one more bit saves; rises with rho.

    That is ``2 ln phi + ln |phi'|`` (dvfs) or ``ln |phi'|`` (linear law), of the workload phi.
    """
    cubic = model.params.cpu_law == "dvfs"
    rising = torch.addcmul(constant, slope, rho)
    match model.params.workload:
        case "log":
            log_rho = torch.log(rho)
            rising = rising + log_rho
            return torch.sub(rising, torch.log(-log_rho), alpha=2.0) if cubic else rising
        case "linear":
            return torch.sub(rising, torch.log1p(-rho), alpha=2.0) if cubic else rising
        case "power":
            rising = rising - (math.log(0.5) - 1.5 * torch.log(rho))
            phi = torch.rsqrt(rho) - 1.0
            return torch.sub(rising, torch.log(phi), alpha=2.0) if cubic else rising


def _factor_at_fixed_power(
    model: Model,
    channel: Complex,
    queue: Tensor,
    volume: Tensor,
    rho: Tensor,
    low: Tensor,
    order: Tensor,
) -> Tensor:
    """Users decouple: a bit costs ``P / (eta r)``, and only what fits in the slot is extracted."""
    p = model.params
    rate = fixed_power_rate(model, channel, queue + rho * volume, order)
    room = (rate * model.transmit_s - queue) / volume
    high = torch.maximum(low, room.clamp_max(1.0))
    log_price = math.log(p.fixed_power_w / p.amplifier_efficiency) - torch.log(rate)
    return _halve(model, log_price, torch.zeros_like(rho), volume, low, high)


def _factor_by_search(
    model: Model,
    channel: Complex,
    queue: Tensor,
    volume: Tensor,
    rho: Tensor,
    low: Tensor,
    order: Tensor,
) -> Tensor:
    """Several antennas: golden section on the energy of each user's factor, in float64."""
    dtype = rho.dtype
    channel, queue, volume, low = (
        double_precision(channel),
        queue.double(),
        volume.double(),
        low.double(),
    )
    columns = list(rho.double().unbind(-1))
    weight = model.transmit_s / model.params.amplifier_efficiency
    for _ in range(model.params.extraction_sweeps):
        for k in range(model.users):

            def energy(factor: Tensor, k: int = k) -> Tensor:
                factors = torch.stack([*columns[:k], factor, *columns[k + 1 :]], -1)
                bits = queue + volume * factors
                power = needed_power(model, channel, bits, order, math.inf).power_w.sum(-1)
                load = workload(factor, model.params.workload)
                return weight * power + compute_energy(model, volume[:, k], load)

            columns[k] = _golden_section(energy, low[:, k], torch.ones_like(columns[k]))
    return torch.stack(columns, -1).to(dtype)


def _golden_section(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Minimiser of a unimodal function of one number per row."""
    keep = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - keep * (high - low), low + keep * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(GOLDEN_STEPS):
        lower = at_left <= at_right
        low, high = torch.where(lower, low, left), torch.where(lower, right, high)
        span = keep * (high - low)
        probe = torch.where(lower, high - span, low + span)
        at_probe = function(probe)
        left, right = torch.where(lower, probe, right), torch.where(lower, left, probe)
        at_left, at_right = (
            torch.where(lower, at_probe, at_right),
            torch.where(lower, at_left, at_probe),
        )
    return 0.5 * (low + high)


# ------------------------------------------------------------------------------------------- order


def order_cost(model: Model, bits: Tensor) -> OrderCost:
    """Cost of orders for demands: transmit energy of uncapped powers, or penalised air time.

    At fixed power: ``sum (P/eta) t (1 + 50 relu(t/tau - 1))`` with ``t = s / r``.

    Args:
        model: the constants.
        bits: (rows, users) demands.
    """
    p = model.params

    def cost(channel: Complex, order: Tensor) -> Tensor:
        wanted = _like(bits, order).to(channel.re.dtype)
        if not model.fixed_power:
            power = needed_power(model, channel, wanted, order, math.inf).power_w
            return power.sum(-1) * (model.transmit_s / p.amplifier_efficiency)
        rate = fixed_power_rate(model, channel, wanted, order)
        on_air = wanted / rate.clamp_min(1e-30)
        late = torch.relu(on_air / model.transmit_s - 1.0)
        spent = on_air * (1.0 + OVERTIME_PENALTY * late)
        return spent.sum(-1) * (p.fixed_power_w / p.amplifier_efficiency)

    return cost


def priced_order_cost(model: Model, bits: Tensor, raw_bits: Tensor) -> OrderCost:
    """Cost of orders as the slot will really go: ``reference_ee E_tx`` less the bits delivered.

    Args:
        model: the constants.
        bits: (rows, users) semantic bits offered.
        raw_bits: (rows, users) their raw equivalent.
    """

    def cost(channel: Complex, order: Tensor) -> Tensor:
        wanted = _like(bits, order).to(channel.re.dtype)
        sent = transmit(model, channel, wanted, order)
        share = torch.minimum(sent.service_bits, wanted) / wanted.clamp_min(1e-30)
        delivered = (_like(raw_bits, order) * share).sum(-1)
        return model.params.reference_ee * sent.energy_j.sum(-1) - delivered

    return cost


def _like(value: Tensor, order: Tensor) -> Tensor:
    """(rows, users) repeated over the orders of (rows, orders, users)."""
    return value if order.dim() == value.dim() else value.unsqueeze(1).expand(order.shape)


def search_order(channel: Complex, cost: OrderCost) -> Tensor:
    """The cheapest decoding order: all of them up to six users, else swaps of neighbours.

    Beyond six users it starts from gains descending and makes K passes of K - 1 neighbour swaps,
    keeping each that lowers the cost.

    Args:
        channel: (rows, users, antennas).
        cost: of channels and orders.

    Returns:
        (rows, users) int64.
    """
    channel = double_precision(channel)
    users = channel.re.shape[-2]
    if users > MAX_SEARCHED_USERS:
        return _swap_neighbours(channel, cost)
    rows = channel.re.shape[0]
    orders = torch.tensor(list(itertools.permutations(range(users))), device=channel.re.device)
    many = orders.expand(rows, -1, -1)
    spread = Complex(*(part.unsqueeze(1).expand(-1, len(orders), -1, -1) for part in channel))
    return orders[cost(spread, many).argmin(-1)]


def _swap_neighbours(channel: Complex, cost: OrderCost) -> Tensor:
    order = descending_gain_order(norm2(channel))
    users = order.shape[-1]
    value = cost(channel, order)
    for _ in range(users):
        for i in range(users - 1):
            places = list(range(users))
            places[i], places[i + 1] = i + 1, i
            other = order[:, places]
            at_other = cost(channel, other)
            better = at_other < value
            order = torch.where(better.unsqueeze(-1), other, order)
            value = torch.where(better, at_other, value)
    return order


def double_precision(value: Complex) -> Complex:
    """The same numbers in float64."""
    return Complex(value.re.double(), value.im.double())
