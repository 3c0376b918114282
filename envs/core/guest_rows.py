"""Rows of an environment by somebody else, for a rollout: played one by one, scored by the return.

`GuestRows` has the part of `SixgymVectorEnv` that `sixgym.envs.core.rollout.rollout` and the
leaderboard use: a list of seeds goes in, batches of observations come out. Nothing behind it is
batched, so it is as fast as the environment is. Metrics, parameters and presets are ours, so a
guest has none of them: its one score is the undiscounted return.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from torch import Tensor

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.registry import Entry
from sixgym.envs.core.spaces import ActionReader
from sixgym.envs.core.system import Score

NO_END = 100_000
"""Steps after which an episode without a time limit is given up."""
SCORES = {
    "gymnasium": Score("return", "1", "reward", description="Undiscounted return."),
    "pettingzoo": Score(
        "joint_return", "1", "reward", description="Undiscounted return, summed over the agents."
    ),
}
"""What guests are scored by, by the library that they are written for."""


class GuestParams:
    """What takes the place of parameters: the id, the arguments, and the package that it is from.

    Args:
        id: registered.
        kwargs: arguments of the environment.
        package: name and version.
    """

    def __init__(self, id: str, kwargs: Mapping[str, Any], package: str) -> None:
        self._told = {"id": id, "kwargs": dict(kwargs), "package": package}

    def config_hash(self) -> str:
        """Names what is played, as that of `sixgym.envs.core.params.Params` does."""
        text = json.dumps(self._told, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class GuestSystem:
    """What policies and tasks ask of a system.

    Args:
        params: see `GuestParams`.
        env: one of the rows.
        score: what it is judged by.
    """

    metrics = ()
    reward_parts = ()

    def __init__(self, params: GuestParams, env: gym.Env[Any, Any], score: Score) -> None:
        self.params = params
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.scores = (score,)


class Clock:
    """What policies and rollouts ask of rows: where each stands, and what it may do.

    Attributes:
        seed: (rows,) int64.
        episode: (rows,) int64, always 0.
        step: (rows,) int64, steps since the reset.
    """

    metric_names: tuple[str, ...] = ()

    def __init__(self, envs: Sequence[gym.Env[Any, Any]], max_episode_steps: int | None) -> None:
        self._envs = envs
        self.max_episode_steps = max_episode_steps
        self.seed, self.episode, self.step = torch.zeros((3, len(envs)), dtype=torch.int64)
        self._is_masked = hasattr(envs[0].unwrapped, "action_masks")

    def begin(self, seeds: Sequence[int]) -> None:
        """All rows begin."""
        self.seed, self.step = torch.tensor(seeds), torch.zeros_like(self.step)

    def tick(self) -> None:
        """All rows have stepped."""
        self.step = self.step + 1

    def action_mask(self) -> Tensor | None:
        """(rows, n) bool where the environment has ``action_masks``, as SB3's MaskablePPO wants."""
        if not self._is_masked:
            return None
        masks = [np.asarray(env.get_wrapper_attr("action_masks")()) for env in self._envs]
        return torch.from_numpy(np.stack(masks).astype(np.bool_))


