"""What agents and a controller of all agents see of `sixgym/TwinRound-v0`, and where it stands.

As in `sixgym/TwinSync-v0` an agent's view follows from what the central controller sees: the
agents' own blocks, the regions, three global numbers. Between rounds nobody is under way, so there
are no stages; instead an agent sees what it can do in each region.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.twin_mobility import geometry
from sixgym.envs.twin_mobility.observation import (
    BITS_REF,
    CPU_REF,
    DRIFT_REF,
    EFFICIENCY_REF,
    INFO_REF,
    KAPPA_REF,
    LIMIT,
    seen_from,
)
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.envs.twin_mobility.round_state import RoundState
from sixgym.envs.twin_mobility.round_step import RoundKernel
from sixgym.envs.twin_mobility.twin import deviation

REGION_SHARED, REGION_SEEN, GLOBAL, OTHER = 6, 8, 3, 5
"""Numbers of a region for the controller and for an agent, of the globals, of another agent."""


class RoundLayout:
    """Where everything stands, so that nobody counts by hand.

    Args:
        num_agents: N.
        num_regions: R.
        observe_others: whether the others' blocks are there.

    Attributes:
        own: the agent's own block, 7 + 2 R numbers.
        regions: R blocks of `REGION_SEEN`: offset (2) and way to sense over the side of the map,
            age, deviation, drift, required information, 1 for the largest deviation.
        glob: share of the rounds played, time, largest deviation.
        others: N - 1 blocks of `OTHER`: offset (2), battery, processing rate, mean information
            rate; empty without ``observe_others``.
        position, battery, budget, cpu_max, bits, efficiency, kappa, reach: parts of ``own``. The
            budget is what the cycle may cost, the battery at most; efficiency that at the present
            place and with full power and an even share of the band; kappa the information rates,
            and reach the efficiencies at the sensing points, region by region.
        size: of an agent's observation.
        own_size: of ``own``.
        central_own, central_regions, central_glob: parts of the central observation, N own blocks,
            R blocks of `REGION_SHARED`, globals.
        central_size: of the central observation.
    """

    def __init__(self, num_agents: int, num_regions: int, observe_others: bool = True) -> None:
        n, r = num_agents, num_regions
        self.num_agents, self.num_regions, self.observe_others = n, r, observe_others
        own = _slices(2, 1, 1, 1, 1, 1, r, r)
        self.position, self.battery, self.budget, self.cpu_max, self.bits = own[:5]
        self.efficiency, self.kappa, self.reach = own[5:]
        self.own_size = self.reach.stop
        others = OTHER * (n - 1) if observe_others else 0
        self.own, self.regions, self.glob, self.others = _slices(
            self.own_size, REGION_SEEN * r, GLOBAL, others
        )
        self.size = self.others.stop
        self.central_own, self.central_regions, self.central_glob = _slices(
            n * self.own_size, REGION_SHARED * r, GLOBAL
        )
        self.central_size = self.central_glob.stop


def _slices(*sizes: int) -> list[slice]:
    found, first = [], 0
    for size in sizes:
        found.append(slice(first, first + size))
        first += size
    return found


class RoundBlocks(NamedTuple):
    """What the central vector holds, float32."""

    own: Tensor
    """(rows, agents, 7 + 2 regions)."""
    regions: Tensor
    """(rows, regions, 6): x, y, age, deviation, drift, required information."""
    glob: Tensor
    """(rows, 3)."""


class RoundObserver:
    """Builds what is seen; pure.

    Args:
        params: scales and switches.
        kernel: the physics of a round.
        device: of the state.
    """

    def __init__(self, params: TwinRoundParams, kernel: RoundKernel, device: torch.device) -> None:
        self.params, self.kernel = params, kernel
        self.layout = RoundLayout(params.num_agents, params.num_regions, params.observe_others)
        noise_w = params.noise_w_per_hz * params.bandwidth_hz / params.num_agents
        self._snr = params.power_max_w / noise_w
        seats = torch.arange(params.num_agents, device=device)
        self._others = torch.stack([seats[seats != i] for i in range(params.num_agents)])

    # ------------------------------------------------------------------- from the state

    def deviations(self, state: RoundState) -> Tensor:
        """(rows, regions) deviation of every region now."""
        return deviation(state.drift, state.age_s, state.twin_info, self.params)

    def blocks(self, state: RoundState) -> RoundBlocks:
        """What the central vector holds."""
        return RoundBlocks(*map(_limited, (self._own(state), *self._shared(state))))

    def _own(self, state: RoundState) -> Tensor:
        p = self.params
        battery = state.battery_j
        bits = state.drawn_bits if p.raw_mode == "fixed" else torch.zeros_like(battery)
        columns = [
            state.position / p.area_m,
            (battery / p.battery_j).unsqueeze(-1),
            (battery.clamp_max(p.cycle_energy_j) / p.cycle_energy_j).unsqueeze(-1),
            (state.cpu_max / CPU_REF).unsqueeze(-1),
            (bits / BITS_REF).unsqueeze(-1),
            self._efficiency(self._here(state)),
            state.kappa / KAPPA_REF,
            self._efficiency(self._there(state)),
        ]
        return torch.cat(columns, -1)

    def _efficiency(self, gain: Tensor) -> Tensor:
        return (self._snr * gain).log1p() * (1.0 / (math.log(2.0) * EFFICIENCY_REF))

    def _here(self, state: RoundState) -> Tensor:
        """(rows, agents, 1) power gain at the present place, without shadowing."""
        ground = geometry.ground_distance(state.position, self.kernel.station)
        gain = self.kernel.path_gain(ground)
        return (gain if self.params.fading == "none" else gain * state.fading).unsqueeze(-1)

    def _there(self, state: RoundState) -> Tensor:
        """(rows, agents, regions) power gain at the sensing points."""
        place, centre = state.position.unsqueeze(2), state.centre.unsqueeze(1)
        point = geometry.sensing_point(place, centre, self.params.sensing_radius_m)
        gain = self.kernel.path_gain(geometry.ground_distance(point, self.kernel.station))
        factor = self.kernel.gain_factor(state)
        return gain if factor is None else gain * factor

    def _shared(self, state: RoundState) -> tuple[Tensor, Tensor]:
        p = self.params
        off = self.deviations(state) / p.deviation_ref
        columns = [
            state.centre[..., 0] / p.area_m,
            state.centre[..., 1] / p.area_m,
            state.age_s / p.age_ref_s,
            off,
            state.drift / DRIFT_REF,
            state.theta / INFO_REF,
        ]
        share = state.round / p.num_rounds
        glob = torch.stack([share, state.time_s / p.clock_s, off.amax(-1)], -1)
        return torch.stack(columns, -1), glob

    # ------------------------------------------------------------------- the vectors

    def central(self, blocks: RoundBlocks) -> Tensor:
        """(rows, N (7 + 2 R) + 6 R + 3) float32."""
        return torch.cat([blocks.own.flatten(1), blocks.regions.flatten(1), blocks.glob], 1)

    def split(self, central: Tensor) -> RoundBlocks:
        """The reverse of `central`."""
        at, n, r = self.layout, self.layout.num_agents, self.layout.num_regions
        return RoundBlocks(
            central[:, at.central_own].unflatten(1, (n, -1)),
            central[:, at.central_regions].unflatten(1, (r, -1)),
            central[:, at.central_glob],
        )

    def views(self, blocks: RoundBlocks) -> Tensor:
        """(rows, agents, size) float32: what each agent sees."""
        own, at = blocks.own, self.layout
        regions = blocks.regions.unsqueeze(1).expand(-1, at.num_agents, -1, -1)
        glob = blocks.glob.unsqueeze(1).expand(-1, at.num_agents, -1)
        radius = self.params.sensing_radius_m / self.params.area_m
        regions = seen_from(own[..., at.position].unsqueeze(2), regions, radius)
        seen = [own, regions.flatten(2), glob]
        if at.observe_others:
            seen.append(self._of_others(own))
        return torch.cat(seen, -1).clamp(-LIMIT, LIMIT)

    def _of_others(self, own: Tensor) -> Tensor:
        """(rows, agents, 5 (N - 1)) what is seen of the others."""
        at = self.layout
        place, kappa = own[..., at.position], own[..., at.kappa].mean(-1, keepdim=True)
        traits = torch.cat([place, own[..., at.battery], own[..., at.cpu_max], kappa], -1)
        others = traits[:, self._others]  # (rows, agents, N - 1, 5)
        relative = others[..., :2] - place.unsqueeze(2)
        return torch.cat([relative, others[..., 2:]], -1).flatten(2)


def _limited(block: Tensor) -> Tensor:
    return block.to(torch.float32).clamp(-LIMIT, LIMIT)
