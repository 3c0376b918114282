"""How the policies of ``sixgym/TwinSync-v0`` see and act.

What they see is rebuilt from the central observation by the environment itself, agent by agent; so
they play from what one controller sees, and with ``obs_noise_age`` every agent decides by the ages
that it knows. What is seen is clipped at five times its reference, deviations at 10.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.system import System
from sixgym.envs.twin_mobility.observation import DEVIATION, INFO_REF, KAPPA_REF, REGION_SEEN
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.state import DEAD, IDLE
from sixgym.envs.twin_mobility.sync import GROUP, TwinSync

ID = "sixgym/TwinSync-v0"
FLAT = {"action_mode": "flat"}
SEEN_DEVIATION, SEEN_INFO = DEVIATION + 1, DEVIATION + 3
"""Places among the numbers of a region that an agent sees, which start with a way of three where
the controller has a place of two."""
TIME = 1
"""Place of the time among the globals."""
STAY = -1
"""Choice of no region."""


class Setting(NamedTuple):
    """Resources that a rule uses always; speeds and times out of bounds go to the bound [ours].

    Power, bandwidth weight and processing rate are the largest.
    """

    speed_mps: float = 10.0
    sensing_s: float = 5.0
    compression: float = 0.25
    approach: float = 0.3

    def level(self, params: TwinSyncParams) -> Tensor:
        """(7,) controls u that stand for it, float32."""
        p = params
        u = [
            _share(self.speed_mps - p.speed_min_mps, p.speed_max_mps - p.speed_min_mps),
            _share(math.log(self.sensing_s / p.sensing_min_s), sensing_width(p)),
            1.0,
            _share(math.log(self.compression / p.compression_min), -math.log(p.compression_min)),
            self.approach,
            1.0,
            1.0,
        ]
        return torch.tensor(u, dtype=torch.float32)


THETA0 = Setting()
"""What the simple rules use: 10 m/s, 5 s of sensing, a quarter of the bits, three tenths of the
way towards the station."""


def sensing_width(params: TwinSyncParams) -> float:
    """Logarithm of the longest over the shortest sensing time."""
    return math.log(params.sensing_max_s / params.sensing_min_s)


def _share(value: float, whole: float) -> float:
    return min(max(value / whole, 0.0), 1.0) if whole > 0.0 else 0.0


class Sight(NamedTuple):
    """What the agents see, in units; (rows, agents, ...)."""

    position: Tensor
    """(rows, agents, 2) m."""
    is_idle: Tensor
    """(rows, agents) bool."""
    is_alive: Tensor
    """(rows, agents) bool."""
    target: Tensor
    """(rows, agents) int64 region of the cycle, -1 for none."""
    kappa: Tensor
    """(rows, agents) nat/s, mean over the regions."""
    offset: Tensor
    """(rows, agents, regions, 2) m from the agent to the centre."""
    deviation: Tensor
    """(rows, agents, regions), at most 10."""
    theta: Tensor
    """(rows, agents, regions) required information, nat."""
    is_open: Tensor
    """(rows, agents, regions) bool, whether the agent may set out for the region now."""
    battery: Tensor
    """(rows, agents) share of a full battery."""
    time_left: Tensor
    """(rows,) share of the horizon that is left."""

    @property
    def is_start(self) -> Tensor:
        """(rows,) bool, whether an episode begins."""
        return self.time_left == 1.0

    @property
    def distance(self) -> Tensor:
        """(rows, agents, regions) m to the centres."""
        return self.offset.square().sum(-1).sqrt()

    @property
    def committed(self) -> Tensor:
        """(rows, agents, regions) bool, whose cycle serves which region."""
        region = torch.arange(self.deviation.shape[-1], device=self.target.device)
        return self.target.unsqueeze(-1) == region


class View:
    """Reads observations of one system and writes its actions.

    Args:
        system: that is played.
        name: of the policy, for errors.

    Raises:
        PolicyError: the system is another one, or its actions are not flat.
    """

    def __init__(self, system: System[Any, Any], name: str) -> None:
        if not isinstance(system, TwinSync) or system.params.action_mode != "flat":
            raise PolicyError(f"policy {name}: allowed: the system of {ID}, action_mode 'flat'")
        self.system = system

    def look(self, observation: Any) -> Sight:
        """What the agents of all rows see.

        Args:
            observation: of the controller of all agents, NumPy.
        """
        p, at = self.system.params, self.system.observer.layout
        parts = self.system.seen(self._tensors(observation))
        seen = parts[f"{GROUP}.observation" if p.mask_in_obs else GROUP]
        own = seen[..., at.own]
        regions = seen[..., at.regions].unflatten(-1, (at.num_regions, REGION_SEEN))
        stage = own[..., at.stage].argmax(-1)
        target = own[..., at.target].argmax(-1)
        reach, _ = self.system.observer.masks_of(seen)
        return Sight(
            position=own[..., at.position] * p.area_m,
            is_idle=stage == IDLE,
            is_alive=stage != DEAD,
            target=torch.where(target == at.num_regions, STAY, target),
            kappa=own[..., at.kappa].squeeze(-1) * KAPPA_REF,
            offset=regions[..., :2] * p.area_m,
            deviation=regions[..., SEEN_DEVIATION] * p.deviation_ref,
            theta=regions[..., SEEN_INFO] * INFO_REF,
            is_open=reach[..., 1:] > 0.5,
            battery=own[..., at.battery].squeeze(-1),
            time_left=1.0 - seen[:, 0, at.glob][..., TIME],
        )

    def _tensors(self, observation: Any) -> Any:
        where = self.system.device
        if isinstance(observation, dict):
            return {key: torch.as_tensor(part, device=where) for key, part in observation.items()}
        return torch.as_tensor(observation, device=where)

    def act(self, region: Tensor, level: Tensor) -> Any:
        """The joint action.

        Args:
            region: (rows, agents) int64, `STAY` for none.
            level: (rows, agents, 7) controls u, or what broadcasts to it.
        """
        choice = torch.nn.functional.one_hot(region + 1, self.system.params.num_regions + 1)
        level = level.to(choice.device, torch.float32).expand(*region.shape, level.shape[-1])
        move = torch.cat([2.0 * choice.to(torch.float32) - 1.0, 2.0 * level - 1.0], -1)
        action = self.system.joint_action({GROUP: move})
        if isinstance(action, dict):
            return {key: _numpy(part) for key, part in action.items()}
        return _numpy(action)


def _numpy(part: Tensor) -> NDArray[np.float32]:
    return np.asarray(part.cpu().numpy())
