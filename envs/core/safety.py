"""A wrapper in the manner of Safety-Gymnasium: the cost of a step beside its reward.

Safety-Gymnasium's ``step`` gives six values, ``(obs, reward, cost, terminated, truncated, info)``
[standard]. Any environment of the suite whose ``info`` carries a ``cost`` can be wrapped::

    env = SafeWrapper(gym.make("sixgym/EventOffload-v0", budget_mode="average"))
    obs, info = env.reset(seed=0)
    obs, reward, cost, terminated, truncated, info = env.step(env.action_space.sample())
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.errors import OptionsError

SafeStep = tuple[Any, Any, Any, Any, Any, dict[str, Any]]
"""Observation, reward, cost, terminated, truncated, info."""


class SafeWrapper:
    """Six values a step, of a single or a vector environment.

    Everything else is the environment's own. It is not a `gymnasium.Wrapper`, since Gymnasium's
    steps have five values.

    Args:
        env: a Gymnasium environment, single or vector, whose ``info`` carries the cost.
        cost: name of the cost among the metrics.

    Raises:
        OptionsError: the environment's system reports no such metric.
    """

    def __init__(
        self, env: gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any], cost: str = "cost"
    ) -> None:
        system = getattr(env.unwrapped, "system", None)
        rows = getattr(env.unwrapped, "rows", None)
        if system is None or rows is None:
            raise OptionsError(f"env={env!r}: allowed: an environment of sixgym")
        if cost not in rows.metric_names:
            known = ", ".join(n for n in rows.metric_names if "cost" in n) or "none here"
            raise OptionsError(f"cost={cost!r}: not among the metrics; allowed: {known}")
        self.env = env
        self.cost_name = cost
        self._is_batch = isinstance(env, gym.vector.VectorEnv)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As the environment's own."""
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> SafeStep:
        """One step; in a batch the cost is one number a row, of the step that the reward is of."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        cost = info[self.cost_name]
        if not self._is_batch:
            cost = float(cost)
        elif "_final_info" in info:  # rows restarted in this step show the info of a reset
            cost = _of_the_end(cost, info["final_info"][self.cost_name], info["_final_info"])
        return observation, reward, cost, terminated, truncated, info

    def __getattr__(self, name: str) -> Any:
        """What is not a step comes from the environment."""
        if name.startswith("_") or name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)


def _of_the_end(cost: Any, final: Any, ended: NDArray[np.bool_]) -> Any:
    """The costs of a batch, of rows that ended from their final info; arrays or tensors."""
    if isinstance(cost, np.ndarray):
        return np.where(ended, final, cost)
    import torch

    return torch.where(torch.from_numpy(ended).to(cost.device), final, cost)
