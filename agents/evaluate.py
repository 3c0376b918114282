"""Evaluation while training: the same validation episodes every time, in one batch."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from sixgym.agents.config import TrainConfig
from sixgym.baselines.policy import Baseline, baseline
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rollout import Policy, rollout, score_values
from sixgym.envs.core.system import Score
from sixgym.envs.core.worlds import World, row_seed

Point = dict[str, float | None]
"""One evaluation: every score by name, None where it has no value; ``step`` where one trains."""

_OPTIONS = ("dtype", "device", "info_level")
"""Arguments of an environment that are no parameters of its system."""


class Evaluator:
    """Plays the first episodes of the validation world, which training never meets.

    All training seeds, and the baselines, play the same episodes, so that they compare.

    Args:
        config: environment, episodes, and whether policies act deterministically.
        acts_as: the baseline that will be played, if it acts in a variant of the environment.
        world: whose first episodes are played instead.
    """

    def __init__(
        self,
        config: TrainConfig,
        acts_as: Baseline | None = None,
        world: World = "validation",
    ) -> None:
        id, kwargs = acting_variant(config, acts_as)
        self.deterministic = config.evaluation.deterministic
        self.env: Any = gym.make_vec(id, num_envs=config.evaluation.episodes, **kwargs)
        self.seeds = row_seed(world, 0) + np.arange(config.evaluation.episodes)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The system's scores; the first is the headline."""
        return self.env.unwrapped.system.scores  # type: ignore[no-any-return]

    @property
    def headline(self) -> Score:
        """The score that the best policy is chosen by."""
        return self.scores[0]

    def __call__(self, policy: Policy) -> Point:
        """Mean return and length, and every score of the set of episodes."""
        episodes = rollout(self.env.unwrapped, policy, self.seeds, deterministic=self.deterministic)
        values = {
            "mean_return": float(episodes.reward.mean()),
            "mean_length": float(episodes.length.mean()),
            **score_values(self.scores, episodes),
        }
        return {k: v if math.isfinite(v) else None for k, v in values.items()}

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


def is_better(score: Score, new: Point, old: Point | None) -> bool:
    """Whether an evaluation beats another by a score; one without a value beats nothing."""
    mine, theirs = new[score.name], None if old is None else old[score.name]
    if mine is None or theirs is None:
        return theirs is None
    return mine > theirs if score.higher_is_better else mine < theirs


def play_baselines(config: TrainConfig) -> dict[str, Point]:
    """The configuration's baselines on the validation episodes, by name.

    Raises:
        UnknownIdError: the environment has no such baseline.
    """
    found = {}
    for name in config.evaluation.baselines:
        entrant = baseline(config.env, name)
        evaluator = Evaluator(config, entrant)
        found[name] = evaluator(entrant.make(evaluator.env.unwrapped.system))
        evaluator.close()
    return found


def acting_variant(config: TrainConfig, acts_as: Baseline | None) -> tuple[str, dict[str, Any]]:
    """The id and arguments of the environment that a policy plays in.

    Compilation is left out: a batch of another size would be compiled anew.

    Args:
        config: the environment.
        acts_as: the baseline that plays, if it acts in a variant of it; None: what was trained.
    """
    kwargs: dict[str, Any] = {k: v for k, v in config.env_kwargs.items() if k != "compile"}
    if config.preset is not None:
        kwargs["preset"] = config.preset
    if acts_as is None:
        return config.env, kwargs
    id = acts_as.env_id or config.env
    if id != config.env:  # arguments that only the trained environment knows are not its own
        fields = entry(id).load_system().params_type.model_fields
        kwargs = {k: v for k, v in kwargs.items() if k in fields or k in (*_OPTIONS, "preset")}
    return id, {**kwargs, **acts_as.env_kwargs}
