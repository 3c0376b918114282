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
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.optimisers import double_precision
from sixgym.envs.ris_noma.physics import (
    as_channel,
    compute_energy,
    fixed_power_rate,
    limited_volume,
    load_of,
    needed_power,
)
from sixgym.envs.ris_noma.state import BUCKETS, QUEUE, RAW, RHO, VOLUME, State

LIMIT = 10.0
"""All observations are clipped to plus and minus this."""
LN10 = math.log(10.0)
ENERGY_UNIT_J = 1e-3
"""Energies are seen as log10(1 + E / 1 mJ)."""
POWER_FLOOR = 1e-3
"""Powers are seen as log10(p / p_max + 1e-3)."""
TINY = 1e-30
"""Gains are at least this, so that logarithms are finite in float32."""
HUGE = 1e14
"""Uncapped powers are at most this times the cap: beyond the clip, and finite in float32."""
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
        shared = [0.1, 0.1, 0.1, decade, 1.0 / p.horizon_slots]
        offsets = [-1.0] + [0.0] * (len(weights) - 1)
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
        self.power_floor = model.constant(POWER_FLOOR)
        self.per_energy_unit = model.constant(1.0 / ENERGY_UNIT_J)
        self.static_energy = model.constant(model.static_j / ENERGY_UNIT_J)
        self.per_cap = model.constant(1.0 / p.max_power_w)
        self.caps = p.max_power_w * torch.tensor(
            [1.0, HUGE], dtype=model.dtype, device=model.device
        )
        self.space = spaces.Box(-LIMIT, LIMIT, (size,), np.float32)

    def _constant(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=self.model.dtype, device=self.model.device)

    def __call__(self, state: State) -> Tensor:
        """(rows, features) float32 in the observation space."""
        model, users = self.model, state.users
        rho, queue, backlog = users[..., RHO], users[..., QUEUE], users[..., BUCKETS:]
        air, gain, aligned = self._air(state)
        load = load_of(model, rho)
        due = backlog.cumsum(-1)
        available = (due * self.per_slot).amax(-1)
        wish = available if model.follows_backlog else users[..., VOLUME]
        planned = limited_volume(model, due, wish, load)
        bits = torch.addcmul(queue, rho, planned)
        compute = compute_energy(model, planned, load)
        effort, transmit = self._transmission(state, air, bits)
        order = state.order
        place = torch.empty_like(gain).scatter(-1, order, self.places.expand(order.shape))
        rank = (gain.unsqueeze(-2) > gain.unsqueeze(-1)).sum(-1, dtype=gain.dtype)
        log_gain = torch.log(gain)
        columns = [
            log_gain.unsqueeze(-1),
            torch.sub(log_gain, torch.log(aligned), alpha=2.0).unsqueeze(-1),
            available.unsqueeze(-1),
            planned.unsqueeze(-1),
            users[..., :RAW],  # held volume, held factor, queue
            place.unsqueeze(-1),
            rank.unsqueeze(-1),
            torch.log(effort + self.power_floor).unsqueeze(-1),
            torch.log1p(compute * self.per_energy_unit).unsqueeze(-1),
            backlog,
        ]
        # Summed over all users, so that it does not matter that one part is in decoding order.
        energy = (compute + transmit).sum(-1, keepdim=True)
        energy = torch.log1p(torch.add(self.static_energy, energy, alpha=1.0 / ENERGY_UNIT_J))
        clock = state.clock
        parts = [torch.cat(columns, -1).flatten(1), clock[:, :3], energy, clock[:, 3:]]
        if model.params.observation == "full":
            parts += self._links(state)
        seen = torch.addcmul(self.offset, torch.cat(parts, -1), self.weight)
        return seen.clamp(self.least, self.most).to(torch.float32)

    def _air(self, state: State) -> tuple[Air, Tensor, Tensor]:
        """The air, its gains, and amplitudes of surfaces aligned to each user alone."""
        model = self.model
        if model.hears_gains:
            gain = state.gain.clamp_min(TINY)
            return gain, gain, state.aligned
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

    def _transmission(self, state: State, air: Air, bits: Tensor) -> tuple[Tensor, Tensor]:
        """Uncapped power over the cap (or share of the phase), and E_tx, (rows, users).

        The energies may be in decoding order.
        """
        model, p = self.model, self.model.params
        if isinstance(air, Tensor) and not model.fixed_power:
            return self._single_antenna_transmission(state.order, air, bits)
        channel = air if isinstance(air, Complex) else as_channel(air)
        if model.fixed_power:
            rate = fixed_power_rate(model, channel, bits, state.order)
            share = bits / (rate * model.transmit_s).clamp_min(TINY)
            on_air = time_on_air(bits, rate, model.transmit_s)
            return share, on_air * (p.fixed_power_w / p.amplifier_efficiency)
        power = needed_power(model, channel, bits, state.order, p.max_power_w).power_w
        wide = needed_power(model, double_precision(channel), bits.double(), state.order, math.inf)
        ratio = (wide.power_w / p.max_power_w).clamp_max(HUGE).to(bits.dtype)
        return ratio, power * (model.transmit_s / p.amplifier_efficiency)

    def _single_antenna_transmission(
        self, order: Tensor, gain: Tensor, bits: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Two walks at once: one with the cap, one with a cap far beyond the observation's clip."""
        model = self.model
        quality = gain.gather(-1, order).unsqueeze(-1)
        target = torch.expm1(bits.gather(-1, order) * model.nats_per_bit).unsqueeze(-1)
        received = capped_received(target, quality * self.caps)
        power, wide = (received / quality).unbind(-1)
        ratio = torch.empty_like(wide).scatter(-1, order, wide * self.per_cap)
        return ratio, power * model.amplifier_s

    def _links(self, state: State) -> list[Tensor]:
        """Re and im of direct, then of cascaded links, over their root mean square."""
        model = self.model
        seen = estimate(model, state.links)
        gains = mean_gains(model, state.position_m)
        direct = scale(seen.direct, gains.direct.rsqrt().unsqueeze(-1))
        amplitude = (gains.user_ris * model.ris_ap_gain).rsqrt()[..., None, None]
        cascaded = scale(seen.cascaded, amplitude)
        return [part.flatten(1) for part in (*direct, *cascaded)]
