"""What the agent sees: features of the held controls on the current channel.

Hidden are future arrivals and channel steps, the split into line of sight and scatter, positions,
the fading correlation and the arrival law.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.access import (
    decode_position,
    descending_gain_order,
    log_min_received,
    time_on_air,
)
from sixgym.envs.backend.complex import Complex, norm2, scale
from sixgym.envs.backend.compute import workload
from sixgym.envs.backend.queueing import optimal_available
from sixgym.envs.backend.ris import (
    alignment_bound,
    alignment_bound_of_hops,
    effective_channel,
    effective_channel_of_hops,
)
from sixgym.envs.ris_noma.optimisers import double_precision
from sixgym.envs.ris_noma.physics import (
    Model,
    applied_volume,
    compute_energy,
    estimate,
    fixed_power_rate,
    hops,
    mean_gains,
    needed_power,
    reflection,
)
from sixgym.envs.ris_noma.state import State

LIMIT = 10.0
"""All observations are clipped to plus and minus this."""
LN10 = math.log(10.0)
ENERGY_UNIT_J = 1e-3
"""Energies are seen as log10(1 + E / 1 mJ)."""
POWER_FLOOR = 1e-3
"""Powers are seen as log10(p / p_max + 1e-3)."""
USER_FEATURES = 11
"""Features of a user besides its buckets."""
GLOBAL_FEATURES = 5


class Observer:
    """Turns states into observations.

    For each user: ``(log10 g - 2) / 2`` with g the gain over noise; ``log10`` of g over the gain of
    a surface aligned to this user alone; over the largest task: the volume of the "optimal
    available" rule, the volume that the held controls will extract, the held volume; the held
    factor; the semantic queue; place in the decoding order and rank of the gain, over K - 1 (0 if
    K = 1); ``log10(p / p_max + 1e-3)`` with p the uncapped power that the planned demand needs (at
    fixed power: the share of the transmit phase); ``log10(1 + E_c / 1 mJ)`` of the planned
    extraction; the buckets. Then slots since each block was set, at most 10, over 10;
    ``log10(1 + E / 1 mJ)`` of the planned slot; time over the horizon. The mode "full" appends re
    and im of every direct and every cascaded link, over their root mean square.

    Args:
        model: the constants.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        p = model.params
        bits, places = 1.0 / p.max_task_bits, 1.0 / max(model.users - 1, 1)
        decade = 1.0 / LN10
        weights = [0.5 * decade, decade, bits, bits, bits, 1.0, bits, places, places]
        weights += [decade, decade, *[bits] * model.window]
        offsets = [-1.0] + [0.0] * (len(weights) - 1)
        self.weight = torch.tensor(weights, dtype=model.dtype, device=model.device)
        self.offset = torch.tensor(offsets, dtype=model.dtype, device=model.device)
        size = model.users * (USER_FEATURES + model.window) + GLOBAL_FEATURES
        if p.observation == "full":
            size += 2 * model.users * model.antennas * (1 + model.elements)
        self.space = spaces.Box(-LIMIT, LIMIT, (size,), np.float32)

    def __call__(self, state: State) -> Tensor:
        """(rows, features) float32 in the observation space."""
        model = self.model
        channel, bound = self._channel_and_bound(state)
        gain = norm2(channel)
        log_gain = torch.log(gain.clamp_min(1e-30))
        rho, backlog, queue = state.rho, state.backlog_bits, state.queue_bits
        load = workload(rho, model.params.workload)
        planned = applied_volume(model, backlog, state.volume_bits, load)
        bits = torch.addcmul(queue, rho, planned)
        compute = compute_energy(model, planned, load)
        effort, transmit = self._transmission(state, channel, log_gain, bits)
        orders = torch.stack([state.order, descending_gain_order(gain)], 1)
        place, rank = decode_position(orders).to(gain.dtype).unbind(1)
        columns = [
            log_gain,
            log_gain - torch.log(bound.clamp_min(1e-30)),
            optimal_available(backlog),
            planned,
            state.volume_bits,
            rho,
            queue,
            place,
            rank,
            torch.log(effort + POWER_FLOOR),
            torch.log1p(compute * (1.0 / ENERGY_UNIT_J)),
        ]
        users = torch.cat([torch.stack(columns, -1), backlog], -1)
        users = torch.addcmul(self.offset, users, self.weight)
        energy = compute.sum(-1) + transmit + model.static_j
        energy = torch.log1p(energy * (1.0 / ENERGY_UNIT_J)) * (1.0 / LN10)
        parts = [
            users.flatten(1),
            state.ages.clamp_max(10.0) * 0.1,
            energy.unsqueeze(-1),
            (state.slot * (1.0 / model.params.horizon_slots)).unsqueeze(-1),
        ]
        if model.params.observation == "full":
            parts += self._links(state)
        return torch.cat(parts, -1).clamp(-LIMIT, LIMIT).to(torch.float32)

    def _channel_and_bound(self, state: State) -> tuple[Complex, Tensor]:
        """Effective channels, and the gains of surfaces aligned to each user alone."""
        model, surface = self.model, reflection(state.surface)
        if model.error_links:
            seen = estimate(model, state.links)
            channel = effective_channel(seen.direct, seen.cascaded, surface)
            return channel, alignment_bound(seen.direct, seen.cascaded)
        direct, user_ris, ris_ap = hops(model, state.links)
        channel = effective_channel_of_hops(direct, user_ris, ris_ap, surface)
        return channel, alignment_bound_of_hops(direct, user_ris, ris_ap)

    def _transmission(
        self, state: State, channel: Complex, log_gain: Tensor, bits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Uncapped power over the cap (or share of the phase), (rows, users), and E_tx, (rows,)."""
        model, p = self.model, self.model.params
        if model.fixed_power:
            rate = fixed_power_rate(model, channel, bits, state.order)
            share = bits / (rate * model.transmit_s).clamp_min(1e-30)
            on_air = time_on_air(bits, rate, model.transmit_s).sum(-1)
            return share, on_air * (p.fixed_power_w / p.amplifier_efficiency)
        power = needed_power(model, channel, bits, state.order, p.max_power_w).power_w
        if model.antennas > 1:
            wide = needed_power(
                model, double_precision(channel), bits.double(), state.order, math.inf
            )
            ratio = (wide.power_w / p.max_power_w).clamp_max(1e12).to(bits.dtype)
        else:
            logs = log_min_received(bits * model.beta, state.order) - log_gain
            # Beyond the clip of the observation, and finite in float32.
            ratio = torch.exp((logs - math.log(p.max_power_w)).clamp_max(28.0))
        return ratio, power.sum(-1) * (model.transmit_s / p.amplifier_efficiency)

    def _links(self, state: State) -> list[Tensor]:
        """Re and im of direct, then of cascaded links, over their root mean square."""
        model = self.model
        seen = estimate(model, state.links)
        gains = mean_gains(model, state.position_m)
        direct = scale(seen.direct, gains.direct.rsqrt().unsqueeze(-1))
        amplitude = (gains.user_ris * model.ris_ap_gain).rsqrt()[..., None, None]
        cascaded = scale(seen.cascaded, amplitude)
        return [part.flatten(1) for part in (*direct, *cascaded)]
