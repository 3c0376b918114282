"""The one-shot problem of a synchronisation round: what is given, and which ingredients are free.

Choose for every agent a region (or none), a speed, a sensing time, a processing rate, a compression
ratio, a way towards the base station, a power and a bandwidth, so that the largest deviation of the
twins just before they are refreshed is least. Every region needs its information, every agent keeps
its energy budget, all share the band. [objective, stages, constraints: paper; formulas: ours]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.twin_mobility import geometry
from sixgym.envs.twin_mobility.base_params import TwinBaseParams

IDLE = -1
"""Assignment of an agent without region."""


class Problem(NamedTuple):
    """A batch of one-shot problems; S rows, N agents, R regions."""

    pos: Tensor
    """(S, N, 2) m, where the agents are."""
    region_xy: Tensor
    """(S, R, 2) m, centres of the regions."""
    bs_xy: Tensor
    """(S, 2) m, ground point of the base station."""
    kappa: Tensor
    """(S, N, R) nat/s, information rate of an agent in a region."""
    cpu_max_flops: Tensor
    """(S, N) FLOP/s."""
    energy_j: Tensor
    """(S, N) J, what the cycle may cost: the less of its budget and the battery."""
    drift: Tensor
    """(S, R) 1/s."""
    theta: Tensor
    """(S, R) nat, required information."""
    age_s: Tensor
    """(S, R) s, age of the twins at the dispatch."""
    raw_bits: Tensor | None = None
    """(S, N) bit, raw data with ``raw_mode="fixed"``."""
    gain_factor: Tensor | None = None
    """(S, N, R) 1, fading and shadowing of the gain; None: 1."""
    step_region: Tensor | None = None
    """(S, N) int64, region that a committed agent will deliver to, -1 for none."""
    step_time_s: Tensor | None = None
    """(S, N) s from now until it delivers."""
    step_info: Tensor | None = None
    """(S, N) nat that it delivers."""
    unserved: Tensor | None = None
    """(S, R) deviation that counts for a region that does not get its information; None: a value
    far above all others, which makes serving all regions the first aim."""

    @property
    def num_agents(self) -> int:
        """N."""
        return self.pos.shape[-2]

    @property
    def num_regions(self) -> int:
        """R."""
        return self.region_xy.shape[-2]

    @property
    def num_rows(self) -> int:
        """S."""
        return self.pos.shape[0]

    def rows(self, index: Tensor | slice) -> Problem:
        """Some of the rows, by indices, a mask or a slice."""
        return Problem._make(None if item is None else item[index] for item in self)

    def to(self, dtype: torch.dtype) -> Problem:
        """The same with floating tensors of a dtype."""
        return Problem._make(None if item is None else _to(item, dtype) for item in self)


@dataclass(frozen=True)
class Ingredients:
    """Which degrees of freedom the solver has; each one can be switched off for an ablation.

    Attributes:
        speed_mps: the only speed; None: free.
        compress: whether the compression ratio is free, else 1.
        approach: whether agents may move towards the base station before they transmit.
        full_power: the power is P_max.
        full_cpu: the processing rate is f_max.
        equal_bandwidth: the band is split evenly.
    """

    speed_mps: float | None = None
    compress: bool = True
    approach: bool = True
    full_power: bool = False
    full_cpu: bool = False
    equal_bandwidth: bool = False


ALL = Ingredients()
"""Everything free."""


class Pairs(NamedTuple):
    """What an agent's cycle for a region depends on, of a common shape (...)."""

    way_m: Tensor
    """d1, way to the sensing point."""
    ground_m: Tensor
    """g, distance of the sensing point to the base station's ground point."""
    kappa: Tensor
    """nat/s."""
    cpu_max: Tensor
    """FLOP/s."""
    energy_j: Tensor
    """J."""
    bandwidth_hz: Tensor
    """Hz."""
    gain_factor: Tensor
    """1."""
    raw_bits: Tensor
    """bit; NaN where the raw data grow with the sensing time."""

    def unsqueeze(self, axes: int) -> Pairs:
        """With so many axes of length 1 appended."""
        return Pairs(*(item.reshape(item.shape + (1,) * axes) for item in self))

    def of(self, region: Tensor) -> Pairs:
        """From (S, N, R) those of one region an agent, (S, N).

        Args:
            region: (S, N) int64, >= 0.
        """
        return Pairs(*(item.gather(-1, region.unsqueeze(-1)).squeeze(-1) for item in self))


def pairs(problem: Problem, bandwidth_hz: Tensor, params: TwinBaseParams) -> Pairs:
    """Every agent with every region, (S, N, R).

    Args:
        problem: the rows.
        bandwidth_hz: (S, N) or (S, N, R) Hz.
        params: of the system.
    """
    place, centre = problem.pos.unsqueeze(2), problem.region_xy.unsqueeze(1)
    point = geometry.sensing_point(place, centre, params.sensing_radius_m)
    way = geometry.move_to_sense_m(place, centre, params.sensing_radius_m)
    band = bandwidth_hz if bandwidth_hz.dim() == 3 else bandwidth_hz.unsqueeze(-1)
    raw = problem.raw_bits if problem.raw_bits is not None else way.new_full((1, 1), torch.nan)
    factor = problem.gain_factor if problem.gain_factor is not None else way.new_ones(())
    return Pairs(
        way,
        geometry.ground_distance(point, problem.bs_xy[:, None, None, :]),
        problem.kappa.expand_as(way),
        problem.cpu_max_flops.unsqueeze(-1).expand_as(way),
        problem.energy_j.unsqueeze(-1).expand_as(way),
        band.expand_as(way),
        factor.expand_as(way),
        raw.unsqueeze(-1).expand_as(way),
    )


def _to(item: Tensor, dtype: torch.dtype) -> Tensor:
    return item.to(dtype) if item.is_floating_point() else item
