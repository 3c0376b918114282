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
    capped_received,
    time_on_air,
)
from sixgym.envs.backend.complex import Complex, norm2, scale
from sixgym.envs.backend.ris import (
    alignment_bound,
    alignment_bound_of_hops,
    effective_channel,
    effective_channel_of_hops,
)
from sixgym.envs.ris_noma.channel import Air, estimate, hops, mean_gains, reflection
from sixgym.envs.ris_noma.model import TINY, Model
from sixgym.envs.ris_noma.optimisers import double_precision
from sixgym.envs.ris_noma.physics import (
    as_channel,
    compute_energy,
    fixed_power_rate,
    limited_volume,
    load_of,
    needed_power,
)
from sixgym.envs.ris_noma.state import State

LIMIT = 10.0
"""All observations are clipped to plus and minus this."""
LN10 = math.log(10.0)
ENERGY_UNIT_J = 1e-3
"""Energies are seen as log10(1 + E / 1 mJ)."""
POWER_FLOOR = 1e-3
"""Powers are seen as log10(p / p_max + 1e-3)."""
HUGE = 1e14
"""Uncapped powers are at most this times the cap: beyond the clip, and finite in float32."""
EFFORT = 9
"""Place of the power among the features of a user."""
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
        # At fixed power the effort is a share of the phase, not a power.
        self.effort_unit = 1.0 if model.fixed_power else p.max_power_w
        bits, places = 1.0 / p.max_task_bits, 1.0 / max(model.users - 1, 1)
        decade = 1.0 / LN10
        weights = [0.5 * decade, decade, bits, bits, bits, 1.0, bits, places, places]
        weights += [decade, decade, *[bits] * model.window]
        shared = [0.1, 0.1, 0.1, decade, 1.0 / p.horizon_slots]
        offsets = [-1.0] + [0.0] * (len(weights) - 1)
        offsets[EFFORT] = -math.log10(self.effort_unit)
        links = 0
        if p.observation == "full":
            links = 2 * model.users * model.antennas * (1 + model.elements)
        constant = self._constant
        self.weight = constant([*weights * model.users, *shared, *[1.0] * links])
        self.offset = constant([*offsets * model.users, *[0.0] * (GLOBAL_FEATURES + links)])
        """With ``weight``: features and what all share, brought to the observation's units."""
        size = len(self.offset)
        most = torch.full((size,), LIMIT)
        ages = model.users * len(weights)
        most[ages : ages + 3] = 1.0
        self.most = most.to(model.device, model.dtype)
        self.least = torch.full_like(self.most, -LIMIT)
        slots = torch.arange(1, model.window + 1, dtype=model.dtype, device=model.device)
        self.per_slot = slots.reciprocal()
        self.places = torch.arange(model.users, dtype=model.dtype, device=model.device)
        self.effort_floor = model.constant(POWER_FLOOR * self.effort_unit)
        self.static_energy = model.constant(model.static_j / ENERGY_UNIT_J)
        caps = torch.tensor([1.0, HUGE], dtype=model.dtype, device=model.device)
        self.caps = p.max_power_w * caps[:, None, None]
        self.space = spaces.Box(-LIMIT, LIMIT, (size,), np.float32)

    def _constant(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=self.model.dtype, device=self.model.device)

    def __call__(self, state: State) -> Tensor:
        """(rows, features) float32 in the observation space."""
        model, held = self.model, state.traffic
        air, gain, aligned = self._air(state)
        load = load_of(model, held.rho)
        available = (held.due_bits * self.per_slot).amax(-1)
        wish = available if model.follows_backlog else held.volume_bits
        planned = limited_volume(model, held.buckets[0], held.all_bits, wish, load)
        bits = torch.addcmul(held.queue_bits, held.rho, planned)
        compute = compute_energy(model, planned, load, ENERGY_UNIT_J)
        effort, on_air, unit = self._transmission(state, air, bits)
        order = state.order
        place = gain.scatter(-1, order, self.places.expand(order.shape))
        rank = (gain.unsqueeze(-2) > gain.unsqueeze(-1)).sum(-1, dtype=gain.dtype)
        log_gain = torch.log(gain)
        columns = [
            log_gain,
            torch.sub(log_gain, torch.log(aligned), alpha=2.0),
            available,
            planned,
            held.volume_bits,
            held.rho,
            held.queue_bits,
            place,
            rank,
            torch.log(effort + self.effort_floor),
            torch.log1p(compute),
            *held.buckets,
        ]
        # Summed over all users, so that it does not matter that one part is in decoding order.
        energy = torch.add(compute, on_air, alpha=unit / ENERGY_UNIT_J).sum(-1, keepdim=True)
        ages, slot = state.clock.split_with_sizes([3, 1], -1)
        features = torch.stack(columns, -1).flatten(1)
        parts = [features, ages, torch.log1p(self.static_energy + energy), slot]
        if model.params.observation == "full":
            parts += self._links(state)
        seen = torch.addcmul(self.offset, torch.cat(parts, -1), self.weight)
        return seen.clamp(self.least, self.most).to(torch.float32)

    def _air(self, state: State) -> tuple[Air, Tensor, Tensor]:
        """The air, its gains, and amplitudes of surfaces aligned to each user alone."""
        model = self.model
        if model.hears_gains:
            return state.gain, state.gain, state.aligned
        surface = reflection(state.surface)
        if model.error_links:
            seen = estimate(model, state.links)
            channel = effective_channel(seen.direct, seen.cascaded, surface)
            bound = alignment_bound(seen.direct, seen.cascaded)
        else:
            true = hops(model, state.links)
            channel = effective_channel_of_hops(true.direct, true.user_ris, true.ris_ap, surface)
            bound = alignment_bound_of_hops(true.direct, true.user_ris, true.ris_ap)
        gain = norm2(channel).clamp_min(TINY)
        return gain if model.antennas == 1 else channel, gain, bound.sqrt()

    def _transmission(self, state: State, air: Air, bits: Tensor) -> tuple[Tensor, Tensor, float]:
        """What the planned demand takes.

        Returns:
            (rows, users) uncapped power, W, or at fixed power the share of the phase; (rows, users)
            the cost of transmitting, of some order; a float, the energy of a unit of that, J.
        """
        model, p = self.model, self.model.params
        if isinstance(air, Tensor) and not model.fixed_power:
            return self._single_antenna_transmission(state.order, air, bits)
        channel = air if isinstance(air, Complex) else as_channel(air)
        if model.fixed_power:
            rate = fixed_power_rate(model, channel, bits, state.order)
            share = bits / (rate * model.transmit_s).clamp_min(TINY)
            on_air = time_on_air(bits, rate, model.transmit_s)
            return share, on_air, p.fixed_power_w / p.amplifier_efficiency
        power = needed_power(model, channel, bits, state.order, p.max_power_w).power_w
        wide = needed_power(model, double_precision(channel), bits.double(), state.order, math.inf)
        return wide.power_w.clamp_max(HUGE * p.max_power_w).to(bits.dtype), power, model.amplifier_s

    def _single_antenna_transmission(
        self, order: Tensor, gain: Tensor, bits: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        """Two walks at once: one with the cap, one with a cap far beyond the observation's clip."""
        model = self.model
        quality = gain.gather(-1, order)
        target = torch.expm1(bits.gather(-1, order) * model.nats_per_bit)
        received = capped_received(target, quality * self.caps)
        power, wide = (received / quality).unbind(0)
        return wide.scatter(-1, order, wide), power, model.amplifier_s

    def _links(self, state: State) -> list[Tensor]:
        """Re and im of direct, then of cascaded links, over their root mean square."""
        model = self.model
        seen = estimate(model, state.links)
        gains = mean_gains(model, state.position_m)
        direct = scale(seen.direct, gains.direct.rsqrt().unsqueeze(-1))
        amplitude = (gains.user_ris * model.ris_ap_gain).rsqrt()[..., None, None]
        cascaded = scale(seen.cascaded, amplitude)
        return [part.flatten(1) for part in (*direct, *cascaded)]
