"""One slot of the RIS-NOMA model as pure functions: channel, access, extraction, queues.

Everything is batched over rows (the leading axis) and works in real pairs. Channels are divided by
the noise amplitude, so the noise power is 1 and gains are signal-to-noise ratios per watt: that
keeps float32 in range. The order of the functions is that of the slot: the channel is known, users
extract, they transmit together, the receiver decodes them one after another, the queues move on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.backend.access import (
    LN2,
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
from sixgym.envs.backend.complex import Complex, add, norm2
from sixgym.envs.backend.compute import similarity_exponential, workload
from sixgym.envs.backend.fading import (
    linear_array,
    planar_array,
    rician_weights,
    steering,
    wavelength,
)
from sixgym.envs.backend.queueing import data_buffer_step, optimal_available, serve_buckets
from sixgym.envs.backend.ris import (
    cascade,
    effective_channel_of_hops,
    effective_channel_of_hops_single,
)
from sixgym.envs.ris_noma.params import RisNomaBaseParams, RisNomaSelectParams
from sixgym.envs.ris_noma.state import BUCKETS, QUEUE, RAW, Controls, State

MAX_NATS = 60.0
"""Demands are capped here inside exponentials: far beyond any power, and finite in float32."""


class Model:
    """The constants of the model: parameters turned into what the equations use.

    Args:
        params: the parameters.
        dtype: of the constant tensors.
        device: where they live.
    """

    def __init__(
        self, params: RisNomaBaseParams, dtype: torch.dtype, device: torch.device | str
    ) -> None:
        self.params = params
        self.dtype = dtype
        self.device = torch.device(device)
        self.users = params.num_users
        self.elements = params.num_elements
        self.antennas = params.num_antennas
        self.window = params.window_slots
        self.compute_s = params.compute_share * params.slot_s
        self.transmit_s = (1.0 - params.compute_share) * params.slot_s
        self.beta = LN2 / (params.bandwidth_hz * self.transmit_s)
        """Nats per channel use of one bit in a slot, 1/bit."""
        self.cycle_budget = params.max_cpu_hz * self.compute_s
        self.static_j = params.slot_s * (
            params.num_users * params.circuit_power_w
            + params.num_elements * params.ris_element_power_w
        )
        """Energy of a slot that no decision changes, J."""
        self.fixed_power = params.tx_mode == "fixed_power"
        self.follows_backlog = isinstance(params, RisNomaSelectParams) and params.hold == "queue"
        """Whether the volume is always the one of the "optimal available" rule."""
        self.mean_bits = params.num_users * params.mean_arrival_bits
        """Bits that arrive in a slot on average, all users."""
        users, elements, antennas = self.users, self.elements, self.antennas
        self.link_sizes = [users * antennas, elements * antennas, users * elements]
        self.error_links = users * antennas * (1 + elements) if params.csi_error > 0.0 else 0
        self.num_links = sum(self.link_sizes)
        self.hears_gains = antennas == 1 and not self.error_links
        """Whether `State.heard` holds what the observation needs to know of the links."""
        self._place_arrays()
        # Constants of the hot path are tensors: with a Python number an operation takes twice as
        # long on a single row.
        p = params
        self.one = self.constant(1.0)
        self.zero = self.constant(0.0)
        self.nats_per_bit = self.constant(self.beta)
        self.bits_per_nat = self.constant(1.0 / self.beta)
        self.power_cap_w = self.constant(p.max_power_w)
        self.amplifier_s = self.constant(self.transmit_s / p.amplifier_efficiency)
        self.volume_budget = self.constant(self.cycle_budget / p.cycles_per_bit)
        """Raw bits that can be extracted in a slot at a workload of 1."""
        if p.cpu_law == "linear":
            price = p.energy_per_cycle_j * p.cycles_per_bit
        else:
            price = p.cycles_per_bit * (p.switched_capacitance / self.compute_s**2) ** (1.0 / 3.0)
        self.compute_price = self.constant(price)
        """Times x phi: the compute energy (linear law), or its cube root (dvfs)."""
        self.static_energy_j = self.constant(self.static_j)
        self.least_rho = self.constant(p.rho_min)
        sizes = torch.tensor([2 * users, elements, users], device=self.device)
        self.action_offset = torch.tensor(
            [0.5, 0.0, 0.0], dtype=dtype, device=self.device
        ).repeat_interleave(sizes)
        """With `action_scale`: an action's shares in [0, 1], phases in rad, and ranks."""
        self.action_scale = torch.tensor(
            [0.5, math.pi, -1.0], dtype=dtype, device=self.device
        ).repeat_interleave(sizes)

    def constant(self, value: float) -> Tensor:
        """A number as a tensor of no axes, in the model's dtype and place."""
        return torch.tensor(value, dtype=self.dtype, device=self.device)

    def _place_arrays(self) -> None:
        """Positions of the antennas and elements, and the constant parts of the links."""
        p = self.params
        self.wavelength_m = wavelength(p.carrier_hz)
        spacing = self.wavelength_m / 2.0
        ap = torch.tensor([0.0, 0.0, p.ap_height_m], dtype=torch.float64)
        ris = torch.tensor([p.ris_x_m, p.ris_y_m, p.ris_height_m], dtype=torch.float64)
        self.ap_position = ap.to(self.device)
        self.ris_position = ris.to(self.device)
        self.antenna_position = linear_array(self.ap_position, spacing, self.antennas, axis=1)
        self.element_position = planar_array(self.ris_position, spacing, self.elements)
        distance = float(torch.linalg.vector_norm(ap - ris))
        self.ris_ap_gain = self.path_gain(distance, p.exponent_ris_ap) / p.noise_power_w
        phasor = steering(self.element_position, self.antenna_position, self.wavelength_m)
        steady, moving = rician_weights(p.rician_ris_ap)
        amplitude = math.sqrt(self.ris_ap_gain)
        los = torch.stack([phasor.re.flatten(), phasor.im.flatten()]) * (steady * amplitude)
        self.ris_ap_los = los.to(self.device, self.dtype)
        self.ris_ap_scatter = moving * amplitude

    def path_gain(self, distance_m: float, exponent: float) -> float:
        """Power gain ``C0 D^-a`` of the log-distance law [standard]."""
        return float(self.params.reference_gain * max(distance_m, 1e-3) ** -exponent)


