"""Small trainings that the tests of the agents share."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import toy_systems
from gymnasium import spaces
from torch import Tensor

from sixgym.agents.config import TrainConfig
from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.params import Params, param
from sixgym.envs.core.registry import register
from sixgym.envs.core.system import Step, System

register("toy/Counter-v0", toy_systems.Counter, max_episode_steps=9)
register("toy/Gate-v0", toy_systems.Gate, max_episode_steps=9)

SMALL: dict[str, dict[str, Any]] = {
    "ppo": {"n_steps": 8, "batch_size": 16, "n_epochs": 2, "policy_kwargs": {"net_arch": [8, 6]}},
    "a2c": {"n_steps": 8},
    "maskableppo": {"n_steps": 8, "batch_size": 16, "n_epochs": 2},
    "recurrentppo": {
        "n_steps": 8,
        "batch_size": 16,
        "n_epochs": 2,
        "policy_kwargs": {"lstm_hidden_size": 5, "net_arch": [6]},
    },
    "dqn": {
        "learning_starts": 16,
        "train_freq": 2,
        "target_update_interval": 20,
        "buffer_size": 200,
        "exploration_fraction": 0.9,
    },
    "sac": {"learning_starts": 16, "batch_size": 8, "buffer_size": 100},
    "td3": {"learning_starts": 16, "batch_size": 8, "noise_type": "normal", "noise_std": 0.2},
    "ddpg": {"learning_starts": 16, "batch_size": 8},
    "tqc": {"learning_starts": 16, "batch_size": 8, "policy_kwargs": {"net_arch": [8]}},
}
"""Hyper-parameters with which each algorithm learns within seconds."""

DISCRETE = ("ppo", "a2c", "maskableppo", "recurrentppo", "dqn")
CONTINUOUS = ("ppo", "a2c", "recurrentppo", "sac", "td3", "ddpg", "tqc")


def small(algorithm: str, **changes: Any) -> TrainConfig:
    """A training of a few hundred steps on 4 rows of a toy."""
    env = "toy/Gate-v0" if algorithm in DISCRETE else "toy/Counter-v0"
    raw = {
        "name": "small",
        "env": env,
        "algorithm": algorithm,
        "hyperparameters": SMALL[algorithm],
        "num_envs": 4,
        "total_steps": 192,
        "evaluation": {"every": 64, "episodes": 4},
        "checkpoint": {"every": 96},
    }
    return TrainConfig.create({**raw, **changes})


class BasinParams(Params):
    """Parameters of `Basin`."""

    valve: Literal["count", "share"] = param(
        "count", unit="", source="ours", description="How the valve is seen."
    )


class BasinState(NamedTuple):
    """A water level and the last valve."""

    level: Tensor  # (rows, 2)
    valve: Tensor  # (rows,) int64


class Basin(System[BasinParams, BasinState]):
    """Dict observation, with a discrete part by default; MultiDiscrete action."""

    params_type = BasinParams

    def __init__(self, params: BasinParams, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        count, share = spaces.Discrete(3), spaces.Box(0.0, 1.0, (1,), np.float32)
        self.observation_space = spaces.Dict(
            level=spaces.Box(0.0, 1.0, (2,), np.float32),
            valve=count if params.valve == "count" else share,
        )
        self.action_space = spaces.MultiDiscrete([3, 2])
        self.start_draws = self.draw_table({"rain": ("uniform", (2,))})
        self.step_draws = self.draw_table({"rain": ("uniform", (2,))})

    def start(self, noise: Draws) -> BasinState:
        return BasinState(noise["rain"], torch.zeros(noise["rain"].shape[0], dtype=torch.int64))

    def advance(self, state: BasinState, action: Any, noise: Draws) -> tuple[BasinState, Step]:
        level = (state.level + 0.3 * noise["rain"] - 0.2 * action).clamp(0.0, 1.0)
        reward = -(level - 0.5).abs().sum(1)
        return BasinState(level, action[:, 0].clone()), Step(reward, reward < -5.0, {})

    def observe(self, state: BasinState) -> dict[str, Tensor]:
        valve = state.valve
        if self.params.valve == "share":
            valve = valve.to(torch.float32)[:, None] / 2.0
        return {"level": state.level.to(torch.float32), "valve": valve}


register("toy/Basin-v0", Basin, max_episode_steps=9)
