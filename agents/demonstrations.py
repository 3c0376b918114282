"""What a teacher does in the worlds of training: observations with its actions there.

The teacher is a baseline of the environment. It plays in its own variant of it, whose observations
and actions must be those of the student.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.agents.algorithms import Cloning
from sixgym.agents.config import TrainConfig
from sixgym.agents.evaluate import acting_variant
from sixgym.agents.policies import OF_THE_ROWS, describe
from sixgym.agents.sharing import Sharing
from sixgym.baselines.policy import Baseline, baseline
from sixgym.envs.core.errors import ConfigError
from sixgym.envs.core.game import Game, part_of
from sixgym.envs.core.make import make_system
from sixgym.envs.core.registry import entry
from sixgym.envs.core.rollout import Actor, Policy
from sixgym.envs.core.system import System
from sixgym.envs.core.worlds import row_seed


class Pairs(NamedTuple):
    """What was seen, and what the teacher did or would have done; entries are of one agent."""

    seen: Any
    """(pairs, ...) observations, or a dictionary of them."""
    said: NDArray[Any]
    """(pairs, ...) actions of the teacher."""
    masks: NDArray[np.bool_] | None
    """(pairs, choices) what was allowed; None without masks."""
    row: NDArray[np.int64]
    """(pairs,) the row that it was in: all of a row's episodes are learned from, or held out."""


def check_teacher(config: TrainConfig) -> None:
    """Refuse a teacher that is not there, or that acts otherwise than the student could.

    Raises:
        UnknownIdError: the environment has no such baseline.
        ConfigError: it acts in another environment, or with other observations or actions.
    """
    teacher = _teacher(config)
    id, kwargs = acting_variant(config, teacher)
    if id != config.env:
        raise ConfigError(
            f"hyperparameters.teacher={teacher.name!r}: acts in {id}; allowed: one that acts in "
            f"{config.env}"
        )
    own, theirs = (system_of(id, kw) for kw in (acting_variant(config, None)[1], kwargs))
    for kind in ("observation_space", "action_space"):
        mine, other = getattr(own, kind), getattr(theirs, kind)
        if describe(mine) != describe(other):
            raise ConfigError(
                f"hyperparameters.teacher={teacher.name!r}: plays with {dict(teacher.env_kwargs)}, "
                f"where the {kind.replace('_', ' ')} is {_short(other)}; that of the student: "
                f"{_short(mine)}"
            )


def imitated(config: TrainConfig) -> dict[str, str]:
    """Whom the student imitates, for its card: name, what it may see, kind."""
    teacher = _teacher(config)
    return {"baseline": teacher.name, "sees": teacher.sees, "kind": teacher.kind}


def _short(space: gym.Space[Any]) -> str:
    return f"{type(space).__name__}{space.shape or ''}"


def settings_of(config: TrainConfig) -> Cloning:
    """The hyper-parameters of a configuration of behaviour cloning."""
    settings = config.hyperparameters
    assert isinstance(settings, Cloning)
    return settings


def _teacher(config: TrainConfig) -> Baseline:
    return baseline(config.env, settings_of(config).teacher)


def system_of(id: str, kwargs: dict[str, Any]) -> System[Any, Any]:
    """The system of an environment, from the environment's arguments."""
    own = {k: v for k, v in kwargs.items() if k not in OF_THE_ROWS}
    return make_system(entry(id).system, **own)


class _Asked(Actor):
    """The teacher, of whom one can tell whether it keeps a memory."""

    @property
    def remembers(self) -> bool:
        """Whether its last action depended on, or led to, something that it keeps."""
        return self._memory is not None


