"""What an agent may do: three layouts of one action, the resources it stands for, and the masks."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.core.game import Moves
from sixgym.envs.twin_mobility.params import TwinBaseParams, TwinSyncParams
from sixgym.envs.twin_mobility.state import DEAD, IDLE, NUM_STAGES, PROC

CONTROLS = (
    "speed",
    "sensing_time",
    "cpu_rate",
    "compression",
    "approach",
    "power",
    "bandwidth_weight",
)
"""The continuous components u0 to u6 of an action, in their order."""
NUM_CONTROLS = len(CONTROLS)
LEVELS = (5, 5, 3, 5, 4, 3, 3)
"""Levels of each of them in the layout ``discrete``: u = j / (K - 1)."""
NUM_COMPONENTS = 1 + NUM_CONTROLS
"""The region, then the controls."""
_READ = {
    "idle": (1, 1, 1, 1, 1, 1, 0, 0),
    "move": (0, 1, 1, 1, 1, 1, 0, 0),
    "sense": (0, 1, 0, 1, 1, 1, 0, 0),
    "process": (0, 1, 0, 1, 0, 1, 0, 0),
    "reposition": (0, 1, 0, 0, 0, 0, 0, 0),
    "transmit": (0, 0, 0, 0, 0, 0, 1, 1),
    "dead": (0, 0, 0, 0, 0, 0, 0, 0),
}
"""Which components a slot can read that begins in a stage."""


class Decision(NamedTuple):
    """An action in any layout, read."""

    region: Tensor
    """(rows, agents) int64: 0 for staying, else one more than the region."""
    level: Tensor
    """(rows, agents, 7) u in [0, 1]."""


class Resources(NamedTuple):
    """What the continuous components stand for, (rows, agents) each."""

    speed_mps: Tensor
    sensing_s: Tensor
    cpu_flops: Tensor
    compression: Tensor
    approach: Tensor
    power_w: Tensor
    weight: Tensor


def action_space(params: TwinBaseParams) -> spaces.Space[Any]:
    """Of one agent, in the layout of ``action_mode``."""
    choices = params.num_regions + 1
    if params.action_mode == "hybrid":
        box = spaces.Box(0.0, 1.0, (NUM_CONTROLS,), np.float32)
        return spaces.Dict(region=spaces.Discrete(choices), u=box)
    if params.action_mode == "discrete":
        return spaces.MultiDiscrete([choices, *LEVELS])
    return spaces.Box(-1.0, 1.0, (choices + NUM_CONTROLS,), np.float32)


class Decoder:
    """Reads the moves of all agents, in the layout of ``action_mode``.

    Args:
        params: the layout and the number of regions.
        group: name of the agents' group.
        dtype: of the levels.
        device: of the moves.
    """

    def __init__(
        self, params: TwinBaseParams, group: str, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._mode = params.action_mode
        self._group = group
        self._choices = params.num_regions + 1
        self._steps = torch.tensor([k - 1.0 for k in LEVELS], dtype=dtype, device=device)

    def __call__(self, moves: Moves) -> Decision:
        """The decisions of all agents."""
        if self._mode == "hybrid":
            return Decision(moves[f"{self._group}.region"], moves[f"{self._group}.u"])
        move = moves[self._group]
        if self._mode == "discrete":
            return Decision(move[..., 0], move[..., 1:] / self._steps)
        region = move[..., : self._choices].argmax(-1)
        return Decision(region, 0.5 * (move[..., self._choices :] + 1.0))


def resources(level: Tensor, cpu_max: Tensor, params: TwinBaseParams) -> Resources:
    """Speeds, times, rates and powers of the levels u; geometric between bounds but for v, f, xi.

    Args:
        level: (..., 7) in [0, 1].
        cpu_max: f_max of the agents, (...).
        params: the bounds.
    """
    p = params
    speed, sensing, cpu, compression, approach, power, weight = level.unbind(-1)
    fixed_cpu, equal = p.fixed_cpu, p.equal_weight
    return Resources(
        p.speed_min_mps + (p.speed_max_mps - p.speed_min_mps) * speed,
        _geometric(sensing, p.sensing_min_s, p.sensing_max_s),
        cpu_max if fixed_cpu else p.cpu_min_flops + (cpu_max - p.cpu_min_flops) * cpu,
        _geometric(compression, p.compression_min, 1.0),
        approach,
        _geometric(power, p.power_min_w, p.power_max_w),
        torch.ones_like(weight) if equal else _geometric(weight, p.request_min, 1.0),
    )


def _geometric(level: Tensor, low: float, high: float) -> Tensor:
    """The bound ``low`` times (high / low)^u, not above ``high`` by rounding."""
    return (low * torch.exp(level * math.log(high / low))).clamp_max(high)


def region_mask(stage: Tensor, can_reach: Tensor) -> Tensor:
    """Which regions, after staying, each agent may choose; of a dead one none, not even staying.

    Args:
        stage: (rows, agents).
        can_reach: (rows, agents, regions) bool: the battery pays the way.

    Returns:
        (rows, agents, regions + 1) bool.
    """
    stay = (stage != DEAD).unsqueeze(-1)
    return torch.cat([stay, can_reach & (stage == IDLE).unsqueeze(-1)], -1)


class ComponentTable:
    """Which components a slot can read, by the stage at its start.

    Args:
        params: with ``overlap_proc_move`` the way towards the station begins with processing, so
            that its share is latched before; what is fixed whatever the action is never read.
        device: of the table.
    """

    def __init__(self, params: TwinSyncParams, device: torch.device) -> None:
        rows = torch.tensor(list(_READ.values()), device=device).bool()
        column = {name: 1 + i for i, name in enumerate(CONTROLS)}
        if params.overlap_proc_move:
            rows[PROC, column["approach"]] = False
        if params.fixed_cpu:
            rows[:, column["cpu_rate"]] = False
        if params.equal_weight or params.bw_mode != "request":
            rows[:, column["bandwidth_weight"]] = False
        assert rows.shape == (NUM_STAGES, NUM_COMPONENTS)
        self._rows = rows

    def __call__(self, stage: Tensor) -> Tensor:
        """(rows, agents, 8) bool."""
        return self._rows[stage]


def choice_mask(regions: Tensor, components: Tensor) -> Tensor:
    """The mask of the layout ``discrete``, all choices in a row.

    A component that the slot cannot read has its first level only, and a dead agent stays.

    Args:
        regions: (rows, agents, regions + 1) of `region_mask`.
        components: (rows, agents, 8) of `ComponentTable`.

    Returns:
        (rows, agents, regions + 1 + levels) bool.
    """
    stay = torch.ones_like(regions[..., :1])
    parts = [stay, regions[..., 1:]]
    for i, count in enumerate(LEVELS):
        parts += [stay, components[..., i + 1, None].expand(*stay.shape[:-1], count - 1)]
    return torch.cat(parts, -1)
