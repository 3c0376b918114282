"""What a slot costs and brings: batteries and deaths, packets at the station, sampled twins."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.slot import own_region
from sixgym.envs.twin_mobility.state import DEAD, IDLE, NOWHERE, SyncState
from sixgym.envs.twin_mobility.twin import EMPTY, Fusion, Packets, deviation, fuse, insert

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
"""How much less a fusion must make the deviation to be accepted."""


class Bill(NamedTuple):
    """What the agents spent, (rows, agents) each."""

    energy_j: Tensor
    dies: Tensor
    """bool: the battery went empty in this slot."""
    cycle_j: Tensor
    """Energy of the cycle, of those who delivered; else 0."""
    over_budget: Tensor
    """max(0, E_n / budget - 1) of those who delivered; else 0."""


def settle(
    state: SyncState, stages_j: list[Tensor], delivered: Tensor, params: TwinSyncParams
) -> tuple[SyncState, Bill]:
    """Charge the batteries; close the cycles of those who delivered or died.

    The energies of a slot that empties a battery are scaled so that their sum is what was left.

    Args:
        state: after the uplink, with the batteries of before.
        stages_j: energies of the five stages, (rows, agents) J each.
        delivered: (rows, agents) bool.
        params: the budget.
    """
    slot_j = torch.stack(stages_j, -1)
    asked = slot_j[..., 0] + slot_j[..., 1] + slot_j[..., 2] + slot_j[..., 3] + slot_j[..., 4]
    dies = (asked >= state.battery_j) & (state.stage != DEAD)
    spent = torch.where(dies, state.battery_j, asked)
    tiny = torch.finfo(asked.dtype).tiny
    share = torch.where(dies, state.battery_j / asked.clamp_min(tiny), 1.0)
    cycle = torch.where(state.target == NOWHERE, 0.0, state.cycle_j + spent)
    final = torch.where(delivered, cycle, 0.0)
    over = (final / params.cycle_energy_j - 1.0).clamp_min(0.0)
    ends = dies | delivered
    closed = {
        name: torch.where(ends, 0.0, getattr(state, name))
        for name in ("remaining", "length", "way_m", "sensing_s", "compression", "approach")
    }
    stage = torch.where(delivered, IDLE, state.stage)
    state = state._replace(
        **closed,
        stage=torch.where(dies, DEAD, stage),
        target=torch.where(ends, NOWHERE, state.target),
        info=torch.where(ends, 0.0, state.info),
        raw_bits=torch.where(ends, 0.0, state.raw_bits),
        battery_j=torch.where(dies, 0.0, state.battery_j - asked),
        cycle_j=torch.where(ends, 0.0, cycle),
        slot_j=slot_j * share.unsqueeze(-1),
    )
    return state, Bill(spent, dies, final, over)


def recharge(state: SyncState, stays: Tensor, station: Tensor, params: TwinSyncParams) -> SyncState:
    """Charge the agents that were parked near the station for the whole slot.

    Args:
        state: at the slot's end.
        stays: (rows, agents) bool: who did not leave its place.
        station: (2,) m.
        params: power, radius and battery.
    """
    ground = (state.position - station).square().sum(-1)
    charges = stays & (state.stage == IDLE) & (ground <= params.recharge_radius_m**2)
    filled = (state.battery_j + params.recharge_w * params.slot_s).clamp_max(params.battery_j)
    # A battery that was more than full at the start is not emptied.
    filled = torch.maximum(filled, state.battery_j)
    return state._replace(battery_j=torch.where(charges, filled, state.battery_j))


class News(NamedTuple):
    """What the packets of a slot did to the twins."""

    before: Tensor
    """(rows, regions) deviation just before the slot's end."""
    accepted: Tensor
    """(rows, regions) bool."""
    fusion: Fusion
    arrived: Tensor
    """(rows, regions, agents) bool: whose packet came for which region."""


def receive(
    state: SyncState,
    sent: SyncState,
    delivered: Tensor,
    noise: Draws,
    params: TwinSyncParams,
) -> tuple[SyncState, News]:
    """Put the packets into the buffers, fuse them, and accept what makes a twin better.

    Args:
        state: the twins of before.
        sent: the agents with the samples that they held.
        delivered: (rows, agents) bool.
        noise: of the slot.
        params: of the twins.
    """
    now = (state.slot + 1.0) * params.slot_s
    region = torch.arange(params.num_regions, device=delivered.device).unsqueeze(-1)
    arrived = (sent.target.unsqueeze(1) == region) & delivered.unsqueeze(1)
    sample = state.packet_sample
    if params.twin_mode == "sampled":
        sample = sent.sample.unsqueeze(1).expand(arrived.shape)
    new = Packets(
        torch.where(arrived, sent.stamp.unsqueeze(1), EMPTY),
        torch.where(arrived, sent.info.unsqueeze(1), 0.0),
        sample,
    )
    packets = Packets(state.packet_stamp, state.packet_info, state.packet_sample)
    packets = insert(packets, new)
    fusion = fuse(packets, state.theta, state.drift, now, params)
    age = now.unsqueeze(-1) - state.twin_stamp
    before = deviation(state.drift, age, state.twin_info, params)
    accepted = arrived.any(-1) & (fusion.value < before - TOLERANCE[before.dtype])
    process = state.process
    if params.twin_mode == "sampled":
        error = (params.omega * torch.exp(-fusion.info)).sqrt() * noise["twin"]
        twin = torch.where(accepted, fusion.sample + error, process[:, 1])
        process = torch.stack([process[:, 0], twin], 1)
    state = state._replace(
        twin_stamp=torch.where(accepted, fusion.stamp, state.twin_stamp),
        twin_info=torch.where(accepted, fusion.info, state.twin_info),
        packet_stamp=packets.stamp,
        packet_info=packets.info,
        packet_sample=packets.sample,
        process=process,
    )
    return state, News(before, accepted, fusion, arrived)


def drift_on(
    state: SyncState, sensed: SyncState, noise: Draws, params: TwinSyncParams
) -> SyncState:
    """Let the physical processes of sampled twins go on by a slot, and take this slot's samples.

    A sample off the slots' grid is a point of the Brownian bridge of its slot.

    Args:
        state: at the slot's beginning.
        sensed: at its end, with the stamps of what was sensed in it.
        noise: of the slot.
        params: length of a slot.
    """
    delta = params.slot_s
    step = (state.drift * delta).sqrt() * noise["process"]
    target = sensed.target
    share = (sensed.stamp / delta - state.slot.unsqueeze(-1)).clamp(0.0, 1.0)

    def own(values: Tensor) -> Tensor:
        return own_region(values.unsqueeze(1).expand(-1, target.shape[1], -1), target)

    spread = (own(state.drift) * delta * share * (1.0 - share)).sqrt()
    value = own(state.process[:, 0]) + share * own(step) + spread * noise["bridge"]
    is_new = sensed.stamp != state.stamp
    moved = torch.stack([state.process[:, 0] + step, state.process[:, 1]], 1)
    return sensed._replace(process=moved, sample=torch.where(is_new, value, sensed.sample))
