"""Environments by somebody else, sound and broken on purpose, for the tests of the checks."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv


class Walk(gym.Env[Any, Any]):
    """A sound one: a random walk that ends beyond its rim."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-9.0, 9.0, (2,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.at = np.zeros(2)

    def noise(self) -> np.ndarray:
        return self.np_random.normal(size=2)

    def seen(self) -> np.ndarray:
        return self.at.clip(-9.0, 9.0).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.noise()
        return self.seen(), {"distance": float(abs(self.at).sum())}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.at = self.at + self.noise() + 0.1 * float(action[0])
        far = float(abs(self.at).sum())
        return self.seen(), -far, far > 8.0, False, {"distance": far}


class Deaf(Walk):
    """Takes the seed and ignores it, as mobile-env 2.1.0 does: one generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.own = np.random.default_rng(0)

    def noise(self) -> np.ndarray:
        return self.own.normal(size=2)


class GlobalDice(Walk):
    """Draws from NumPy's global generator."""

    def noise(self) -> np.ndarray:
        return np.random.normal(size=2)  # noqa: NPY002


class Reseeder(Walk):
    """Seeds the global generator of `random`, to be reproducible."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        random.seed(seed)
        return super().reset(seed=seed)

    def noise(self) -> np.ndarray:
        return np.array([random.gauss(0.0, 1.0), random.gauss(0.0, 1.0)])


class Outside(Walk):
    """Observes beyond its space."""

    def seen(self) -> np.ndarray:
        return (10.0 * self.at).astype(np.float32)


class Wide(Walk):
    """Observes in another type than its space's."""

    def seen(self) -> np.ndarray:
        return self.at.clip(-9.0, 9.0)


class Breaks(Walk):
    """Divides by zero in a corner of its action space."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, *rest = super().step(action)
        with np.errstate(divide="ignore"):
            return observation, float(np.float64(reward) / (1.0 - np.float64(action[0]))), *rest


class OneBuffer(Walk):
    """Hands out one buffer again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = np.zeros(2, np.float32)

    def seen(self) -> np.ndarray:
        self.buffer[:] = super().seen()
        return self.buffer


class Limited(Walk):
    """Tells its time limit as a termination."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.time = 0
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, _, _, info = super().step(action)
        self.time += 1
        return observation, reward, self.time == 9, False, info


class Integers(Walk):
    """Tells its flags as integers."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, ended, _, info = super().step(action)
        return observation, reward, int(ended), 0, info


class Shared(Walk):
    """Keeps its state with the class."""

    steps: ClassVar[list[int]] = [0]

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.steps[0] = 0
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self.steps[0] += 1
        observation, reward, *rest = super().step(action)
        return observation, reward + self.steps[0], *rest


class Fixed(Walk):
    """Has nothing random in it, so its seed has nothing to do."""

    def noise(self) -> np.ndarray:
        return np.ones(2)


class Stuck(Walk):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.of = lambda: 0


class Rewarded(Walk):
    """Pays its agents by name, as the multi-agent environments of mobile-env 2.1.0 do."""

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, *rest = super().step(action)
        return observation, {"left": reward, "right": -reward}, *rest


class Growing(Walk):
    """Rewards of more and more parts."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.time = 0
        return super().reset(seed=seed)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        observation, reward, *rest = super().step(action)
        self.time += 1
        return observation, np.full(self.time, reward), *rest


class Chosen(Walk):
    """Is told which class to use, as an environment of mobile-env is: its spec has no JSON."""

    def __init__(self, kind: type = dict) -> None:
        super().__init__()


class Unmade(Walk):
    """Cannot even be made."""

    def __init__(self) -> None:
        raise OSError("no such trace")


class Pair(ParallelEnv[str, Any, Any]):
    """A sound game of two walkers."""

    metadata: ClassVar[dict[str, Any]] = {"name": "pair_v0", "render_modes": []}
    possible_agents: ClassVar[list[str]] = ["left", "right"]

    def __init__(self) -> None:
        self.seen = spaces.Box(-99.0, 99.0, (2,), np.float32)
        self.choice = spaces.Discrete(3)
        self.agents: list[str] = []
        self.random = np.random.default_rng()

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return self.seen

    def action_space(self, agent: str) -> gym.Space[Any]:
        return self.choice

    def see(self) -> dict[str, Any]:
        return {a: self.random.normal(size=2).astype(np.float32) for a in self.agents}

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.agents, self.time = list(self.possible_agents), 0
        return self.see(), {a: {} for a in self.agents}

    def step(self, actions: dict[str, Any]) -> tuple[Any, ...]:
        self.time += 1
        observations = self.see()
        paid = {a: float(actions[a] == actions[self.agents[0]]) for a in self.agents}
        no, late = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, self.time == 12)
        infos: dict[str, Any] = {a: {} for a in self.agents}
        if self.time == 12:
            self.agents = []
        return observations, paid, no, late, infos


class NewSpaces(Pair):
    """Makes its spaces anew in every call."""

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return spaces.Box(-99.0, 99.0, (2,), np.float32)


class DeafPair(Pair):
    """A game that ignores its seed."""

    def __init__(self) -> None:
        super().__init__()
        self.own = np.random.default_rng(1)

    def see(self) -> dict[str, Any]:
        return {a: self.own.normal(size=2).astype(np.float32) for a in self.agents}