# ---------------------------------------------------------------------------------------- channel


Air = Tensor | Complex
"""What the receiver hears of the users, over the noise: power gains (rows, users) with one antenna,
else channels (rows, users, antennas)."""


class Geometry(NamedTuple):
    """Mean power gains of an episode's links."""

    direct: Tensor
    """(rows, users) with blockage, over the noise power."""
    user_ris: Tensor
    """(rows, users), not over the noise power."""


class Hops(NamedTuple):
    """The true links."""

    direct: Complex
    """(rows, users, antennas) d, over the noise amplitude."""
    user_ris: Complex
    """(rows, users, elements) r."""
    ris_ap: Complex
    """(rows, elements, antennas) G, over the noise amplitude."""


class Estimate(NamedTuple):
    """What optimisers and observation know of the links: the truth, or the truth with an error."""

    direct: Complex
    """(rows, users, antennas)."""
    cascaded: Complex
    """(rows, users, elements, antennas)."""


def mean_gains(model: Model, position_m: Tensor) -> Geometry:
    """Path gains of the users' links.

    Args:
        model: the constants.
        position_m: (rows, users, 2) positions of the users.
    """
    p = model.params
    users = _in_space(model, position_m)
    to_ap = torch.linalg.vector_norm(users - model.ap_position.to(users.dtype), dim=-1)
    to_ris = torch.linalg.vector_norm(users - model.ris_position.to(users.dtype), dim=-1)
    direct = p.reference_gain / (p.blockage_loss * p.noise_power_w)
    return Geometry(
        direct * to_ap.clamp_min(1e-3) ** -p.exponent_direct,
        p.reference_gain * to_ris.clamp_min(1e-3) ** -p.exponent_user_ris,
    )


def _in_space(model: Model, position_m: Tensor) -> Tensor:
    """(rows, users, 3) positions at the users' height."""
    height = torch.full_like(position_m[..., :1], model.params.users_height_m)
    return torch.cat([position_m, height], -1)


def link_statistics(model: Model, position_m: Tensor) -> tuple[Tensor, Tensor]:
    """Line-of-sight part (rows, 2, links) and scattered amplitude (rows, links) of an episode.

    Rician links ``sqrt(L) (sqrt(k/(1+k)) a + sqrt(1/(1+k)) z)`` with a the phasor of the exact
    point-to-point distance. [standard]

    Args:
        model: the constants.
        position_m: (rows, users, 2) positions of the users.
    """
    p = model.params
    rows = position_m.shape[0]
    gains = mean_gains(model, position_m)
    users = _in_space(model, position_m)
    parts: list[Tensor] = []
    scatters: list[Tensor] = []
    for gain, k_factor, points in (
        (gains.direct, p.rician_direct, model.antenna_position),
        (gains.user_ris, p.rician_user_ris, model.element_position),
    ):
        steady, moving = rician_weights(k_factor)
        phasor = steering(users, points.to(users.dtype).expand(rows, -1, -1), model.wavelength_m)
        amplitude = gain.sqrt().unsqueeze(-1).expand_as(phasor.re)
        los = torch.stack([phasor.re * amplitude, phasor.im * amplitude], 1) * steady
        parts.append(los.flatten(2))
        scatters.append((amplitude * moving).flatten(1))
    parts.insert(1, model.ris_ap_los.expand(rows, -1, -1))
    size = model.link_sizes[1]
    scatters.insert(1, torch.full_like(scatters[0][:, :1], model.ris_ap_scatter).expand(-1, size))
    if model.error_links:
        direct = gains.direct.sqrt() * p.csi_error
        cascaded = (gains.user_ris * model.ris_ap_gain).sqrt() * p.csi_error
        antennas, elements = model.antennas, model.elements
        scatters.append(direct.repeat_interleave(antennas, -1))
        scatters.append(cascaded.repeat_interleave(elements * antennas, -1))
        parts.append(torch.zeros_like(parts[0][:, :, :1]).expand(-1, -1, model.error_links))
    return torch.cat(parts, -1), torch.cat(scatters, -1)


