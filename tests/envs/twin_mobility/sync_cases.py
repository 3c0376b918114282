"""Settings that several tests of `sixgym/TwinSync-v0` share, and ways to play them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.core.make import make_system
from sixgym.envs.core.rows import Rows
from sixgym.envs.twin_mobility.actions import LEVELS
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.state import SyncState
from sixgym.envs.twin_mobility.sync import TwinSync

ID = "sixgym/TwinSync-v0"
EXACT = {"dtype": "float64", "action_mode": "hybrid", "joint": "dict"}
"""Physics of double precision, actions as they are meant."""

ONE_CYCLE = {"num_agents": 1, "num_regions": 1, "bandwidth_hz": 1e6}
"""Parameters of instance A: one agent makes one cycle alone."""
INSTANCE_A = {
    "pos": [[900.0, 800.0]],
    "reg_xy": [[800.0, 500.0]],
    "kappa": [0.4],
    "f_max": [4e9],
    "drift": [0.04],
    "f_min": [0.85],
    "aoi0": [0.0],
}
PLAN_A = {"speed": 12.0, "sensing": 6.0, "cpu": 1.0, "eta": 0.25, "approach": 0.4, "power": 0.2}

ON_THE_SPOT = {
    "num_regions": 1,
    "compression_loss": 0.0,
    "bandwidth_hz": 4e6,
    "battery_j": 1e6,
    "cycle_energy_j": 1e6,
}
"""Parameters of agents that stand in their region and cycle on the spot."""
PLAN_SPOT = {"speed": 5.0, "sensing": 4.0, "cpu": 1.0, "eta": 0.2, "approach": 0.0, "power": 0.2}


def spot_instance(agents: int) -> dict[str, Any]:
    """Agents and their region at (600, 500)."""
    return {
        "pos": [[600.0, 500.0]] * agents,
        "reg_xy": [[600.0, 500.0]],
        "kappa": [0.5] * agents,
        "f_max": [5e9] * agents,
        "drift": [0.05],
        "f_min": [0.8],
        "aoi0": [0.0],
    }


def sync(**kwargs: Any) -> TwinSync:
    """A system."""
    made = make_system(TwinSync, **kwargs)
    assert isinstance(made, TwinSync)
    return made


def levels(
    params: TwinSyncParams,
    *,
    speed: float,
    sensing: float,
    cpu: float,
    eta: float,
    approach: float,
    power: float,
    weight: float = 1.0,
) -> list[float]:
    """The numbers u that stand for resources; ``cpu`` and ``approach`` are shares already."""
    p = params

    def share(value: float, low: float, high: float) -> float:
        return math.log(value / low) / math.log(high / low)

    return [
        (speed - p.speed_min_mps) / (p.speed_max_mps - p.speed_min_mps),
        share(sensing, p.sensing_min_s, p.sensing_max_s),
        cpu,
        share(eta, p.compression_min, 1.0),
        approach,
        share(power, p.power_min_w, p.power_max_w),
        share(weight, p.request_min, 1.0),
    ]


class Play:
    """Rows of a system in the layout ``hybrid``, stepped by hand.

    Args:
        rows: how many.
        instance: arrays of the reset option, or None.
        seed: of the first row.
        **kwargs: of the system.
    """

    def __init__(
        self,
        rows: int = 1,
        instance: Mapping[str, Any] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        self.system = sync(**{**EXACT, **kwargs})
        self.params = self.system.params
        self.rows: Rows[Any, SyncState] = Rows(self.system, rows)
        options = None if instance is None else {"instance": dict(instance)}
        self.rows.start(seeds=seed + torch.arange(rows), options=options)

    @property
    def state(self) -> SyncState:
        """The state of all rows."""
        return self.rows.state

    def step(
        self,
        region: Sequence[int] | int | Tensor,
        plan: Mapping[str, float] | Tensor,
    ) -> dict[str, Tensor]:
        """One slot; returns the metrics, those of one number too.

        Args:
            region: of all agents, or of each; or (rows, agents).
            plan: resources alike for all, or levels u (..., 7).
        """
        n, rows = self.params.num_agents, self.rows.num_rows
        chosen = torch.as_tensor(region).expand(rows, n)
        if isinstance(plan, Tensor):
            u = plan
        else:
            u = torch.tensor(levels(self.params, **plan), dtype=torch.float64)
        action = {
            "agent.region": chosen.to(torch.int64),
            "agent.u": u.to(self.system.dtype).expand(rows, n, 7),
        }
        out = self.rows.advance(action)
        self.outcome = out
        named = dict(zip(self.rows.metric_names, out.metrics.unbind(1), strict=True))
        return {**named, **out.diagnostics, "reward": out.reward, "terminated": out.terminated}


def grid_actions(rng: np.random.Generator, agents: int, regions: int) -> np.ndarray:
    """Levels of the layout ``discrete``, (agents, 8)."""
    counts = np.array([regions + 1, *LEVELS])
    return np.minimum((rng.random((agents, 8)) * counts).astype(int), counts - 1)


def as_u(levels: np.ndarray) -> np.ndarray:
    return (levels[:, 1:] / (np.array(LEVELS) - 1)).astype(np.float32)


def as_flat(levels: np.ndarray, regions: int) -> np.ndarray:
    scores = np.full((len(levels), regions + 1), -0.5, np.float32)
    scores[np.arange(len(levels)), levels[:, 0]] = 0.25
    return np.concatenate([scores, 2 * as_u(levels) - 1], 1)


def as_hybrid(level: np.ndarray) -> dict[str, Any]:
    return {"region": int(level[0]), "u": as_u(level[None])[0]}
