"""One-shot problems as the environments draw them, and how their solutions are played there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.problem import IDLE, Problem
from sixgym.baselines.twin_mobility.realise import Plan
from sixgym.envs.backend.rng import DrawTable, episode_key
from sixgym.envs.twin_mobility import layout
from sixgym.envs.twin_mobility.base_params import TwinBaseParams


def instance(params: TwinBaseParams, rows: int, seed: int) -> Problem:
    """The first rounds of rows seeded ``seed``, ``seed + 1``, ..., without fading.

    Args:
        params: of the system.
        rows: S.
        seed: of the first row.

    Returns:
        In double precision; the environments' worlds up to rounding.
    """
    index = torch.arange(seed, seed + rows)
    table = DrawTable(layout.start_streams(params), dtype=torch.float64)
    noise = table.draw(episode_key(index, torch.zeros_like(index)), torch.zeros_like(index))
    drift = layout.spread(noise["drift"], params.drift_range)
    budget = min(params.cycle_energy_j, params.battery_j)
    fixed, shadowed = params.raw_mode == "fixed", params.shadowing_db > 0.0
    return Problem(
        pos=params.area_m * noise["agents"],
        region_xy=layout.place_regions(noise["layout"], params),
        bs_xy=drift.new_tensor(params.bs_xy_m).expand(rows, 2),
        kappa=layout.draw_kappa(noise, params),
        cpu_max_flops=layout.spread(noise["cpu"], params.cpu_max_range_flops),
        energy_j=torch.full_like(noise["cpu"], budget),
        drift=drift,
        theta=layout.required_information(layout.spread(noise["fidelity"], params.fidelity_range)),
        age_s=layout.spread(noise["ages"], params.age_range_s),
        raw_bits=layout.spread(noise["raw"], params.raw_bits_range) if fixed else None,
        gain_factor=layout.draw_shadow(noise, params) if shadowed else None,
    )


def with_margin(problem: Problem, margin: float = 1e-5) -> Problem:
    """Asks for a little more information and less energy.

    Solutions meet both constraints exactly; an environment in single precision needs the margin
    to agree.
    """
    return problem._replace(
        theta=problem.theta * (1.0 + margin), energy_j=problem.energy_j * (1.0 - margin)
    )


def controls(plan: Plan, cpu_max_flops: Tensor, params: TwinBaseParams) -> Tensor:
    """The levels u in [0, 1] that stand for a plan's resources, (S, N, 7).

    The largest bandwidth has weight 1. Agents without region have zeros.

    Args:
        plan: of the rows.
        cpu_max_flops: (S, N) FLOP/s.
        params: the bounds.
    """
    p, works = params, plan.region != IDLE
    band = torch.where(works, plan.bandwidth_hz, 0.0)
    weight = band / band.amax(-1, keepdim=True).clamp_min(1e-30)
    levels = torch.stack(
        [
            _linear(plan.speed_mps, p.speed_min_mps, p.speed_max_mps),
            _geometric(plan.sensing_s, p.sensing_min_s, p.sensing_max_s),
            _linear(plan.cpu_flops, p.cpu_min_flops, cpu_max_flops),
            _geometric(plan.compression, p.compression_min, 1.0),
            plan.fraction,
            _geometric(plan.power_w, p.power_min_w, p.power_max_w),
            _geometric(weight.clamp_min(1e-30), p.request_min, 1.0),
        ],
        -1,
    )
    return torch.where(works.unsqueeze(-1), levels, 0.0).clamp(0.0, 1.0)


def _linear(value: Tensor, low: float, high: float | Tensor) -> Tensor:
    gap = torch.as_tensor(high - low, dtype=value.dtype, device=value.device)
    return torch.where(gap > 0.0, (value - low) / gap.clamp_min(1e-30), 0.0)


def _geometric(value: Tensor, low: float, high: float) -> Tensor:
    width = math.log(high / low)
    return (value / low).log() / width if width > 0.0 else torch.zeros_like(value)


def hand_instance() -> Problem:
    """Three agents and two regions whose assignments are checked by hand, (1, ...); preset tiny.

    Agent 0 cannot reach region 1 within its energy, nor agent 2 region 0. [ours]
    """

    def row(values: list[list[float]] | list[float]) -> Tensor:
        return torch.tensor([values], dtype=torch.float64)

    return Problem(
        pos=row([[900.0, 800.0], [600.0, 300.0], [150.0, 600.0]]),
        region_xy=row([[800.0, 500.0], [300.0, 250.0]]),
        bs_xy=row([500.0, 500.0]),
        kappa=row([[0.4, 0.4], [0.3, 0.3], [0.5, 0.5]]),
        cpu_max_flops=row([5e9, 4e9, 6e9]),
        energy_j=row([160.0, 160.0, 160.0]),
        drift=row([0.04, 0.03]),
        theta=layout.required_information(row([0.90, 0.85])),
        age_s=row([0.0, 0.0]),
    )
