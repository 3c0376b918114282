"""Evaluation while training: the same validation episodes every time, in one batch."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from sixgym.agents.config import TrainConfig
from sixgym.envs.core.rollout import Policy, rollout, score_values
from sixgym.envs.core.system import Score
from sixgym.envs.core.worlds import row_seed


class Evaluator:
    """Plays the first episodes of the validation world, which training never meets.

    All training seeds play the same episodes, so that their curves compare.

    Args:
        config: environment, episodes, and whether policies act deterministically.
    """

    def __init__(self, config: TrainConfig) -> None:
        kwargs: dict[str, Any] = {k: v for k, v in config.env_kwargs.items() if k != "compile"}
        self.episodes = config.evaluation.episodes
        self.deterministic = config.evaluation.deterministic
        # One batch of another size than training's: compiling it would not pay.
        self.env: Any = gym.make_vec(
            config.env, num_envs=self.episodes, preset=config.preset, **kwargs
        )
        self.seeds = row_seed("validation", 0) + np.arange(self.episodes)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The system's scores; the first is the headline."""
        return self.env.unwrapped.system.scores  # type: ignore[no-any-return]

    @property
    def headline(self) -> Score:
        """The score that the best policy is chosen by."""
        return self.scores[0]

    def __call__(self, policy: Policy) -> dict[str, float]:
        """Mean return and length, and every score of the set of episodes."""
        episodes = rollout(self.env.unwrapped, policy, self.seeds, deterministic=self.deterministic)
        return {
            "mean_return": float(episodes.reward.mean()),
            "mean_length": float(episodes.length.mean()),
            **score_values(self.scores, episodes),
        }

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
