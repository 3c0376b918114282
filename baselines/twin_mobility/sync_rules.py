"""Rules that send idle agents to regions, with the same resources always.

Each one plays from the central observation. Agents that set out in the same slot decide in the
order of their numbers. A rule chooses among the regions that the agent's battery can reach.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sixgym.baselines.coins import Coins
from sixgym.baselines.twin_mobility.sync_view import (
    STAY,
    THETA0,
    Setting,
    Sight,
    View,
    sensing_width,
)
from sixgym.envs.twin_mobility.actions import CONTROLS
from sixgym.envs.twin_mobility.cycle import preservation

if TYPE_CHECKING:
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

FAR_M = 1e9
"""Cost of an assignment that is not to be made."""
SPEED, SENSING = CONTROLS.index("speed"), CONTROLS.index("sensing_time")
SPARE, TINY = 0.02, 1e-12
"""Share of battery and of time that is added where one is divided by the other; least divisor."""


class Pace(NamedTuple):
    """How `TunedPartition` finds speeds and sensing times. [ours, tuned]."""

    information: float = 1.005
    """Times the required information that a packet is to carry."""
    power: float = 2.0
    """Of the share of battery left over the share of time left, that multiplies the speed."""
    least: float = 0.4
    """Least such share of shares that counts."""


TUNED = Setting(speed_mps=13.0)
PACE = Pace()
"""By a search over a few values of each, by J_max of 64 episodes of the tuning world, preset
default."""


class Rule(ABC):
    """A policy that sends idle agents by what it sees.

    Args:
        system: that is played.
        name: what it is called.
        setting: the resources.
    """

    def __init__(self, system: System[Any, Any], name: str, setting: Setting = THETA0) -> None:
        self.name = name
        self.setting = setting
        self.view = View(system, name)
        self.level = setting.level(self.view.system.params)
        """(7,) controls."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Actions of every row; see `sixgym.envs.core.rollout.Policy`."""
        with torch.no_grad():
            sight = self.view.look(observation)
            region, state = self.choose(sight, state)
            region = torch.where(_open(sight, region), region, STAY)
            return self.view.act(region, self.controls(sight, region)), state

    @abstractmethod
    def choose(self, sight: Sight, memory: Any) -> tuple[Tensor, Any]:
        """Where agents go, (rows, agents) int64, and what is to be remembered.

        Args:
            sight: what they see.
            memory: what the last call returned; None at first.
        """

    def controls(self, sight: Sight, region: Tensor) -> Tensor:
        """(7,) or (rows, agents, 7) controls of those who go to regions."""
        return self.level


def _open(sight: Sight, region: Tensor) -> Tensor:
    """(rows, agents) bool, whether the regions may be set out for."""
    chosen = sight.is_open.gather(-1, region.clamp_min(0).unsqueeze(-1)).squeeze(-1)
    return chosen & (region != STAY)


def _best(value: Tensor, sight: Sight) -> Tensor:
    """(rows, agents) the open region of the largest value; the first of equal ones."""
    return torch.where(sight.is_open, value, -torch.inf).argmax(-1)


class RandomRegion(Rule):
    """Any open region with the same probability, by the row's own coins."""

    def __init__(self, system: System[Any, Any], name: str, setting: Setting = THETA0) -> None:
        super().__init__(system, name, setting)
        self._coins = Coins(self.view.system.params.num_agents, f"policy {name}")

    def attach(self, env: SixgymVectorEnv) -> None:
        """Throw coins by the rows of ``env`` from now on."""
        self._coins.env = env

    def choose(self, sight: Sight, memory: Any) -> tuple[Tensor, Any]:
        """By coins."""
        coins = torch.from_numpy(self._coins(len(sight.target))).to(sight.target.device)
        place = sight.is_open.cumsum(-1)
        wanted = (coins * place[..., -1]).floor() + 1.0
        return (place >= wanted.unsqueeze(-1)).int().argmax(-1), memory


class NearestRegion(Rule):
    """The region whose centre is nearest."""

    def choose(self, sight: Sight, memory: Any) -> tuple[Tensor, Any]:
        """By distance."""
        return _best(-sight.distance, sight), memory


class NaiveMaxDeviation(Rule):
    """All to the region of the largest deviation."""

    def choose(self, sight: Sight, memory: Any) -> tuple[Tensor, Any]:
        """By deviation."""
        return _best(sight.deviation, sight), memory


class CoordinatedMaxDeviation(Rule):
    """One after the other to the largest deviation over one and the agents on the way to it."""

    def choose(self, sight: Sight, memory: Any) -> tuple[Tensor, Any]:
        """By deviation and the number of agents that serve a region."""
        busy = sight.committed.sum(1)
        found = []
        for k in range(sight.target.shape[1]):
            value = sight.deviation[:, k] / (1.0 + busy)
            is_open = sight.is_open[:, k]
            chosen = torch.where(is_open, value, -torch.inf).argmax(-1)
            goes = torch.nn.functional.one_hot(chosen, value.shape[-1]) * is_open.any(-1, True)
            busy = busy + goes
            found.append(chosen)
        return torch.stack(found, 1), memory


