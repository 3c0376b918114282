"""Baselines of any environment: random and constant actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from sixgym.baselines.policy import Baseline
from sixgym.envs.backend.rng import DrawTable, episode_key
from sixgym.envs.core.errors import OptionsError

if TYPE_CHECKING:
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv


def rows_of(observation: Any) -> int:
    """Rows of a batch of observations (an array, or a dictionary of them)."""
    if isinstance(observation, Mapping):
        return rows_of(next(iter(observation.values())))
    return len(observation)


class RandomPolicy:
    """Actions uniform in their space, in the allowed part of it where there are masks.

    Counter-based as everything random here: once attached, an action is a hash of the row's seed,
    episode and step, the same in any batch. Not attached, it is a hash of ``seed``, the row's place
    in the batch and the number of the call.

    Args:
        space: Box (bounded), Discrete, MultiDiscrete, MultiBinary, or a Dict of these.
        seed: another seed is another random policy.

    Raises:
        OptionsError: the space is unbounded or of another kind.
    """

    name = "random"

    def __init__(self, space: gym.Space[Any], *, seed: int = 0) -> None:
        self._space = space
        streams = _streams(space, "action")
        self._table = DrawTable({f"policy {seed} {k}": ("uniform", s) for k, s in streams.items()})
        self._prefix = f"policy {seed} "
        self._seed = seed
        self._calls = 0
        self._env: SixgymVectorEnv | None = None

    def attach(self, env: SixgymVectorEnv) -> None:
        """Take row seeds and steps from ``env`` from now on."""
        self._env = env

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[Any, Any]:
        """Actions for each row; see `sixgym.envs.core.rollout.Policy`."""
        rows = rows_of(observation)
        if self._env is None:
            place = torch.arange(rows, dtype=torch.int64)
            key, step = episode_key(place, torch.full_like(place, self._calls)), place * 0
            self._calls += 1
        else:
            held = self._env.rows
            key, step = episode_key(held.seed, held.episode).cpu(), held.step.cpu()
        drawn = {
            k.removeprefix(self._prefix): v.numpy() for k, v in self._table.draw(key, step).items()
        }
        return _sample(self._space, "action", drawn, action_masks), None


def _streams(space: gym.Space[Any], name: str) -> dict[str, tuple[int, ...]]:
    """The uniforms that one action of a space takes, by name."""
    if isinstance(space, gym.spaces.Dict):
        parts = [_streams(part, f"{name}.{key}") for key, part in space.items()]
        return {k: v for part in parts for k, v in part.items()}
    if isinstance(space, gym.spaces.Box) and not space.is_bounded():
        raise OptionsError(f"{name}: the space {space} is unbounded; allowed: a bounded Box")
    known = gym.spaces.Box | gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary
    if not isinstance(space, known):
        raise OptionsError(f"{name}: no uniform actions in {type(space).__name__}")
    return {name: tuple(space.shape or ())}


def _sample(
    space: gym.Space[Any],
    name: str,
    drawn: Mapping[str, NDArray[Any]],
    masks: NDArray[np.bool_] | None,
) -> Any:
    """Uniform (0, 1) numbers as actions."""
    if isinstance(space, gym.spaces.Dict):
        return {k: _sample(part, f"{name}.{k}", drawn, None) for k, part in space.items()}
    u = drawn[name].astype(np.float64)
    if isinstance(space, gym.spaces.Box):
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        if np.issubdtype(np.dtype(space.dtype), np.integer):
            return (low + np.floor(u * (high - low + 1.0))).astype(space.dtype)
        return (low + u * (high - low)).astype(space.dtype)
    if isinstance(space, gym.spaces.Discrete):
        if masks is not None:
            # The inverse of the distribution function of the allowed actions.
            allowed = np.cumsum(masks, axis=1)
            wanted = np.floor(u * allowed[:, -1]).astype(np.int64) + 1
            return (allowed >= wanted[:, None]).argmax(axis=1) + int(space.start)
        return np.floor(u * int(space.n)).astype(np.int64) + int(space.start)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return np.floor(u * space.nvec).astype(np.int64) + space.start
    return (u < 0.5).astype(np.int8)


class ConstantPolicy:
    """The same action always.

    Args:
        action: one row's action (an array, a number, or a dictionary of them).
        name: what it is called.
    """

    def __init__(self, action: Any, *, name: str = "constant") -> None:
        self.name = name
        self._action = action

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The action for each row; see `sixgym.envs.core.rollout.Policy`."""
        return _repeat(self._action, rows_of(observation)), None


def _repeat(action: Any, rows: int) -> Any:
    if isinstance(action, Mapping):
        return {k: _repeat(v, rows) for k, v in action.items()}
    return np.repeat(np.asarray(action)[None], rows, axis=0)


def middle_action(space: gym.Space[Any]) -> Any:
    """The middle of a bounded Box, the first of a discrete space, part by part of a Dict.

    Raises:
        OptionsError: the space is of another kind.
    """
    if isinstance(space, gym.spaces.Dict):
        return {k: middle_action(part) for k, part in space.items()}
    if isinstance(space, gym.spaces.Box) and space.is_bounded():
        return ((space.low.astype(np.float64) + space.high) / 2.0).astype(space.dtype)
    if isinstance(space, gym.spaces.Discrete):
        return np.int64(space.start)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return np.asarray(space.start, dtype=np.int64)
    if isinstance(space, gym.spaces.MultiBinary):
        return np.zeros(space.shape, dtype=np.int8)
    raise OptionsError(f"no middle action in {space}")


def _random(system: System[Any, Any]) -> RandomPolicy:
    return RandomPolicy(system.action_space)


def _constant(system: System[Any, Any]) -> ConstantPolicy:
    return ConstantPolicy(middle_action(system.action_space))


GENERIC: dict[str, Baseline] = {
    b.name: b
    for b in (
        Baseline("random", _random, "observation", "random", "Uniform over the action space."),
        Baseline(
            "constant",
            _constant,
            "observation",
            "heuristic",
            "The middle of the action space (of a discrete one, its first action) always.",
        ),
    )
}
"""The baselines that every environment has."""
