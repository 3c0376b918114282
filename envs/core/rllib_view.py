"""Systems and games for RLlib's new API stack: single, as rows, and agent by agent.

RLlib's default models read one flat Box and know no MultiBinary, so observations are flattened and
a MultiBinary action is a MultiDiscrete one of twos; nothing is lost by either. With
``action_mask=True`` an observation is a Dict of ``observations`` and ``action_mask`` (one float a
choice, 1 where it is allowed), as RLlib's ``ActionMaskingTorchRLModule`` reads it.

======================== ===========================================================================
view                     when
======================== ===========================================================================
`SixgymRLlibEnv`         one controller, ``gym_env_vectorize_mode="sync"``, which is RLlib's default
`SixgymRLlibVectorEnv`   the same with ``"vector_entry_point"``: all rows of a runner in one batch
`SixgymMultiAgentEnv`    a game, agents by name
======================== ===========================================================================

A seed that RLlib hands to a runner is a block of the training worlds, as in the views for
Stable-Baselines3 and TorchRL, so that no runner plays the rows of another, nor those of an
evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorWrapper
from numpy.typing import NDArray
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from sixgym.envs.core.errors import OptionsError, StateError
from sixgym.envs.core.game import Game
from sixgym.envs.core.libraries import rllib_refuses
from sixgym.envs.core.make import make_env, make_vector_env
from sixgym.envs.core.pettingzoo_view import make_game
from sixgym.envs.core.registry import Entry, entry
from sixgym.envs.core.render import Screen, render_modes
from sixgym.envs.core.spaces import all_allowed
from sixgym.envs.core.table import Table
from sixgym.envs.core.vector_view import SixgymVectorEnv
from sixgym.envs.core.worlds import SEEDS, row_seed

FPS = 10
"""Frames a second of a game's picture."""
ROWS_PER_RUNNER = 2**14
"""How far apart, in row seeds, runners are that were handed one seed."""


class Sight(NamedTuple):
    """How the observations of one row look to RLlib."""

    space: spaces.Space[Any]
    """What the system or the group sees, without a mask."""
    masked: int = 0
    """Number of choices that the mask tells; 0 for none."""

    @property
    def told(self) -> spaces.Space[Any]:
        """The space of what is handed out."""
        flat = spaces.flatten_space(self.space)
        if not self.masked:
            return flat
        mask = spaces.Box(0.0, 1.0, (self.masked,), np.float32)
        return spaces.Dict(observations=flat, action_mask=mask)

    def tell(self, observation: Any, mask: Any, lead: tuple[int, ...] = ()) -> Any:
        """What is handed out, for one row or for rows.

        Args:
            observation: (*lead, ...) an array or a dictionary of them.
            mask: (*lead, masked) of allowed choices; not read where there is no mask.
            lead: () or (rows,).
        """
        flat = self._flat(observation, lead)
        if not self.masked:
            return flat
        return {"observations": flat, "action_mask": np.asarray(mask, np.float32)}

    def _flat(self, observation: Any, lead: tuple[int, ...]) -> NDArray[Any]:
        if not isinstance(observation, dict):
            return np.asarray(observation).reshape(*lead, -1)
        parts = [np.asarray(observation[key]).reshape(*lead, -1) for key in self._keys]
        return np.concatenate(parts, axis=-1)

    @property
    def _keys(self) -> list[str]:
        assert isinstance(self.space, spaces.Dict)
        return list(self.space)


