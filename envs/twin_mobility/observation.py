"""What agents and a controller of all agents see, and where it stands in the vectors.

Everything that agents see follows from what the central controller sees: their own blocks, the
regions, three global numbers. So one function builds an agent's view from these, for the agent
itself and for a policy that sees the central vector only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.twin_mobility.actions import ComponentTable, region_mask
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.slot import SlotKernel
from sixgym.envs.twin_mobility.state import DEAD, IDLE, NUM_STAGES, PROC, TX, SyncState
from sixgym.envs.twin_mobility.twin import deviation

AGE_REF_S, KAPPA_REF, CPU_REF, DRIFT_REF = 60.0, 0.6, 6e9, 0.06
INFO_REF, BITS_REF, EFFICIENCY_REF = 3.0, 2e7, 20.0
"""What is seen as 1: ages and times, information rates, processing rates, drifts, required
information, bits, spectral efficiencies. [ours]"""
LIMIT = 5.0
"""What is seen lies within plus and minus this."""
OWN, REGION_SHARED, REGION_SEEN, GLOBAL, OTHER = 22, 8, 10, 3, 5
"""Numbers of an agent's own block without its target, of a region for the controller and for an
agent, of the globals, of another agent."""
DEVIATION, WAY = 3, 2
"""Places of the deviation among the numbers of a region for the controller, and of the way to sense
among those for an agent."""


class ObservationLayout:
    """Where everything stands, so that nobody counts by hand.

    Args:
        num_agents: N.
        num_regions: R.
        observe_others: whether the others' blocks are there.

    Attributes:
        own: the agent's own block, 22 + R numbers.
        regions: R blocks of `REGION_SEEN`.
        glob: share of agents who transmit, time, largest deviation.
        others: N - 1 blocks of `OTHER`; empty without ``observe_others``.
        position, battery, cycle_energy, stage, target, remaining, since_start, sensing_time,
            compression, approach, bits, efficiency, kappa, cpu_max, sample_age: parts of ``own``;
            those of one number are slices too.
        size: of an agent's observation.
        own_size: of ``own``.
        central_own, central_regions, central_glob: parts of the central observation, N own blocks,
            R blocks of `REGION_SHARED`, globals.
        central_size: of the central observation.
    """

    def __init__(self, num_agents: int, num_regions: int, observe_others: bool = True) -> None:
        n, r = num_agents, num_regions
        sizes = {
            "position": 2,
            "battery": 1,
            "cycle_energy": 1,
            "stage": NUM_STAGES,
            "target": r + 1,
            "remaining": 1,
            "since_start": 1,
            "sensing_time": 1,
            "compression": 1,
            "approach": 1,
            "bits": 1,
            "efficiency": 1,
            "kappa": 1,
            "cpu_max": 1,
            "sample_age": 1,
        }
        self.parts: dict[str, slice] = {}
        first = 0
        for name, size in sizes.items():
            self.parts[name] = slice(first, first + size)
            first += size
        self.own_size = first
        others = OTHER * (n - 1) if observe_others else 0
        self.own, self.regions, self.glob, self.others = _slices(
            first, REGION_SEEN * r, GLOBAL, others
        )
        self.size = self.others.stop
        self.central_own, self.central_regions, self.central_glob = _slices(
            n * first, REGION_SHARED * r, GLOBAL
        )
        self.central_size = self.central_glob.stop
        self.num_agents, self.num_regions, self.observe_others = n, r, observe_others

    def __getattr__(self, name: str) -> slice:
        """A part of the own block by name."""
        parts: dict[str, slice] = self.__dict__.get("parts", {})
        if name not in parts:
            raise AttributeError(f"ObservationLayout has no part {name!r}")
        return parts[name]


def _slices(*sizes: int) -> list[slice]:
    found, first = [], 0
    for size in sizes:
        found.append(slice(first, first + size))
        first += size
    return found


class Blocks(NamedTuple):
    """What the central vector holds, float32."""

    own: Tensor
    """(rows, agents, 22 + regions)."""
    regions: Tensor
    """(rows, regions, 8): x, y, age, deviation, drift, required information, share of agents
    committed, information in flight; or (rows, agents, regions, 8) where agents know different
    ages."""
    glob: Tensor
    """(rows, 3), or (rows, agents, 3)."""


class Observer:
    """Builds what is seen; pure.

    Args:
        params: scales and switches.
        kernel: the physics of a slot.
        device: of the state.
    """

    def __init__(self, params: TwinSyncParams, kernel: SlotKernel, device: torch.device) -> None:
        p, n, r = params, params.num_agents, params.num_regions
        self.params, self.kernel = p, kernel
        self.layout = ObservationLayout(n, r, p.observe_others)
        self.components = ComponentTable(p, device)
        self._noise_w = p.noise_w_per_hz * p.bandwidth_hz / n
        self._stages = torch.arange(NUM_STAGES, device=device)
        self._targets = torch.cat([torch.arange(r, device=device), torch.tensor([-1]).to(device)])
        self._stage_weight = (self._stages / (NUM_STAGES - 1)).to(torch.float32)
        self._target_weight = ((self._targets + 1) / r).to(torch.float32)
        seats = torch.arange(n, device=device)
        self._others = torch.stack([seats[seats != i] for i in range(n)])

    # ------------------------------------------------------------------- from the state

    def blocks(self, state: SyncState) -> Blocks:
        """What the central vector holds."""
        return Blocks(self._own(state), *self._shared(state))

    def _own(self, state: SyncState) -> Tensor:
        p, stage = self.params, state.stage
        now = (state.slot * p.slot_s).unsqueeze(-1)
        held = (stage >= PROC) & (stage <= TX)
        busy = (stage != IDLE) & (stage != DEAD)
        length = torch.where(state.length > 0.0, state.length, 1.0)
        kept = state.compression * state.raw_bits
        bits = torch.where(stage == TX, state.remaining, torch.where(held, kept, 0.0))
        snr = p.power_max_w / self._noise_w * self.kernel.power_gain(state, None)
        efficiency = snr.log1p() * (1.0 / (math.log(2.0) * EFFICIENCY_REF))
        columns = [
            state.position / p.area_m,
            state.battery_j.unsqueeze(-1) / p.battery_j,
            state.cycle_j.unsqueeze(-1) / p.cycle_energy_j,
            stage.unsqueeze(-1) == self._stages,
            state.target.unsqueeze(-1) == self._targets,
            torch.stack(
                [
                    state.remaining / length,
                    torch.where(busy, (now - state.cycle_start) / AGE_REF_S, 0.0),
                    state.sensing_s / p.sensing_max_s,
                    state.compression,
                    state.approach,
                    bits / BITS_REF,
                    efficiency,
                    state.kappa.mean(-1) / KAPPA_REF,
                    state.cpu_max / CPU_REF,
                    torch.where(held, (now - state.stamp) / AGE_REF_S, 0.0),
                ],
                -1,
            ),
        ]
        return torch.cat([c.to(torch.float32) for c in columns], -1).clamp(-LIMIT, LIMIT)

    def _shared(self, state: SyncState) -> tuple[Tensor, Tensor]:
        p = self.params
        age, off = self.ages(state)
        if p.obs_noise_age:
            age, off = state.known.unbind(1)
        region = self._targets[:-1].unsqueeze(-1)
        serves = state.target.unsqueeze(1) == region
        committed = serves.to(age.dtype).mean(-1)
        flying = torch.where(serves, state.info.unsqueeze(1), 0.0).sum(-1)
        tiny = torch.finfo(age.dtype).tiny
        columns = [
            state.centre[..., 0] / p.area_m,
            state.centre[..., 1] / p.area_m,
            age / AGE_REF_S,
            off / p.deviation_ref,
            state.drift / DRIFT_REF,
            state.theta / INFO_REF,
            committed,
            flying / state.theta.clamp_min(tiny),
        ]
        sending = (state.stage == TX).to(age.dtype).mean(-1)
        time = state.slot / p.horizon_slots
        largest = off.amax(-1) / p.deviation_ref
        if p.obs_noise_age:
            columns = [c if c.dim() == 3 else c.unsqueeze(1).expand_as(age) for c in columns]
            sending, time = (t.unsqueeze(1).expand_as(largest) for t in (sending, time))
        regions = torch.stack(columns, -1).to(torch.float32).clamp(-LIMIT, LIMIT)
        glob = torch.stack([sending, time, largest], -1).to(torch.float32).clamp(-LIMIT, LIMIT)
        return regions, glob

    def ages(self, state: SyncState) -> tuple[Tensor, Tensor]:
        """Age in s and deviation of every region now, (rows, regions) each."""
        age = (state.slot * self.params.slot_s).unsqueeze(-1) - state.twin_stamp
        return age, deviation(state.drift, age, state.twin_info, self.params)

    # ------------------------------------------------------------------- the vectors

    def central(self, blocks: Blocks) -> Tensor:
        """(rows, N (22 + R) + 8 R + 3) float32."""
        return torch.cat([blocks.own.flatten(1), blocks.regions.flatten(1), blocks.glob], 1)

    def split(self, central: Tensor) -> Blocks:
        """The reverse of `central`."""
        at, n, r = self.layout, self.layout.num_agents, self.layout.num_regions
        return Blocks(
            central[:, at.central_own].unflatten(1, (n, -1)),
            central[:, at.central_regions].unflatten(1, (r, -1)),
            central[:, at.central_glob],
        )

    def views(self, blocks: Blocks) -> Tensor:
        """(rows, agents, size) float32: what each agent sees."""
        own, at = blocks.own, self.layout
        place = own[..., at.position].unsqueeze(2)  # (rows, agents, 1, 2)
        regions, glob = blocks.regions, blocks.glob
        if regions.dim() == 3:
            regions = regions.unsqueeze(1).expand(-1, at.num_agents, -1, -1)
            glob = glob.unsqueeze(1).expand(-1, at.num_agents, -1)
        radius = self.params.sensing_radius_m / self.params.area_m
        seen = [own, seen_from(place, regions, radius).flatten(2), glob]
        if at.observe_others:
            seen.append(self._of_others(own))
        return torch.cat(seen, -1)

    def _of_others(self, own: Tensor) -> Tensor:
        """(rows, agents, 5 (N - 1)): relative place, stage, target and battery of the others."""
        at = self.layout
        stage = (own[..., at.stage] * self._stage_weight).sum(-1, keepdim=True)
        target = (own[..., at.target] * self._target_weight).sum(-1, keepdim=True)
        place = own[..., at.position]
        traits = torch.cat([place, stage, target, own[..., at.battery]], -1)
        others = traits[:, self._others]  # (rows, agents, N - 1, 5)
        relative = others[..., :2] - place.unsqueeze(2)
        return torch.cat([relative, others[..., 2:]], -1).flatten(2)

    # ------------------------------------------------------------------- masks

    def masks(self, state: SyncState) -> tuple[Tensor, Tensor]:
        """Masks of regions (rows, agents, R + 1) and of components (rows, agents, 8), bool."""
        regions = region_mask(state.stage, self.kernel.can_reach(state))
        return regions, self.components(state.stage)

    def masks_of(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """The same, float32, from what an agent sees, (..., size): no state is needed."""
        p, at = self.params, self.layout
        own = seen[..., at.own]
        stage = own[..., at.stage].argmax(-1)
        way = seen[..., at.regions].unflatten(-1, (at.num_regions, REGION_SEEN))[..., WAY]
        price = self.kernel.least_j_per_m * p.area_m / p.battery_j
        reach = own[..., at.battery] >= price * way
        components = self.components(stage)
        return region_mask(stage, reach).to(torch.float32), components.to(torch.float32)


def seen_from(place: Tensor, regions: Tensor, radius: float) -> Tensor:
    """Regions as somebody sees them: where they lie from here, the way to go, and the worst marked.

    Args:
        place: (rows, agents, 1, 2) of the agents, in sides of the area.
        regions: (rows, agents, R, columns): centre, what else is known, the deviation in column
            ``DEVIATION``.
        radius: of sensing, in sides of the area.

    Returns:
        (rows, agents, R, columns + 2).
    """
    offset = regions[..., :2] - place
    way = (offset.square().sum(-1, keepdim=True).sqrt() - radius).clamp_min(0.0)
    off = regions[..., DEVIATION]
    flag = torch.zeros_like(off).scatter(-1, off.argmax(-1, keepdim=True), 1.0)
    return torch.cat([offset, way, regions[..., 2:], flag.unsqueeze(-1)], -1)