def evolve_links(model: Model, state: State, innovation: Tensor) -> Tensor:
    """Links of the next slot: each scattered part takes a Gauss-Markov step.

    ``H' = rho H + sqrt(1 - rho^2) Z`` around the constant line of sight, so that power and
    autocorrelation rho^n are kept. [standard]

    Args:
        model: the constants.
        state: the current state.
        innovation: (rows, 2, links) complex normal of unit power, the estimation errors' last.

    Returns:
        (rows, 2, links).
    """
    rho = model.params.fading_correlation
    spread = math.sqrt(1.0 - rho * rho)
    scatter = state.scatter.unsqueeze(1)
    if not model.error_links:
        moved = torch.lerp(state.los, state.links, rho)
        return torch.addcmul(moved, scatter, innovation, value=spread)
    true = model.num_links
    moved = torch.lerp(state.los[..., :true], state.links[..., :true], rho)
    moved = torch.addcmul(moved, scatter[..., :true], innovation[..., :true], value=spread)
    return torch.cat([moved, scatter[..., true:] * innovation[..., true:]], -1)


def hops(model: Model, links: Tensor) -> Hops:
    """The true links by name, as views of (rows, 2, links)."""
    users, elements, antennas = model.users, model.elements, model.antennas
    direct, ris_ap, user_ris = flat_hops(model, links)
    return Hops(
        _shape(direct, users, antennas),
        _shape(user_ris, users, elements),
        _shape(ris_ap, elements, antennas),
    )


def flat_hops(model: Model, links: Tensor) -> tuple[Complex, Complex, Complex]:
    """Direct, RIS-AP and user-RIS links as flat views of (..., 2, links)."""
    true = links[..., : model.num_links] if model.error_links else links
    re, im = true.unbind(-2)
    direct_re, ris_ap_re, user_ris_re = re.split_with_sizes(model.link_sizes, -1)
    direct_im, ris_ap_im, user_ris_im = im.split_with_sizes(model.link_sizes, -1)
    return (
        Complex(direct_re, direct_im),
        Complex(ris_ap_re, ris_ap_im),
        Complex(user_ris_re, user_ris_im),
    )


def _shape(flat: Complex, *shape: int) -> Complex:
    whole = (*flat.re.shape[:-1], *shape)
    return Complex(flat.re.view(whole), flat.im.view(whole))


def estimate(model: Model, links: Tensor) -> Estimate:
    """The links as optimisers and observation know them, from (rows, 2, links)."""
    true = hops(model, links)
    cascaded = cascade(true.user_ris, true.ris_ap)
    if not model.error_links:
        return Estimate(true.direct, cascaded)
    users, elements, antennas = model.users, model.elements, model.antennas
    error = Complex(*links[..., model.num_links :].unbind(1))
    size = users * antennas
    error_d = _shape(Complex(error.re[:, :size], error.im[:, :size]), users, antennas)
    error_a = _shape(Complex(error.re[:, size:], error.im[:, size:]), users, elements, antennas)
    return Estimate(add(true.direct, error_d), add(cascaded, error_a))


def reflection(surface: Tensor) -> Complex:
    """The coefficients v of (rows, 2, elements)."""
    re, im = surface.unbind(1)
    return Complex(re, im)


def true_channel(model: Model, links: Tensor, surface: Tensor) -> Complex:
    """Effective channel h of every user, (rows, users, antennas), over the noise amplitude."""
    true = hops(model, links)
    return effective_channel_of_hops(true.direct, true.user_ris, true.ris_ap, reflection(surface))


def true_air(model: Model, links: Tensor, surface: Tensor) -> Air:
    """What `serve` wants to know of the true channel: gains where one antenna listens."""
    if model.antennas > 1:
        return true_channel(model, links, surface)
    return single_antenna_gain(model, links, surface)


