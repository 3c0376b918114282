"""The optimisers of the three blocks and their alternation, batched, with fixed iteration counts.

For baselines and planners, all pure, on any batch of rows (``model`` is ``system.model``):

* ``solve_extraction(model, state)``, ``solve_ris(model, state)``, ``solve_order(model, state)``:
  the held controls with that block optimised;
* ``solve_block(model, state, block)``: the same by number;
* ``solve_ao(model, state, rounds)``: rounds of extraction, order, surface, then order again;
* ``apply_block(state, controls)``: the state holding these controls;
* ``preview(model, state)``: one slot with a frozen channel and no arrivals, for choosers that try;
* ``solver_ops(model, block)``, ``ao_ops(model, rounds)``: nominal operation counts;
* from `controls`: ``encode_action(model, state, controls)``, ``decode_action``.

Optimisers know the links as `estimate` gives them: the truth, or with ``csi_error`` a noisy copy.
Every path of the default system (one antenna, least power) works in logarithms where a power can be
large, so float32 and float64 agree; the others compute in float64 whatever the system's dtype.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sixgym.envs.backend.access import descending_gain_order
from sixgym.envs.backend.complex import Complex, norm2
from sixgym.envs.backend.queueing import optimal_available
from sixgym.envs.backend.ris import effective_channel
from sixgym.envs.ris_noma.channel import estimate, reflection
from sixgym.envs.ris_noma.controls import with_controls
from sixgym.envs.ris_noma.model import TINY, Model
from sixgym.envs.ris_noma.optimisers import (
    MAX_SEARCHED_USERS,
    optimal_factor,
    order_cost,
    priced_order_cost,
    search_order,
)
from sixgym.envs.ris_noma.physics import Slot, applied_volume, load_of, next_users, serve
from sixgym.envs.ris_noma.state import EXTRACTION, ORDER, SURFACE, Controls, State
from sixgym.envs.ris_noma.surface import optimal_surface

IDLE_BITS = 1000.0
"""Demand of every user where none has any, so that the surface still tracks."""


# ------------------------------------------------------------------------------------ entry points


def solve_extraction(model: Model, state: State) -> Controls:
    """Traffic reshaping: volumes by the "optimal available" rule, then the factors.

    The factors minimise the slot's transmit and compute energy, user after user.

    Args:
        model: the constants.
        state: any state; its controls are the start.
    """
    held = state.controls
    volume = optimal_available(state.backlog_bits)
    channel = _estimated_channel(model, state)
    rho = optimal_factor(model, channel, state.queue_bits, volume, held.rho, held.order)
    busy = volume >= 1.0
    return held._replace(volume_bits=volume, rho=torch.where(busy, rho, held.rho))


def solve_ris(model: Model, state: State) -> Controls:
    """Channel reconfiguration: phases for the slot's demands and the held order."""
    held = state.controls
    if model.elements == 0:
        return held
    bits = demand(model, state)
    idle = (bits.sum(-1, keepdim=True) <= 0.0).expand_as(bits)
    bits = torch.where(idle, IDLE_BITS, bits)
    links = estimate(model, state.links)
    surface = optimal_surface(model, links, held.surface, bits, held.order)
    return held._replace(surface=surface)


def solve_order(model: Model, state: State) -> Controls:
    """Decoding order for the slot's demands and the held phases."""
    channel = _estimated_channel(model, state)
    rule = model.params.order_rule
    if rule == "auto" and model.antennas == 1 and not model.fixed_power:
        return state.controls._replace(order=descending_gain_order(norm2(channel)))
    bits = demand(model, state)
    if rule == "priced":
        raw = state.raw_bits + (bits - state.queue_bits) / state.rho
        cost = priced_order_cost(model, bits, raw)
    else:
        cost = order_cost(model, bits)
    order = search_order(channel, cost)
    return state.controls._replace(order=order)


def solve_block(model: Model, state: State, block: int) -> Controls:
    """The held controls with block `EXTRACTION`, `SURFACE` or `ORDER` optimised; else as held."""
    if block == EXTRACTION:
        return solve_extraction(model, state)
    if block == SURFACE:
        return solve_ris(model, state)
    return solve_order(model, state) if block == ORDER else state.controls


def solve_ao(model: Model, state: State, rounds: int) -> Controls:
    """Alternating optimisation: ``rounds`` of extraction, order, surface, then order again."""
    for _ in range(rounds):
        for block in (EXTRACTION, ORDER, SURFACE):
            state = apply_block(state, solve_block(model, state, block))
    return solve_order(model, state)


def apply_block(state: State, controls: Controls) -> State:
    """The state holding these controls; ages and queues stay as they are."""
    return with_controls(state, controls)


def demand(model: Model, state: State) -> Tensor:
    """Semantic bits that each user will offer in the slot under the held controls."""
    load = load_of(model, state.rho)
    volume = applied_volume(model, state.backlog_bits, state.volume_bits, load)
    return state.queue_bits + state.rho * volume


def preview(model: Model, state: State) -> tuple[State, Slot]:
    """One slot as the optimisers know it: frozen channel, no arrivals, controls held.

    Returns:
        The state after it (channel, ages and clock unchanged) and what the slot did.
    """
    channel = _estimated_channel(model, state)
    air = norm2(channel).clamp_min(TINY) if model.antennas == 1 else channel
    controls = state.controls
    slot = serve(model, state, controls, air)
    users = next_users(controls, slot, torch.zeros_like(slot.queue_bits))
    return state._replace(users=users), slot


def slot_value(model: Model, slot: Slot) -> Tensor:
    """(rows,) bits delivered, less energy at ``reference_ee``, less weighted drops; bit."""
    energy = (slot.transmit_j + slot.compute_j).sum(-1) + model.static_j
    lost = model.params.drop_weight * slot.dropped_bits.sum(-1)
    return slot.useful_bits.sum(-1) - model.params.reference_ee * energy - lost


def solver_ops(model: Model, block: int) -> float:
    """Nominal operations of one optimisation of a block; 0 for none.

    Extraction sweeps K halvings K; surface iterations N K 2; order K log2 K where a sort is exact,
    else K! K (K^3 beyond six users: K passes over K - 1 swaps of K users).
    """
    users, p = model.users, model.params
    if block == EXTRACTION:
        return float(p.extraction_sweeps * users * p.extraction_bisections * users)
    if block == SURFACE:
        return float(p.ris_iterations * model.elements * users * 2)
    if block != ORDER:
        return 0.0
    if p.order_rule == "auto" and model.antennas == 1 and not model.fixed_power:
        return users * math.log2(users)
    if users <= MAX_SEARCHED_USERS:
        return float(math.factorial(users) * users)
    return float(users * (users - 1) * users)


def ao_ops(model: Model, rounds: int) -> float:
    """Nominal operations of `solve_ao`."""
    one = sum(solver_ops(model, block) for block in (EXTRACTION, ORDER, SURFACE))
    return rounds * one + solver_ops(model, ORDER)


def _estimated_channel(model: Model, state: State) -> Complex:
    links = estimate(model, state.links)
    return effective_channel(links.direct, links.cascaded, reflection(state.surface))
