"""Small trainings that the tests of the agents share."""

from __future__ import annotations

from typing import Any

import toy_systems

from sixgym.agents.config import TrainConfig
from sixgym.envs.core.registry import register

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