def _require(observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
    """Refuse what RLlib has no default model for.

    Raises:
        OptionsError: that is so.
    """
    why_not = rllib_refuses(observation, action)
    if why_not:
        raise OptionsError(
            f"RLlib: {why_not}; allowed: observations of Boxes, actions that count from 0 or Box"
        )


def _chosen(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of actions that RLlib has a distribution for."""
    if isinstance(space, spaces.MultiBinary):
        return spaces.MultiDiscrete(np.full(space.shape, 2))
    return space


def _width(space: spaces.Space[Any], action_mask: bool) -> int:
    """Length of the mask of an action space; 0 if none is wanted.

    Raises:
        OptionsError: a mask is wanted for actions that are not discrete.
    """
    return len(all_allowed(space)) if action_mask else 0


def _row(seed: int, runner: int) -> int:
    """The row seed of a seed of RLlib's; see the module."""
    return row_seed("train", seed % SEEDS["train"]) + runner * ROWS_PER_RUNNER


class SixgymRLlibEnv(gym.Wrapper[Any, Any, Any, Any]):
    """One controller's environment, one row.

    Args:
        env: around a `SixgymEnv`.
        action_mask: hand out masks, see the module.
        runner: number of the runner, see `ROWS_PER_RUNNER`.
    """

    def __init__(
        self, env: gym.Env[Any, Any], *, action_mask: bool = False, runner: int = 0
    ) -> None:
        super().__init__(env)
        _require(env.observation_space, env.action_space)
        self._runner = runner
        self._sight = Sight(env.observation_space, _width(env.action_space, action_mask))
        self.observation_space = self._sight.told
        self.action_space = _chosen(env.action_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode: episode 0 of a seed, or the next one."""
        seeds = None if seed is None else _row(seed, self._runner)
        observation, info = self.env.reset(seed=seeds, options=options)
        return self._told(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Advance by one step; see `SixgymEnv.step`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._told(observation), reward, terminated, truncated, info

    def _told(self, observation: Any) -> Any:
        masked: Any = self.env.unwrapped
        mask = masked.action_masks() if self._sight.masked else None
        return self._sight.tell(observation, mask)


class SixgymRLlibVectorEnv(VectorWrapper):
    """One controller's environments, all rows of a runner as one batch, in mode NextStep.

    Args:
        env: the rows.
        action_mask: hand out masks, see the module.
    """

    env: SixgymVectorEnv

    def __init__(self, env: SixgymVectorEnv, *, action_mask: bool = False) -> None:
        super().__init__(env)
        action = env.single_action_space
        _require(env.single_observation_space, action)
        self._sight = Sight(env.single_observation_space, _width(action, action_mask))
        self.single_observation_space = self._sight.told
        self.single_action_space = _chosen(action)
        batch = gym.vector.utils.batch_space
        self.observation_space = batch(self.single_observation_space, env.num_envs)
        self.action_space = batch(self.single_action_space, env.num_envs)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: those of a seed's block, or the next ones."""
        rows = seed if seed is None or isinstance(seed, Sequence) else _row(seed, 0)
        observation, infos = self.env.reset(seed=rows, options=options)
        return self._told(observation), infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Advance all rows; see `SixgymVectorEnv.step`."""
        observation, reward, terminated, truncated, infos = self.env.step(actions)
        return self._told(observation), reward, terminated, truncated, infos

    def _told(self, observation: Any) -> Any:
        mask: Any = self.env.action_masks() if self._sight.masked else None
        if self._sight.masked and mask is None:
            mask = np.ones((self.num_envs, self._sight.masked))
        return self._sight.tell(observation, mask, (self.num_envs,))


class SixgymMultiAgentEnv(MultiAgentEnv):  # type: ignore[misc]
    """A game with its agents by name: those who have an observation are those who move next.

    In a game of several turns an environment step is one turn, and rewards come with the last. Who
    leaves is terminated with a last observation. At the time limit ``"__all__"`` is truncated and
    no agent by itself, since RLlib takes an episode for terminated, and forgets its value, once
    every agent has a flag of its own. ``agents`` are those of the last dictionaries: who has left
    stands there until the next step, as RLlib's check of an environment wants it.

    Args:
        game: the dynamics, in the layout ``"dict"``.
        max_episode_steps: time limit in steps of the game (a step of a game of k turns takes k
            calls); None for none.
        fixed_agents: seats are agents, all there from the first to the last step.
        action_mask: hand out masks, see the module; of groups that have them.
        render_mode: ``"rgb_array"``, ``"human"``, ``"ansi"`` or None.
        runner: number of the runner, see `ROWS_PER_RUNNER`.
    """

    def __init__(
        self,
        game: Game[Any, Any],
        *,
        max_episode_steps: int | None = None,
        fixed_agents: bool = False,
        action_mask: bool = False,
        render_mode: str | None = None,
        runner: int = 0,
    ) -> None:
        super().__init__()
        for group in game.groups:
            _require(group.observation_space, group.action_space)
        self.table = Table(game, max_episode_steps, fixed_agents, True)
        self._runner = runner
        self._masks = action_mask
        self.possible_agents = list(self.table.names)
        self.agents: list[str] = []
        self._sights = {a: self._sight(a) for a in self.possible_agents}
        self.observation_spaces = {a: self._sights[a].told for a in self.possible_agents}
        self.action_spaces = {
            a: _by_part(self.table.space("action_space", a)) for a in self.possible_agents
        }
        self.observation_space = spaces.Dict(self.observation_spaces)
        self.action_space = spaces.Dict(self.action_spaces)
        self.render_mode = render_mode
        self.metadata = {"render_modes": render_modes(game), "render_fps": FPS}
        self._screen = Screen(game, render_mode, FPS)

    def _sight(self, agent: str) -> Sight:
        seen = self.table.space("observation_space", agent)
        if not (isinstance(seen, spaces.Dict) and "action_mask" in seen.spaces):
            return Sight(seen)
        return Sight(seen["observation"], spaces.flatdim(seen["action_mask"]) * self._masks)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode: episode 0 of a seed, or the next one.

        Args:
            seed: a non-negative integer or None.
            options: those of the game; others are ignored.
        """
        super().reset(seed=seed, options=options)
        row = None if seed is None else _row(seed, self._runner)
        self.agents = self.table.reset(row, options)
        return self._look(self.table.movers(), {})

    def step(
        self, action_dict: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """One turn of the game.

        Args:
            action_dict: of those who move now.

        Raises:
            ActionError: an action is missing or not in its space.
            StateError: nobody is there: before reset or after the end.
        """
        table = self.table
        if not table.seats:
            raise StateError("step before reset or after the end: call reset() first")
        ended = table.move(action_dict)
        while ended is None and not table.movers():  # a turn of nobody passes at once
            ended = table.move({})
        self.agents = list(table.seats)
        if ended is None:
            observations, infos = self._look(table.movers(), {})
            flags = dict.fromkeys(observations, False)
            return observations, {}, {**flags, "__all__": False}, {"__all__": False}, infos
        gone = ended.left | ended.truncated
        is_over = gone >= table.seats.keys()
        movers = [] if is_over else [a for a in table.movers() if a not in gone]
        last = {a: ended.observations[a] for a in self.agents if a in gone}
        observations, infos = self._look(movers, last)
        table.remove(gone)
        limit = bool(ended.truncated)
        terminated = {a: a in ended.left for a in self.agents}
        return (
            observations,
            ended.rewards,
            {**terminated, "__all__": is_over and not limit},
            {"__all__": is_over and limit},
            infos,
        )

    def _look(
        self, movers: Sequence[str], last: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Observations and infos of those who move next, and of those who have seen the last."""
        seen = {a: self.table.observe(a) for a in movers} | dict(last)
        infos = {a: self.table.info(a) for a in seen}
        return {a: self._told(a, observation) for a, observation in seen.items()}, infos

    def _told(self, agent: str, seen: Any) -> Any:
        if not (isinstance(seen, dict) and "action_mask" in seen):
            return self._sights[agent].tell(seen, None)
        mask = seen["action_mask"]
        flat = np.concatenate(mask) if isinstance(mask, tuple) else mask
        return self._sights[agent].tell(seen["observation"], flat)

    def render(self) -> Any:
        """The picture of the current state: (height, width, 3) uint8 for ``"rgb_array"``."""
        return self._screen.show(self.table.rows.state, 0)

    def close(self) -> None:
        """Close the window, if any; can be called again."""
        self._screen.close()


def _by_part(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of an agent's actions, part by part as `_chosen`."""
    if isinstance(space, spaces.Dict):
        return spaces.Dict({key: _chosen(part) for key, part in space.items()})
    return _chosen(space)


def creator(id: str) -> Callable[[Mapping[str, Any]], Any]:
    """What RLlib makes an id's environments with: a function of ``env_config``, to be pickled.

    ``env_config`` holds parameters and options as for ``gymnasium.make``, ``max_episode_steps``,
    ``action_mask`` and, for games, ``fixed_agents``; see the views.

    Args:
        id: of a system; that of a game makes agents by name.

    Raises:
        UnknownIdError: no such system.
    """
    found = entry(id)
    found.load_system()  # a guest has none
    return partial(_game if found.is_game else _single, found)


def joint_creator(id: str) -> Callable[[Mapping[str, Any]], Any]:
    """As `creator`, of a game as one controller's environment.

    Raises:
        UnknownIdError: no such system.
    """
    found = entry(id)
    found.load_system()
    return partial(_single, found)


def _single(found: Entry, config: Mapping[str, Any]) -> SixgymRLlibEnv | SixgymRLlibVectorEnv:
    """One controller's environment, or all rows of a runner where RLlib asks for them."""
    wanted = dict(config)
    limit = wanted.pop("max_episode_steps", found.max_episode_steps)
    action_mask = _flag(wanted, "action_mask")
    rows = wanted.pop("num_envs", None)
    if rows is not None:
        env = make_vector_env(found.system, rows, max_episode_steps=limit, **wanted)
        return SixgymRLlibVectorEnv(env, action_mask=action_mask)
    one: gym.Env[Any, Any] = make_env(found.system, **wanted)
    if limit is not None:
        one = gym.wrappers.TimeLimit(one, limit)
    return SixgymRLlibEnv(one, action_mask=action_mask, runner=_runner(config))


def _game(found: Entry, config: Mapping[str, Any]) -> SixgymMultiAgentEnv:
    """A game, agents by name."""
    wanted = {**found.parallel, **config}
    view = {name: _flag(wanted, name) for name in ("fixed_agents", "action_mask")}
    limit = wanted.pop("max_episode_steps", found.max_episode_steps)
    mode = wanted.pop("render_mode", None)
    game = make_game(found.system, **wanted)
    return SixgymMultiAgentEnv(
        game, max_episode_steps=limit, render_mode=mode, runner=_runner(config), **view
    )


def _flag(wanted: dict[str, Any], name: str) -> bool:
    """Take a yes or no out of ``env_config``.

    Raises:
        OptionsError: it is something else.
    """
    value = wanted.pop(name, False)
    if not isinstance(value, bool):
        raise OptionsError(f"{name}={value!r}: allowed: True, False")
    return value


def _runner(config: Mapping[str, Any]) -> int:
    """The number of the runner, which RLlib's own kind of dictionary knows."""
    return int(getattr(config, "worker_index", 0) or 0)
