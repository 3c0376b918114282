"""The shipped configurations of event offloading train and play, at a small size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sixgym.agents import TrainConfig, load_policy
from sixgym.agents.config import shipped
from sixgym.agents.train import check, train
from sixgym.baselines.event_offload.multi import by_device
from sixgym.envs.core.errors import ConfigError, PolicyError
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.registry import entry
from sixgym.leaderboard import evaluate

NAMES = [name for name in shipped() if name.startswith("event_offload/")]
TUNED = [name for name in NAMES if not TrainConfig.load(name).untuned]
"""The others are trained by the smoke test of all configurations."""


def tiny(name: str) -> TrainConfig:
    """A shipped configuration with few rows, steps and episodes."""
    plain = TrainConfig.load(name).plain()
    chosen = plain["hyperparameters"]
    small = {"n_steps": 8, "batch_size": 16}
    if "buffer_size" in chosen:
        small = {"learning_starts": 24, "batch_size": 16, "buffer_size": 300}
    plain |= {"num_envs": 4, "total_steps": 64, "seeds": [1]}
    plain["hyperparameters"] = chosen | small
    plain["evaluation"] |= {"every": 0, "episodes": 2, "baselines": []}
    plain["checkpoint"] = {"every": 0}
    plain["env_kwargs"] |= {"max_episode_steps": 5}
    return TrainConfig.create(plain)


@pytest.mark.parametrize("name", TUNED)
def test_shipped_configuration_trains_and_its_policy_plays(name: str, tmp_path: Path) -> None:
    config = tiny(name)
    (run,) = train(config, output=tmp_path)
    assert len(run.curve) == 2
    result = evaluate(config.env, str(run.policy), episodes=3, max_episode_steps=5)
    assert result.runs[0].training_seed == 1
    assert result.policy.kind == "learned"


@pytest.mark.parametrize("name", NAMES)
def test_shipped_configuration_is_for_its_seeds_and_known_baselines(name: str) -> None:
    """`check` refuses baselines, spaces and policies that do not fit."""
    config = TrainConfig.load(name)
    check(config)
    assert config.seeds == list(range(len(config.seeds)))
    assert len(config.seeds) == 1 if config.untuned else len(config.seeds) >= 3
    assert config.evaluation.baselines


def shared(tmp_path: Path, **changes: Any) -> Path:
    """The folder of a short training of one policy for all devices."""
    plain = tiny("event_offload/multi_ppo").plain()
    (run,) = train(TrainConfig.create(plain | changes), output=tmp_path)
    return run.policy


def test_shared_policy_gives_every_device_what_it_would_alone(tmp_path: Path) -> None:
    """Six devices of 16 numbers and two thresholds each, in one flat observation and action."""
    policy = load_policy(shared(tmp_path))
    assert policy.card is not None
    assert policy.card.seats == 6
    assert policy.card.observation_space["shape"] == [16]
    env = make_vector_env(entry("sixgym/EventOffloadMulti-v0").system, 3)
    observation, _ = env.reset(seed=0)
    joint, _ = policy.predict(observation)
    assert env.action_space.contains(joint)
    each = by_device(observation, 6).astype(np.float32)
    alone, _ = policy._predict(each.reshape(18, 16), None, None, True, None)
    assert np.array_equal(joint, alone.reshape(3, 12))
    one, _ = policy.predict(observation[0])
    assert one.shape == (12,)


def test_shared_policy_plays_while_devices_leave(tmp_path: Path) -> None:
    """The flat observation then ends with who is there; empty seats are answered too."""
    path = shared(tmp_path, preset="battery")
    env = make_vector_env(entry("sixgym/EventOffloadMulti-v0").system, 2, preset="battery")
    observation, _ = env.reset(seed=0)
    assert observation.shape == (2, 6 * 17)
    action, _ = load_policy(path).predict(observation)
    assert env.action_space.contains(action)


def test_shared_policy_refuses_another_number_of_devices(tmp_path: Path) -> None:
    path = shared(tmp_path)
    with pytest.raises(PolicyError, match=r"policy of 6 agents of one kind; .*: 4 device"):
        evaluate("sixgym/EventOffloadMulti-v0", str(path), episodes=1, num_devices=4)
    with pytest.raises(PolicyError, match=r"observation of shape \(2, 64\); allowed: flat, of 6"):
        load_policy(path).predict(np.zeros((2, 64), np.float32))


def test_shared_policy_has_no_finite_horizon() -> None:
    with pytest.raises(ConfigError, match="finite_horizon=True: allowed with shared=False"):
        TrainConfig.load("event_offload/multi_ppo", ["finite_horizon=true"])
