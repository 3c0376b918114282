"""The channels of RIS-NOMA: geometry, fading, the surface, and what is known of them.

Channels are divided by the noise amplitude, so the noise power is 1 and gains are signal-to-noise
ratios per watt: that keeps float32 in range.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.backend.complex import Complex, add
from sixgym.envs.backend.fading import rician_weights, steering
from sixgym.envs.backend.ris import (
    cascade,
    effective_channel_of_hops,
    effective_channel_of_hops_single,
)
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.state import State

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
    h = effective_channel_of_hops_single(direct, paths, ris_ap, reflection(surface))
    # Over the tiny gain: never 0, so that it may stand below a fraction or in a logarithm.
    return torch.addcmul(torch.addcmul(model.tiny_gain, h.re, h.re), h.im, h.im)


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
