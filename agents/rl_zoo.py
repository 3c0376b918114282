"""Our configurations as rl-baselines3-zoo reads them: the same keys, its own spelling of the rest.

Its YAML files map environments to hyper-parameters, one file an algorithm:

```console
$ sixgym train-zoo netgpt/dqn --rl-zoo > dqn.yml
$ python -m rl_zoo3.train --algo dqn --env sixgym/NetGptRoute-v0 --gym-packages sixgym -conf dqn.yml
```

There a row is an environment object of its own, so that it is slower, and trains on the worlds of
whoever seeds it. What it has no word for is told in a comment, or refused where nothing like it
can be said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from sixgym.agents.algorithms import CLONING, HYBRID
from sixgym.agents.config import TrainConfig
from sixgym.envs.core.errors import ConfigError

ALGORITHMS = {"maskableppo": "ppo_mask", "recurrentppo": "ppo_lstm"}
"""What rl-baselines3-zoo calls an algorithm, where it is another name."""

_CLASSES = {"tanh": "Tanh", "relu": "ReLU", "elu": "ELU", "leaky_relu": "LeakyReLU"} | {
    "silu": "SiLU",
    "gelu": "GELU",
}
"""Classes of ``torch.nn`` by the names that our configurations have for activations."""

_SCHEDULES = ("learning_rate", "clip_range", "clip_range_vf", "ent_coef")
"""Keys that may be ``[first, last]`` in ours; in theirs a number or, but ``ent_coef``, ``lin_``."""


def rl_zoo_yaml(configs: Sequence[TrainConfig]) -> str:
    """The file of some configurations of one algorithm, one for each environment.

    Raises:
        ConfigError: they are of several algorithms, two are of one environment, or one has what
            rl-baselines3-zoo cannot do.
    """
    ids = [config.env for config in configs]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"env={', '.join(ids)}: allowed in a file of rl-zoo3: each once")
    algorithms = sorted({config.algorithm for config in configs})
    if len(algorithms) > 1:
        raise ConfigError(
            f"algorithm={', '.join(algorithms)}: allowed in a file of rl-zoo3: one for all"
        )
    parts = []
    for config in configs:
        notes = [f"# {note}\n" for note in _notes(config)]
        entry = yaml.safe_dump({config.env: rl_zoo_entry(config)}, sort_keys=False)
        parts.append("".join(notes) + entry)
    algorithm = configs[0].algorithm
    return f"# --algo {ALGORITHMS.get(algorithm, algorithm)} --gym-packages sixgym\n" + "".join(
        parts
    )


def rl_zoo_entry(config: TrainConfig) -> dict[str, Any]:
    """What rl-baselines3-zoo's file says of an environment.

    Raises:
        ConfigError: the configuration has what rl-baselines3-zoo cannot do.
    """
    _refuse(config)
    entry: dict[str, Any] = {
        "n_envs": config.num_envs,
        "n_timesteps": config.total_steps,
        "policy": config.policy,
    }
    wanted = config.normalize
    if wanted.observation or wanted.reward:
        entry["normalize"] = {
            "norm_obs": wanted.observation,
            "norm_reward": wanted.reward,
            "clip_obs": wanted.clip_observation,
            "clip_reward": wanted.clip_reward,
        }
    kwargs = {**config.env_kwargs, **({"preset": config.preset} if config.preset else {})}
    if kwargs:
        entry["env_kwargs"] = kwargs
    for key, value in config.chosen.items():
        if key == "policy_kwargs":
            entry[key] = _network(value)
        elif key in _SCHEDULES and isinstance(value, list):
            entry[key] = _constant(value)
        else:
            entry[key] = value
    return entry


def _refuse(config: TrainConfig) -> None:
    """Refuse what rl-baselines3-zoo has nothing like.

    Raises:
        ConfigError: that is in the configuration.
    """
    for field, value in (
        ("algorithm", config.algorithm if config.algorithm in ("mappo", CLONING) else None),
        ("policy", config.policy if config.policy == HYBRID else None),
        ("shared", config.shared or None),
        ("start", config.start),
    ):
        if value is not None:
            raise ConfigError(f"{config.name}: {field}={value!r}: rl-zoo3 has nothing like it")


def _notes(config: TrainConfig) -> list[str]:
    """What is not the same there."""
    notes = [
        f"{key}: {value[0]:g} to {value[1]:g}; rl-zoo3 has no such schedule: the mean"
        for key, value in config.chosen.items()
        if key in _SCHEDULES and isinstance(value, list)
    ]
    if config.finite_horizon:
        notes.append("finite_horizon: rl-zoo3 bootstraps at the time limit")
    return notes


def _constant(value: list[float]) -> float:
    """The mean of ``[first, last]``."""
    return sum(value) / len(value)


def _network(plain: dict[str, Any]) -> str:
    """``policy_kwargs`` as the Python text that rl-baselines3-zoo evaluates.

    Every value comes from the tables and ranges of `sixgym.agents.algorithms`.
    """
    parts = []
    for key, value in plain.items():
        told = f"nn.{_CLASSES[value]}" if key == "activation_fn" else repr(value)
        parts.append(f"{key}={told}")
    return f"dict({', '.join(parts)})"
