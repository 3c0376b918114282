"""Environments by somebody else: how the checks find, make, begin and step them.

A guest is a plain ``gymnasium.Env`` or a PettingZoo environment. Nothing is known of it but its
interface, so all that a check can do is to play it, under actions that are a function of the place
and the time.
"""

from __future__ import annotations

import copy
import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from sixgym.envs.core.conformance.subject import Actions, Subject
from sixgym.envs.core.errors import ConformanceError, OptionsError, UnknownIdError
from sixgym.envs.core.registry import entries

POOL = 37
"""Actions that a guest is played with."""


class Told(NamedTuple):
    """What one call of an environment told; of a game each part is a dictionary by agent."""

    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    info: Any
    ended: bool
    """Whether the episode is over, for everybody."""

    @property
    def story(self) -> tuple[Any, ...]:
        """What must repeat under one seed: all but the info."""
        return self[:4]


class Guest(ABC):
    """What a target stands for, and how to play it.

    Args:
        id: the target as it was typed.
        build: makes a new environment.
        kwargs: what it is made with.
    """

    kind: str
    """In words, for the report."""

    def __init__(
        self, id: str, build: Callable[..., Any], kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self.id = id
        self.kwargs = dict(kwargs or {})
        self._build = build
        self._pools: dict[str, list[Any]] = {}

    def make(self, **kwargs: Any) -> Any:
        """A new environment."""
        return self._build(**{**self.kwargs, **kwargs})

    @abstractmethod
    def begin(self, env: Any, seed: int | None = None) -> Told:
        """Reset it."""

    @abstractmethod
    def step(self, env: Any, time: int) -> Told:
        """Step it by the action of a time, counted in any way."""

    @abstractmethod
    def outside(self, env: Any, told: Told) -> str | None:
        """Where an observation is outside its space, in words."""

    def action(self, agent: str, space: gym.Space[Any], place: int) -> Any:
        """One of the fixed actions of an agent; a copy, since some environments write into it."""
        if agent not in self._pools:
            actions = Actions(space, size=POOL)
            self._pools[agent] = [actions.one(0, t) for t in range(POOL)]
        return copy.deepcopy(self._pools[agent][place % POOL])

    def play(self, env: Any, steps: int, *, seed: int | None = None, shift: int = 0) -> list[Told]:
        """One episode, or its first steps, under the same actions every time.

        Args:
            env: of `make`.
            steps: at most.
            seed: of the reset.
            shift: another number is another sequence of actions.
        """
        told = [self.begin(env, seed)]
        while len(told) <= steps and not told[-1].ended:
            told.append(self.step(env, shift + len(told)))
        return told


class GymGuest(Guest):
    """A plain ``gymnasium.Env``."""

    kind = "a Gymnasium environment"

    def begin(self, env: Any, seed: int | None = None) -> Told:
        """Reset it."""
        observation, info = env.reset(seed=seed)
        return Told(observation, 0.0, False, False, info, False)

    def step(self, env: Any, time: int) -> Told:
        """Step it by the action of a time."""
        observation, reward, terminated, truncated, info = env.step(
            self.action("", env.action_space, time * 5)
        )
        ended = bool(terminated or truncated)
        return Told(observation, reward, terminated, truncated, info, ended)

    def outside(self, env: Any, told: Told) -> str | None:
        """Where the observation is outside its space."""
        return _outside(env.observation_space, told.observation)


class ParallelGuest(Guest):
    """A PettingZoo ``ParallelEnv``."""

    kind = "a PettingZoo ParallelEnv"

    def begin(self, env: Any, seed: int | None = None) -> Told:
        """Reset it."""
        observations, infos = env.reset(seed=seed)
        return Told(observations, {}, {}, {}, infos, not env.agents)

    def step(self, env: Any, time: int) -> Told:
        """Every agent moves."""
        seats = {agent: place for place, agent in enumerate(env.possible_agents)}
        moves = {
            a: self.action(a, env.action_space(a), seats[a] * 11 + time * 5) for a in env.agents
        }
        observations, rewards, terminated, truncated, infos = env.step(moves)
        return Told(observations, rewards, terminated, truncated, infos, not env.agents)

    def outside(self, env: Any, told: Told) -> str | None:
        """Which agent's observation is outside its space."""
        found = (
            (agent, _outside(env.observation_space(agent), seen))
            for agent, seen in told.observation.items()
        )
        return next((f"{agent}: {text}" for agent, text in found if text), None)


class AecGuest(Guest):
    """A PettingZoo ``AECEnv``; a step is the move of one agent."""

    kind = "a PettingZoo AECEnv"

    def begin(self, env: Any, seed: int | None = None) -> Told:
        """Reset it."""
        env.reset(seed=seed)
        return self._last(env)

    def step(self, env: Any, time: int) -> Told:
        """The agent whose turn it is moves, by a legal action where there is a mask."""
        observation, _, terminated, truncated, info = env.last()
        agent = env.agent_selection
        if terminated or truncated:
            env.step(None)
        else:
            space, allowed = env.action_space(agent), _allowed(observation, info)
            if isinstance(space, gym.spaces.Discrete) and len(allowed):
                env.step(int(space.start) + int(allowed[time * 7 % len(allowed)]))
            else:
                env.step(self.action(agent, space, time * 5))
        return self._last(env)

    def _last(self, env: Any) -> Told:
        if not env.agents:
            return Told({}, {}, {}, {}, {}, True)
        agent = env.agent_selection
        observation, reward, terminated, truncated, info = ({agent: x} for x in env.last())
        return Told(observation, reward, terminated, truncated, info, False)

    def outside(self, env: Any, told: Told) -> str | None:
        """Whether the observation of the agent in turn is outside its space."""
        for agent, seen in told.observation.items():
            text = _outside(env.observation_space(agent), seen)
            if text and not (told.terminated[agent] or told.truncated[agent]):
                return f"{agent}: {text}"
        return None


def _allowed(observation: Any, info: Any) -> Any:
    """The actions that a mask in the observation or the info allows; none if there is no mask."""
    for place in (observation, info):
        if isinstance(place, Mapping) and "action_mask" in place:
            return np.flatnonzero(place["action_mask"])
    return ()


def _outside(space: gym.Space[Any], value: Any) -> str | None:
    """What is wrong with a value for a space, in words; None if it is in it."""
    if space.contains(value):
        return None
    if isinstance(space, gym.spaces.Dict) and isinstance(value, Mapping):
        if value.keys() != space.spaces.keys():
            return f"keys {sorted(value)}; allowed: {sorted(space.spaces)}"
        parts = ((k, _outside(part, value[k])) for k, part in space.items())
        return next((f"{k}: {text}" for k, text in parts if text), f"not in {space}")
    array = np.asarray(value)
    if isinstance(space, gym.spaces.Box):
        if not isinstance(value, np.ndarray):
            return f"a {type(value).__name__}; allowed: an array of shape {space.shape}"
        if array.shape != space.shape or not np.can_cast(array.dtype, space.dtype):
            told = f"{array.dtype} of shape {array.shape}"
            return f"{told}; allowed: {space.dtype} of shape {space.shape}"
        low, high = array < space.low, array > space.high
        where = np.argwhere(low | high | np.isnan(array))
        at = tuple(int(i) for i in where[0])
        return f"{array[at]} at {at}; allowed: {space.low[at]} to {space.high[at]}"
    return f"{value!r}; allowed: an element of {space}"


# ------------------------------------------------------------------------ what a target stands for


def target(text: str, kwargs: Mapping[str, Any] | None = None) -> Subject | Guest:
    """What is to be checked.

    Args:
        text: an id of ours, of Gymnasium's registry or of PettingZoo's; ``module:id``, which
            imports the module first; or ``module:function``, which makes the environment.
        kwargs: arguments of the environment.

    Raises:
        UnknownIdError: there is nothing of that name.
        OptionsError: a function that makes something else.
    """
    name, module = text, None
    if ":" in text:
        path, _, name = text.partition(":")
        module = _module(path, text)
    for found in _registered(name, kwargs or {}):
        return found
    if module is not None and callable(getattr(module, name, None)):
        return _made_by(text, getattr(module, name), kwargs or {})
    if module is not None:
        raise UnknownIdError(
            f"target={text!r}: {module.__name__} registers no such id and has no such function"
        )
    near = difflib.get_close_matches(name, [*gym.registry, *(e.id for e in entries())], n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "allowed: an id of any registry"
    raise UnknownIdError(
        f"target={text!r}: not registered; {hint} (--import MODULE registers more)"
    )


def _module(path: str, text: str) -> Any:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise
        raise UnknownIdError(f"target={text!r}: no module {path}") from None


def _registered(id: str, kwargs: Mapping[str, Any]) -> Iterator[Subject | Guest]:
    """What the registries have under an id, ours first."""
    if any(found.id == id for found in entries()):
        yield Subject(id, kwargs)
    if id in gym.registry:
        yield GymGuest(id, lambda **k: gym.make(id, disable_env_checker=True, **k), kwargs)
    try:
        import pettingzoo
        from pettingzoo.env_registry import registration
    except ImportError:  # pragma: no cover - a dependency of ours, but a large one
        return
    if id in registration.parallel_registry:
        yield ParallelGuest(id, lambda **k: pettingzoo.make("parallel", id, **k), kwargs)
    if id in registration.aec_registry:
        yield AecGuest(id, lambda **k: pettingzoo.make("aec", id, **k), kwargs)


def _made_by(text: str, build: Callable[..., Any], kwargs: Mapping[str, Any]) -> Guest:
    """The guest that a function makes.

    Raises:
        OptionsError: it makes something else.
        ConformanceError: it cannot be called.
    """
    from pettingzoo import AECEnv, ParallelEnv

    try:
        made: Any = build(**kwargs)
    except Exception as error:
        raise ConformanceError(f"target={text!r}: {type(error).__name__}: {error}") from error
    kinds: tuple[tuple[Any, type[Guest]], ...] = (
        (gym.Env, GymGuest),
        (ParallelEnv, ParallelGuest),
        (AECEnv, AecGuest),
    )
    for kind, guest in kinds:
        if isinstance(made, kind):
            made.close()
            return guest(text, build, kwargs)
    raise OptionsError(
        f"target={text!r}: makes a {type(made).__name__}; allowed: a gymnasium.Env, "
        "a PettingZoo ParallelEnv or AECEnv"
    )