class GuestRows:
    """Environments side by side, each played to its end once; an ended row waits for the others.

    Args:
        entry: of the guest.
        num_envs: rows.
        kwargs: arguments of the environment; ``max_episode_steps`` replaces the registered limit.

    Raises:
        OptionsError: it cannot be made with these arguments, or its actions cannot be validated.
    """

    def __init__(self, entry: Entry, num_envs: int, kwargs: Mapping[str, Any]) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self._id = entry.id
        kept = dict(kwargs)
        limit = kept.pop("max_episode_steps", entry.max_episode_steps)
        try:
            self._envs: list[Any] = [_make(entry, limit, kept) for _ in range(num_envs)]
            space = self._envs[0].action_space
            self._reader = ActionReader(
                space, dtype=torch.float64, device=torch.device("cpu"), name="actions"
            )
        except (TypeError, gym.error.Error) as error:
            raise OptionsError(f"{entry.id} with {kept}: cannot be played: {error}") from None
        params = GuestParams(entry.id, kept, package_of(self._envs[0]))
        self.system = GuestSystem(params, self._envs[0], SCORES[entry.library])
        self.rows = Clock(self._envs, limit)
        self._actions = batch_space(space, num_envs)
        self._observations = self._envs[0].observation_space
        self._seen: list[Any] = []
        self._ended = np.zeros(num_envs, dtype=np.bool_)

    def reset(self, *, seed: Sequence[int]) -> tuple[Any, dict[str, Any]]:
        """Begin the episode of each seed.

        Raises:
            OptionsError: the environment takes no seeds of this size.
        """
        self._seen = []
        for env, one in zip(self._envs, seed, strict=True):
            try:
                self._seen.append(env.reset(seed=int(one))[0])
            except (ValueError, OverflowError, gym.error.Error) as error:
                raise OptionsError(
                    f"{self._id}: reset(seed={one}): {error}; allowed: another --seed"
                ) from None
        self._ended[:] = False
        self.rows.begin(seed)
        return self._batch(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the rows that have not ended.

        Raises:
            ActionError: an action is not in the space.
            OptionsError: a vector reward, or no end in sight.
        """
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=np.bool_)
        chosen = self._split(actions)
        for i in np.flatnonzero(~self._ended).tolist():
            self._seen[i], paid, over, late, _ = self._envs[i].step(chosen[i])
            if np.asarray(paid).dtype.kind not in "fiub" or np.ndim(paid):
                told = f"of {np.size(paid)} parts" if np.ndim(paid) else f"of {type(paid).__name__}"
                raise OptionsError(
                    f"{self._id}: a reward {told}; allowed: a number (register it with a wrapper "
                    "that weighs its parts)"
                )
            reward[i], terminated[i], truncated[i] = paid, over, late
        self._ended |= terminated | truncated
        self.rows.tick()
        if int(self.rows.step[0]) >= NO_END and not self._ended.all():
            raise OptionsError(
                f"{self._id}: no end within {NO_END} steps; allowed: --set max_episode_steps=N"
            )
        return self._batch(), reward, terminated, truncated, {}

    def _split(self, actions: Any) -> list[Any]:
        """The actions of the rows as the environment wants them."""
        read = self._reader.read(actions, self.num_envs)
        parts = list(iterate(self._actions, _like(self._envs[0].action_space, read)))
        if isinstance(self._envs[0].action_space, gym.spaces.Discrete):
            return [int(part) for part in parts]
        return copy.deepcopy(parts)

    def _batch(self) -> Any:
        out: Any = create_empty_array(self._observations, self.num_envs)
        return concatenate(self._observations, self._seen, out)

    def render_row(self, row: int) -> Any:
        """One row's frame."""
        return self._envs[row].render()

    def close(self) -> None:
        """Close all rows."""
        for env in self._envs:
            env.close()


def _like(space: gym.Space[Any], read: Any) -> Any:
    """Validated tensors as arrays of the space's own types."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _like(part, read[key]) for key, part in space.items()}
    return read.numpy().astype(space.dtype)


def _make(entry: Entry, limit: int | None, kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """One environment, as one controller's."""
    if entry.library == "pettingzoo":
        import pettingzoo

        return Together(pettingzoo.make("parallel", entry.id, **kwargs), limit)
    env: gym.Env[Any, Any] = gym.make(
        entry.id, max_episode_steps=limit, disable_env_checker=True, **kwargs
    )
    return Named(env) if isinstance(env.observation_space, gym.spaces.Tuple) else env


class Named(gym.ObservationWrapper[Any, Any, Any]):
    """A Tuple observation as a Dict by place, whose batches are dictionaries of arrays."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        parts: Any = env.observation_space
        self.observation_space = gym.spaces.Dict({str(i): part for i, part in enumerate(parts)})

    def observation(self, observation: Any) -> dict[str, Any]:
        """The parts by place."""
        return {str(i): part for i, part in enumerate(observation)}


class Together(gym.Env[Any, Any]):
    """A PettingZoo ``ParallelEnv`` as one controller's: every agent seen and moved at once.

    The reward is the sum over the agents. An agent that is gone is seen as it was last, or as
    zeros, and its part of the action is ignored. The episode terminates if nobody was left to be
    cut off by a limit.

    Args:
        env: the game.
        limit: steps after which the episode is cut; None leaves it to the game.
    """

    def __init__(self, env: Any, limit: int | None) -> None:
        self.game, self._limit, self._steps = env, limit, 0
        names = list(env.possible_agents)
        self.observation_space = gym.spaces.Dict({a: env.observation_space(a) for a in names})
        self._zeros = {a: _zero(env.observation_space(a)) for a in names}
        self.action_space = gym.spaces.Dict({a: env.action_space(a) for a in names})
        self._last: dict[str, Any] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin the game."""
        observations, _ = self.game.reset(seed=seed, options=options)
        self._steps = 0
        self._last = dict(self._zeros)
        self._last |= observations
        return dict(self._last), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Everybody who is there moves."""
        moves = {agent: _scalar(action[agent]) for agent in self.game.agents}
        observations, rewards, terminated, _, _ = self.game.step(moves)
        self._steps += 1
        self._last |= observations
        over = not self.game.agents and all(terminated.values())
        late = not over and (not self.game.agents or self._steps == self._limit)
        return dict(self._last), float(sum(rewards.values())), over, late, {}

    def close(self) -> None:
        """Close the game."""
        self.game.close()


def _zero(space: gym.Space[Any]) -> Any:
    empty: Any = create_empty_array(space, 1)
    return next(iter(iterate(batch_space(space, 1), empty)))


def _scalar(move: Any) -> Any:
    return move.item() if isinstance(move, np.generic) else move


def package_of(env: Any) -> str:
    """Name and version of the distribution that brings an environment, as far as is known."""
    inner = env.game if isinstance(env, Together) else env
    return _distribution(type(inner.unwrapped).__module__.partition(".")[0])


@functools.cache
def _distribution(module: str) -> str:
    """Name and version of what brings a top-level module; looking through all of them is slow."""
    try:
        return f"{module} {metadata.version(module)}"
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(module)
        return f"{names[0]} {metadata.version(names[0])}" if names else module