class RoundRobin(Rule):
    """Each agent visits the regions in turn, agent n from region n on."""

    def choose(self, sight: Sight, memory: Any) -> tuple[Tensor, Tensor]:
        """By turn; what is out of reach is passed over. The memory is the next region."""
        regions = sight.deviation.shape[-1]
        first = torch.arange(sight.target.shape[1], device=sight.target.device) % regions
        turn = first.expand_as(sight.target)
        if memory is not None:
            turn = torch.where(sight.is_start.unsqueeze(-1), turn, memory)
        region = torch.arange(regions, device=turn.device)
        chosen = _best(-((region - turn.unsqueeze(-1)) % regions).to(torch.float32), sight)
        goes = _open(sight, chosen)
        return chosen, torch.where(goes, (chosen + 1) % regions, turn)


class Partition(NamedTuple):
    """Who serves which region."""

    region: Tensor
    """(rows, agents) int64; -1 for dead agents and those without region."""
    is_alive: Tensor
    """(rows, agents) bool, for whom it was made."""


class StaticPartition(Rule):
    """Each agent keeps to one region.

    The regions get equally many of the living agents, or one more, for the least sum of distances
    at the start (a linear assignment); made anew from where the agents are when one dies.
    """

    def choose(self, sight: Sight, memory: Any) -> tuple[Tensor, Partition]:
        """By the partition, which is the memory."""
        held = memory
        if held is None:
            nobody = torch.full_like(sight.target, STAY)
            held = Partition(nobody, torch.zeros_like(sight.is_alive))
        # of new rows too: nobody was alive in what is remembered of them
        changed = (sight.is_alive != held.is_alive).any(-1) | sight.is_start
        index = changed.nonzero().squeeze(-1)
        if index.numel():
            region = held.region.clone()
            region[index] = partition(sight.distance[index], sight.is_alive[index])
            held = Partition(region, sight.is_alive)
        return held.region, held


class TunedPartition(StaticPartition):
    """Each agent keeps to one region, senses as long as it must, and spends its battery evenly.

    An agent senses until its packet alone carries the required information, and drives the faster
    the more of its battery is left beside the time that is left.

    Args:
        system: that is played.
        name: what it is called.
        setting: the resources; its sensing time is not used.
        pace: how speeds and sensing times are found.
    """

    def __init__(
        self,
        system: System[Any, Any],
        name: str,
        setting: Setting = TUNED,
        pace: Pace = PACE,
    ) -> None:
        super().__init__(system, name, setting)
        self.pace = pace

    def controls(self, sight: Sight, region: Tensor) -> Tensor:
        """(rows, agents, 7), of the region that an agent serves or sets out for."""
        p = self.view.system.params
        serves = torch.where(sight.target == STAY, region, sight.target).clamp_min(0)
        theta = sight.theta.gather(-1, serves.unsqueeze(-1)).squeeze(-1)
        kept = torch.tensor(self.setting.compression, dtype=torch.float64)
        rate = sight.kappa * float(preservation(kept, p.compression_loss))
        sensing = self.pace.information * theta / rate.clamp_min(TINY)
        long = (sensing / p.sensing_min_s).clamp_min(1.0).log()
        left = sight.time_left.unsqueeze(-1) + SPARE
        ratio = ((sight.battery + SPARE) / left).clamp_min(self.pace.least)
        speed = self.setting.speed_mps * ratio**self.pace.power - p.speed_min_mps
        level = self.level.to(theta.device).repeat(*theta.shape, 1)
        level[..., SPEED] = speed / max(p.speed_max_mps - p.speed_min_mps, TINY)
        level[..., SENSING] = long / max(sensing_width(p), TINY)
        return level.clamp(0.0, 1.0)


def partition(distance_m: Tensor, is_alive: Tensor) -> Tensor:
    """Balanced groups of the least sum of distances.

    Args:
        distance_m: (rows, agents, regions).
        is_alive: (rows, agents) bool.

    Returns:
        (rows, agents) int64; -1 for the dead, and for nobody else.
    """
    rows = zip(distance_m.double().cpu().numpy(), is_alive.cpu().numpy(), strict=True)
    found = [_partition(distance, alive) for distance, alive in rows]
    return torch.from_numpy(np.stack(found)).to(distance_m.device)


def _partition(distance_m: NDArray[np.float64], is_alive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(agents,) of one row, by a linear assignment of agents to places.

    Each region has the places that all regions fill and one more, which others than agents may
    take: so nobody is kept from a full share, and no region gets two more than another.
    """
    agents, regions = distance_m.shape
    region = np.full(agents, STAY)
    living = np.flatnonzero(is_alive)
    share = len(living) // regions
    sure, more = np.tile(np.arange(regions), share), np.arange(regions)
    places = np.concatenate([sure, more])
    fillers = np.zeros((len(places) - len(living), len(places)))
    fillers[:, : len(sure)] = FAR_M
    cost = np.concatenate([distance_m[living][:, places], fillers])
    _, place = linear_sum_assignment(cost)
    region[living] = places[place[: len(living)]]
    return region