class Demonstrations:
    """The teacher in the training worlds of one seed.

    Args:
        config: the environment, the teacher, and how many rows play together.
        seed: block of the training worlds.
    """

    def __init__(self, config: TrainConfig, seed: int) -> None:
        self._config, self._seed = config, seed
        self._entry = _teacher(config)
        id, kwargs = acting_variant(config, self._entry)
        env: Any = gym.make_vec(id, num_envs=config.num_envs, **kwargs)
        self._env: Any = env.unwrapped
        self._policy = self._entry.make(self._env.system)
        self._sharing = Sharing(self._env.system) if config.shared else None

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def collect(self, steps: int, round: int, student: Policy | None = None) -> tuple[Pairs, int]:
        """Pairs of at least so many steps of the environment, all rows together.

        Args:
            steps: to play.
            round: each plays in rows of its own.
            student: who acts while the teacher is asked; None: the teacher itself.

        Returns:
            The pairs, and the steps.

        Raises:
            ConfigError: the student acts, and the teacher's answer hangs on what it did before.
        """
        rows, env = self._config.num_envs, self._env
        asked = _Asked(env, self._attached(self._policy), True)
        acting = None
        if student is not None:
            acting = Actor(env, self._attached(student), self._config.evaluation.deterministic)
        first = row_seed("train", self._seed) + round * rows
        seen, _ = env.reset(seed=[first + i for i in range(rows)])
        begins, is_idle = np.ones(rows, dtype=bool), np.zeros(rows, dtype=bool)
        found: list[Pairs] = []
        played, done = 0, None
        while played < steps:
            if not is_idle.all():
                said = asked.act(seen, begins)
                self._refuse_memory(asked, is_asked=acting is not None)
                found.append(self._pairs(seen, said, ~is_idle))
                played += int((~is_idle).sum())
                done = said if acting is None else acting.act(seen, begins)
            seen, _, terminated, truncated, _ = env.step(done)
            # A row that has ended is restarted by its next step, whose action counts for nothing.
            begins, is_idle = is_idle, np.asarray(terminated) | np.asarray(truncated)
        return joined(found), played

    def _attached(self, policy: Policy) -> Policy:
        attach = getattr(policy, "attach", None)
        if attach is not None:
            attach(self._env)
        return policy

    def _refuse_memory(self, teacher: _Asked, *, is_asked: bool) -> None:
        if is_asked and teacher.remembers:
            rounds = settings_of(self._config).dagger_rounds
            raise ConfigError(
                f"hyperparameters.dagger_rounds={rounds}: {self._entry.name} remembers what it did "
                "before; allowed with it: 0"
            )

    def _pairs(self, seen: Any, said: Any, counts: NDArray[np.bool_]) -> Pairs:
        """The pairs of one step of the rows that count: one a row, or one for each agent there."""
        held = self._env.rows
        allowed = held.action_mask()
        masks = None if allowed is None else allowed.cpu().numpy()
        place = np.arange(len(counts))
        sharing = self._sharing
        if sharing is not None:
            game, seats = sharing.game, sharing.seats
            seen, said = sharing.split(seen), _own_actions(game, said)
            counts = (counts[:, None] & game.alive(held.state).cpu().numpy()).ravel()
            place = place.repeat(seats)
            masks = None if masks is None else masks.reshape(len(place), -1)
        return Pairs(
            _each(seen, lambda part: np.asarray(part)[counts]),
            np.asarray(said)[counts],
            None if masks is None else masks[counts],
            place[counts],
        )


def _own_actions(game: Game[Any, Any], said: Any) -> NDArray[Any]:
    """What each agent of a game of one group does, (rows * seats, ...), in a joint action."""
    (group,) = game.groups
    is_dict = isinstance(said, dict)
    whole = {k: torch.as_tensor(v) for k, v in said.items()} if is_dict else torch.as_tensor(said)
    own = part_of(game.moves(whole), group, "action_space")
    assert isinstance(own, Tensor)  # of an action space that `check` has let pass
    moves: NDArray[Any] = own.flatten(0, 1).numpy()
    return moves


def _each(seen: Any, function: Callable[[Any], Any]) -> Any:
    """The same done to an observation, or to every part of it."""
    return {k: function(v) for k, v in seen.items()} if isinstance(seen, dict) else function(seen)


def joined(parts: list[Pairs]) -> Pairs:
    """Pairs of several steps or rounds."""
    first = parts[0]
    if isinstance(first.seen, dict):
        seen: Any = {k: np.concatenate([p.seen[k] for p in parts]) for k in first.seen}
    else:
        seen = np.concatenate([p.seen for p in parts])
    masks = [p.masks for p in parts if p.masks is not None]
    return Pairs(
        seen,
        np.concatenate([p.said for p in parts]),
        np.concatenate(masks) if masks else None,
        np.concatenate([p.row for p in parts]),
    )