def single_antenna_gain(model: Model, links: Tensor, surface: Tensor) -> Tensor:
    """True gains over the noise, (..., rows, users), of links (..., rows, 2, links)."""
    direct, ris_ap, user_ris = flat_hops(model, links)
    paths = _shape(user_ris, model.users, model.elements)
    return gain_of(effective_channel_of_hops_single(direct, paths, ris_ap, reflection(surface)))


def aligned_amplitude(model: Model, links: Tensor) -> Tensor:
    """``|d| + sum |r| |G|`` for one antenna, (rows, users); all moduli are taken at once."""
    re, im = links.unbind(1)
    modulus = gain_of(Complex(re, im)).sqrt()
    direct, ris_ap, user_ris = modulus.split_with_sizes(model.link_sizes, -1)
    paths = user_ris.view(len(user_ris), model.users, model.elements) * ris_ap.unsqueeze(1)
    return direct + paths.sum(-1)


def gain_of(channel: Complex) -> Tensor:
    """``|h|^2``, elementwise, in two kernels."""
    return torch.addcmul(channel.re * channel.re, channel.im, channel.im)


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
    most = torch.minimum(backlog_bits.sum(-1), model.volume_budget / load)
    return torch.minimum(torch.maximum(wish, backlog_bits[..., 0]), most)


def compute_energy(model: Model, volume_bits: Tensor, load: Tensor) -> Tensor:
    """Energy of extracting x bits at load phi, J: ``kappa (c x phi)^3 / t^2`` or ``e0 c x phi``."""
    spent = volume_bits * load * model.compute_price.to(load.dtype)
    return spent if model.params.cpu_law == "linear" else spent * spent * spent


# ------------------------------------------------------------------------------------------- access


class Transmission(NamedTuple):
    """What the transmit phase does; all (rows, users) in user order."""

    power_w: Tensor
    """While on the air."""
    service_bits: Tensor
    """Semantic bits that get through; the offered ones where the power suffices."""
    energy_j: Tensor


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


def transmit(model: Model, air: Air, offered_bits: Tensor, order: Tensor) -> Transmission:
    """The transmit phase under the model's `tx_mode`.

    Args:
        model: the constants.
        air: gains (..., users), or channels (..., users, antennas).
        offered_bits: (..., users) semantic bits to send.
        order: (..., users) int64.
    """
    p = model.params
    if p.tx_mode == "min_power" and isinstance(air, Tensor):
        return _least_power(model, air, offered_bits, order)
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


def _least_power(model: Model, gain: Tensor, offered_bits: Tensor, order: Tensor) -> Transmission:
    """The walk of section "least power" for one antenna, worked in decoding order throughout.

    ``p_i = min(P_max, (e^{y_i} - 1) I_i / g_i)``; a capped user gets ``ln(1 + p g / I) / beta``
    bits through, the others all of theirs.
    """
    offered = offered_bits.gather(-1, order)
    quality = gain.gather(-1, order).clamp_min(1e-30)
    cap = quality * model.power_cap_w
    received, interference = capped_walk(torch.expm1(offered * model.nats_per_bit), cap)
    reached = torch.log1p(received / interference) * model.bits_per_nat
    service = torch.where(received < cap, offered, reached)
    power = torch.minimum(received / quality, model.power_cap_w)
    empty = torch.empty_like(power)
    power = empty.scatter(-1, order, power)
    return Transmission(power, empty.scatter(-1, order, service), power * model.amplifier_s)


# --------------------------------------------------------------------------------------------- slot


class Slot(NamedTuple):
    """One slot before arrivals and channel step; (rows, users) unless said otherwise."""

    volume_bits: Tensor
    """x, really extracted."""
    power_w: Tensor
    transmit_j: Tensor
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


def serve(model: Model, state: State, controls: Controls, air: Air) -> Slot:
    """Extraction, transmission and queues of one slot.

    Args:
        model: the constants.
        state: gives the queues and the backlog; its held controls play no part.
        controls: those of this slot.
        air: gains (rows, users) or channels (rows, users, antennas), over the noise.
    """
    rho, users = controls.rho, state.users
    queue, raw, backlog = users[..., QUEUE], users[..., RAW], users[..., BUCKETS:]
    load = load_of(model, rho)
    volume = applied_volume(model, backlog, controls.volume_bits, load)
    extracted = rho * volume
    sent = transmit(model, air, queue + extracted, controls.order)
    buffer = data_buffer_step(
        queue, raw, extracted, volume, sent.service_bits, model.params.queue_limit_bits
    )
    left = serve_buckets(backlog, volume)
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
    later = slot.backlog_bits[..., 1:]
    return torch.cat([torch.stack(columns, -1), later, arrivals.unsqueeze(-1)], -1)
