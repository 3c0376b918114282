"""Checks with Stable-Baselines3; skipped where it is not installed."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
from gymnasium import spaces

from sixgym.envs.core.conformance.subject import (
    SHORT_EPISODE,
    Actions,
    Skipped,
    Subject,
    check,
    require,
    require_equal,
    row,
)
from sixgym.envs.core.worlds import row_seed


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Skipped(f"{module} is not installed") from None


def _rows(subject: Subject, num_envs: int, **kwargs: Any) -> Any:
    view = _import("sixgym.envs.core.sb3_view")
    return view.make_vec_env(subject.id, num_envs, **{**subject.kwargs, **kwargs})


def sb3_check_env(subject: Subject) -> None:
    """SB3's check_env has nothing to warn of, but may advise on ranges and shapes."""
    checker = _import("stable_baselines3.common.env_checker")
    if isinstance(subject.bare().action_space, spaces.Dict):
        raise Skipped("SB3 knows no Dict actions")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Advice for training, not a fault: thresholds are natural in [0, 1].
        warnings.filterwarnings("ignore", message="We recommend you to use a symmetric")
        # The same of a set of equal things in a Dict: SB3's extractor flattens it by itself.
        warnings.filterwarnings("ignore", message="Your observation .* has an unconventional shape")
        checker.check_env(subject.bare())


def sb3_rows(subject: Subject) -> None:
    """The SB3 view gives the rows of the training world, final observations and returns."""
    env = _rows(subject, 3, seed=2, max_episode_steps=SHORT_EPISODE)
    twin = subject.batch(3, "SameStep", max_episode_steps=SHORT_EPISODE)
    actions = Actions(twin.single_action_space)
    first = row_seed("train", 2)
    require_equal(env.reset(), twin.reset(seed=first)[0], "reset")
    returns = np.zeros(3)
    for t in range(2 * SHORT_EPISODE + 1):
        got, rewards, dones, infos = env.step(actions.many(3, t))
        want, reward, terminated, truncated, told = twin.step(actions.many(3, t))
        require_equal((got, rewards, dones), (want, reward, terminated | truncated), f"step {t}")
        returns += rewards
        for i in np.flatnonzero(dones).tolist():
            final = row(told["final_obs"], i)
            require_equal(infos[i]["terminal_observation"], final, "terminal_observation")
            limit = bool(truncated[i] and not terminated[i])
            require(infos[i]["TimeLimit.truncated"] is limit, "TimeLimit.truncated")
            off = abs(infos[i]["episode"]["r"] - returns[i])
            require(off <= 1e-4 * (1.0 + abs(returns[i])), "info['episode']['r'] is not the return")
            returns[i] = 0.0
        rewards += 100.0  # as SB3 does at time limits


def short_training(subject: Subject) -> None:
    """PPO and A2C train, DQN on discrete, SAC on continuous, MaskablePPO on masked actions."""
    wanted = [("stable_baselines3", "PPO"), ("stable_baselines3", "A2C")]
    env = _trainable(subject)
    if isinstance(env.action_space, spaces.Discrete):
        wanted.append(("stable_baselines3", "DQN"))
    if isinstance(env.action_space, spaces.Box):
        wanted.append(("stable_baselines3", "SAC"))
    if env.env.action_masks() is not None:
        wanted.append(("sb3_contrib", "MaskablePPO"))
    _train(env, wanted)


def more_training(subject: Subject) -> None:
    """TRPO and RecurrentPPO (not binary) train, QRDQN on discrete, TD3 and TQC on continuous."""
    wanted = [("sb3_contrib", "TRPO")]
    env = _trainable(subject)
    # sb3-contrib 2.9 hands binary actions to its Bernoulli as int8, which torch refuses.
    if not isinstance(env.action_space, spaces.MultiBinary):
        wanted.append(("sb3_contrib", "RecurrentPPO"))
    if isinstance(env.action_space, spaces.Discrete):
        wanted.append(("sb3_contrib", "QRDQN"))
    if isinstance(env.action_space, spaces.Box):
        wanted += [("stable_baselines3", "TD3"), ("sb3_contrib", "TQC")]
    _train(env, wanted)


def _trainable(subject: Subject) -> Any:
    env = _rows(subject, 4, seed=0, max_episode_steps=SHORT_EPISODE)
    if isinstance(env.action_space, spaces.Dict):
        raise Skipped("SB3 knows no Dict actions")
    env.reset()
    return env


def _train(env: Any, wanted: list[tuple[str, str]]) -> None:
    """A few steps of each algorithm, and a step of what it has learnt."""
    late = {"learning_starts": 16, "batch_size": 16, "buffer_size": 200}
    options: dict[str, dict[str, Any]] = {"A2C": {}, "TRPO": {"n_steps": 16, "batch_size": 64}}
    for name in ("PPO", "MaskablePPO", "RecurrentPPO"):
        options[name] = {"n_steps": 16, "batch_size": 64, "n_epochs": 1}
    policy = "MultiInputPolicy" if isinstance(env.observation_space, spaces.Dict) else "MlpPolicy"
    for module, name in wanted:
        algorithm = getattr(_import(module), name)
        lstm = policy.replace("Policy", "LstmPolicy") if name == "RecurrentPPO" else policy
        model = algorithm(lstm, env, seed=0, device="cpu", **options.get(name, late))
        model.learn(80)
        require(model.num_timesteps >= 80, f"{name} stopped early")
        action, _ = model.predict(env.reset())
        env.step(action)


CHECKS = (
    check(sb3_check_env),
    check(sb3_rows),
    check(short_training),
    check(more_training, is_slow=True),
)
