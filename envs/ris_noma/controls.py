"""Controls and actions: decoding an action, encoding controls as one, holding and replacing blocks.

The hybrid action is a vector in [-1, 1] of 3 K + N numbers: K fractions of the volume that may be
extracted, K extraction factors, N phases over pi, K scores of which the highest is decoded first.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sixgym.envs.backend.access import decode_position
from sixgym.envs.backend.ris import quantise_phase
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.state import (
    EXTRACTION,
    ORDER,
    QUEUE,
    SURFACE,
    Controls,
    State,
    Traffic,
)


def action_size(model: Model) -> int:
    """Length of the hybrid action vector, 3 K + N."""
    return 3 * model.users + model.elements


def surface_of(model: Model, phase: Tensor) -> Tensor:
    """Reflection coefficients (rows, 2, elements) of phases in rad, on the surface's own grid."""
    if model.params.ris_bits:
        phase = quantise_phase(phase, model.params.ris_bits)
    return torch.stack([torch.cos(phase), torch.sin(phase)], 1)


def decode_action(
    model: Model, state: State, action: Tensor, traffic: Traffic | None = None
) -> Controls:
    """Controls of a hybrid action.

    Args:
        model: the constants.
        state: gives the backlog between whose limits the volumes lie.
        action: (rows, 3 users + elements) in [-1, 1].
        traffic: of the state, where it is at hand.

    Returns:
        ``x = b_0 + (a+1)/2 (sum b - b_0)``, ``rho = rho_min + (1-rho_min) (a+1)/2``,
        ``theta = pi a``, order by falling score (ties: lower index first).
    """
    users, elements = model.users, model.elements
    scaled = torch.addcmul(model.action_offset, action, model.action_scale)
    share, factor, phase, rank = scaled.split_with_sizes([users, users, elements, users], -1)
    held = state.traffic if traffic is None else traffic
    return Controls(
        # lerp gives its end points exactly: at +1 all of the backlog, and rho = 1 costs no cycles.
        volume_bits=torch.lerp(held.buckets[0], held.all_bits, share),
        rho=torch.lerp(model.least_rho, model.one, factor),
        surface=surface_of(model, phase),
        order=torch.argsort(rank, dim=-1, stable=True),
    )


def encode_action(model: Model, state: State, controls: Controls) -> Tensor:
    """The hybrid action that gives these controls, (rows, 3 users + elements) in [-1, 1].

    Volumes outside what the backlog allows are moved to its limits; the slot would do the same.

    Args:
        model: the constants.
        state: gives the backlog.
        controls: what to encode.
    """
    due, everything = state.backlog_bits[..., 0], state.backlog_bits.sum(-1)
    span = everything - due
    share = (controls.volume_bits - due) / span.clamp_min(torch.finfo(span.dtype).tiny)
    volume = 2.0 * share.clamp(0.0, 1.0) - 1.0
    spread = 0.5 * (1.0 - model.params.rho_min)
    factor = 1.0 - (1.0 - controls.rho) / spread if spread > 0.0 else torch.ones_like(volume)
    phase = torch.atan2(controls.surface[:, 1], controls.surface[:, 0]) / math.pi
    place = decode_position(controls.order).to(volume.dtype)
    score = 1.0 - 2.0 * place / max(model.users - 1, 1)
    return torch.cat([volume, factor, phase, score], -1).clamp(-1.0, 1.0)


def with_controls(state: State, controls: Controls) -> State:
    """The state holding other controls."""
    traffic = torch.stack([controls.volume_bits, controls.rho], -1)
    users = torch.cat([traffic, state.users[..., QUEUE:]], -1)
    return state._replace(users=users, surface=controls.surface, order=controls.order)


def take_block(held: Controls, new: Controls, block: int) -> Controls:
    """The held controls with one block replaced.

    Args:
        held: what stays.
        new: where the block comes from.
        block: `EXTRACTION`, `SURFACE`, `ORDER`; anything else replaces nothing.
    """
    if block == EXTRACTION:
        return held._replace(volume_bits=new.volume_bits, rho=new.rho)
    if block == SURFACE:
        return held._replace(surface=new.surface)
    if block == ORDER:
        return held._replace(order=new.order)
    return held


def mix_blocks(held: Controls, new: Controls, block: Tensor) -> Controls:
    """As `take_block`, with a block for each row, (rows,) int64."""
    extraction = (block == EXTRACTION).unsqueeze(-1)
    return Controls(
        torch.where(extraction, new.volume_bits, held.volume_bits),
        torch.where(extraction, new.rho, held.rho),
        torch.where((block == SURFACE)[:, None, None], new.surface, held.surface),
        torch.where((block == ORDER).unsqueeze(-1), new.order, held.order),
    )
