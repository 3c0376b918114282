"""One slot of the RIS-NOMA model as pure functions: extraction, access, queues.

Everything is batched over rows (the leading axis). The order of the functions is that of the slot:
the channel is known, users extract, they transmit together, the receiver decodes them one after
another, the queues move on.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.backend.access import (
    MinPower,
    capped_walk,
    min_power,
    mmse_min_power,
    mmse_sic_sinr,
    shannon_rate,
    sic_sinr,
    tdma_min_power,
    time_on_air,
)
from sixgym.envs.backend.complex import Complex, norm2
from sixgym.envs.backend.compute import similarity_exponential, workload
from sixgym.envs.backend.queueing import optimal_available, serve_buckets, serve_buffer
from sixgym.envs.ris_noma.channel import Air
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.state import Controls, State, Traffic

MAX_NATS = 60.0
"""Demands are capped here inside exponentials: far beyond any power, and finite in float32."""

# --------------------------------------------------------------------------------------- extraction


def load_of(model: Model, rho: Tensor) -> Tensor:
    """Cycles per bit over c of a factor, `workload`; exactly +0 at 1, so that limits are +inf."""
    if model.params.workload == "log":
        return torch.log(torch.reciprocal(rho))
    return workload(rho, model.params.workload)


def applied_volume(model: Model, backlog_bits: Tensor, wish_bits: Tensor, load: Tensor) -> Tensor:
    """Volume that is really extracted in the slot, (rows, users) bit.

    The wish, at least what is due now, at most what is there and what the processor can do.

    Args:
        model: the constants.
        backlog_bits: (rows, users, window).
        wish_bits: (rows, users) held volume x-bar.
        load: (rows, users) cycles per bit over c, `load_of` the factor.
    """
    wish = optimal_available(backlog_bits) if model.follows_backlog else wish_bits
    return limited_volume(model, backlog_bits[..., 0], backlog_bits.sum(-1), wish, load)


def limited_volume(
    model: Model, due_bits: Tensor, all_bits: Tensor, wish_bits: Tensor, load: Tensor
) -> Tensor:
    """As `applied_volume`, from what is due now and all of the backlog; all (rows, users)."""
    most = torch.minimum(all_bits, model.volume_budget / load)
    return wish_bits.clamp(due_bits, most)


def compute_energy(model: Model, volume_bits: Tensor, load: Tensor, unit_j: float = 1.0) -> Tensor:
    """Energy of extracting x bits at load phi: ``kappa (c x phi)^3 / t^2`` or ``e0 c x phi``.

    Args:
        model: the constants.
        volume_bits: x.
        load: `load_of` the factor.
        unit_j: unit of the result, J.
    """
    # addcmul: a product of three factors in one kernel.
    if model.params.cpu_law == "linear":
        return torch.addcmul(model.zero, volume_bits, load, value=model.compute_price / unit_j)
    price = model.compute_price * unit_j ** (-1.0 / 3.0)
    return torch.addcmul(model.zero, volume_bits, load, value=price) ** 3


# ------------------------------------------------------------------------------------------- access


class Transmission(NamedTuple):
    """What the transmit phase does; (rows, users) in user order unless said otherwise."""

    power_w: Tensor
    """While on the air."""
    service_bits: Tensor
    """Semantic bits that get through; the offered ones, or more, where the power suffices."""
    energy_j: Tensor
    """Of some order: only the sum over the users counts."""


def target_sinr(model: Model, bits: Tensor) -> Tensor:
    """SINR that carries bits in a slot, ``exp(beta s) - 1``."""
    return torch.expm1((bits * model.beta).clamp_max(MAX_NATS))


def needed_power(
    model: Model, channel: Complex, bits: Tensor, order: Tensor, max_power_w: float
) -> MinPower:
    """Least powers that carry the bits, capped at ``max_power_w``; see `min_power`."""
    target = target_sinr(model, bits)
    if model.antennas > 1:
        return mmse_min_power(channel, target, order, 1.0, max_power_w)
    return min_power(norm2(channel), target, order, 1.0, max_power_w)


def fixed_power_rate(model: Model, channel: Complex, bits: Tensor, order: Tensor) -> Tensor:
    """Rates at fixed power, (rows, users) bit/s.

    All users that have bits interfere for the whole phase; the others have rate 0.
    """
    power = model.params.fixed_power_w * (bits > 0).to(bits.dtype)
    if model.antennas > 1:
        sinr = mmse_sic_sinr(channel, power, order, 1.0)
    else:
        sinr = sic_sinr(power * norm2(channel), order, 1.0)
    return shannon_rate(sinr, model.params.bandwidth_hz)


def transmit(
    model: Model, air: Air, offered_bits: Tensor, order: Tensor, powers: bool = True
) -> Transmission:
    """The transmit phase under the model's `tx_mode`.

    Args:
        model: the constants.
        air: gains (..., users), or channels (..., users, antennas).
        offered_bits: (..., users) semantic bits to send.
        order: (..., users) int64.
        powers: whether ``power_w`` is wanted; it may be empty otherwise.
    """
    p = model.params
    if p.tx_mode == "min_power" and isinstance(air, Tensor):
        return _least_power(model, air, offered_bits, order, powers)
    channel = air if isinstance(air, Complex) else as_channel(air)
    if model.fixed_power:
        rate = fixed_power_rate(model, channel, offered_bits, order)
        on_air = time_on_air(offered_bits, rate, model.transmit_s)
        power = torch.where(offered_bits > 0, p.fixed_power_w, 0.0).to(offered_bits.dtype)
        energy = on_air * (p.fixed_power_w / p.amplifier_efficiency)
        return Transmission(power, rate * model.transmit_s, energy)
    share = 1.0
    if p.tx_mode == "tdma":
        share = 1.0 / model.users
        nats = (offered_bits * model.beta).clamp_max(MAX_NATS * share)
        power, sinr = tdma_min_power(norm2(channel), nats, 1.0, p.max_power_w, share)
    else:
        power, sinr = needed_power(model, channel, offered_bits, order, p.max_power_w)
    # Uncapped users get all their bits through by definition, not up to rounding.
    reached = torch.log1p(sinr) * (share / model.beta)
    service = torch.where(power < p.max_power_w, offered_bits, reached)
    seconds = share * model.transmit_s / p.amplifier_efficiency
    return Transmission(power, service, power * seconds)


def as_channel(gain: Tensor) -> Complex:
    """A real channel of one antenna with these gains."""
    amplitude = gain.sqrt().unsqueeze(-1)
    return Complex(amplitude, torch.zeros_like(amplitude))


def _least_power(
    model: Model, gain: Tensor, offered_bits: Tensor, order: Tensor, powers: bool
) -> Transmission:
    """The walk of section "least power" for one antenna, worked in decoding order throughout.

    ``p_i = min(P_max, (e^{y_i} - 1) I_i / g_i)``; up to ``ln(1 + P_max g / I) / beta`` bits get
    through, which is more than are offered where the power is below the cap.
    """
    offered = offered_bits.gather(-1, order)
    quality = gain.gather(-1, order)
    cap = quality * model.power_cap_w
    received, interference = capped_walk(torch.expm1(offered * model.nats_per_bit), cap)
    service = torch.log1p(cap / interference) * model.bits_per_nat
    energy = torch.addcdiv(model.zero, received, quality, value=model.amplifier_s)
    power = energy[..., :0]
    if powers:
        power = torch.minimum(received / quality, model.power_cap_w)
        power = power.scatter(-1, order, power)
    # Every place is written, so what the scatter starts from does not matter.
    return Transmission(power, service.scatter(-1, order, service), energy)


# --------------------------------------------------------------------------------------------- slot


class Slot(NamedTuple):
    """One slot before arrivals and channel step; (rows, users) unless said otherwise."""

    volume_bits: Tensor
    """x, really extracted."""
    power_w: Tensor
    """(rows, 0) where it was not asked for."""
    transmit_j: Tensor
    """Of some order: only the sum over the users counts."""
    compute_j: Tensor
    delivered_bits: Tensor
    """Raw equivalent of what was sent."""
    useful_bits: Tensor
    """What counts in reward and efficiency: delivered, weighted by similarity where asked for."""
    dropped_bits: Tensor
    """Raw equivalent of what expired or overflowed."""
    queue_bits: Tensor
    raw_bits: Tensor
    backlog_bits: Tensor
    """(rows, users, window) after extraction, before the clock moves; bucket 0 has expired."""


def serve(
    model: Model,
    state: State,
    controls: Controls,
    air: Air,
    traffic: Traffic | None = None,
    powers: bool = True,
) -> Slot:
    """Extraction, transmission and queues of one slot.

    Args:
        model: the constants.
        state: gives the queues and the backlog; its held controls play no part.
        controls: those of this slot.
        air: gains (rows, users) or channels (rows, users, antennas), over the noise.
        traffic: of the state, where it is at hand.
        powers: whether the slot's ``power_w`` is wanted; it may be empty otherwise.
    """
    rho = controls.rho
    held = state.traffic if traffic is None else traffic
    backlog = held.backlog_bits
    load = load_of(model, rho)
    wish = optimal_available(backlog) if model.follows_backlog else controls.volume_bits
    volume = limited_volume(model, held.buckets[0], held.all_bits, wish, load)
    offered = torch.addcmul(held.queue_bits, rho, volume)
    sent = transmit(model, air, offered, controls.order, powers)
    limit = model.params.queue_limit_bits
    buffer = serve_buffer(offered, held.raw_bits + volume, sent.service_bits, limit)
    left = serve_buckets(backlog, volume, held.due_bits)
    delivered = buffer.delivered_raw_bits
    weighted = model.params.quality_weighted
    return Slot(
        volume_bits=volume,
        power_w=sent.power_w,
        transmit_j=sent.energy_j,
        compute_j=compute_energy(model, volume, load),
        delivered_bits=delivered,
        useful_bits=delivered * similarity_exponential(rho) if weighted else delivered,
        dropped_bits=buffer.dropped_raw_bits + left[..., 0],
        queue_bits=buffer.queue_bits,
        raw_bits=buffer.raw_bits,
        backlog_bits=left,
    )


def next_users(controls: Controls, slot: Slot, arrivals: Tensor) -> Tensor:
    """`State.users` after a slot: the clock of the buckets moves on and new data joins.

    Args:
        controls: what the users hold from now on.
        slot: what the slot did.
        arrivals: (rows, users) raw bits.
    """
    columns = [controls.volume_bits, controls.rho, slot.queue_bits, slot.raw_bits]
    return torch.stack([*columns, *slot.backlog_bits.unbind(-1)[1:], arrivals], -1)
