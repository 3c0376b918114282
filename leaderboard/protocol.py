"""The protocol: what exactly is measured, written down before any result.

A task is an environment with its parameters, its horizon, its evaluation worlds and its scores. All
policies of a task play the same row seeds: the evaluation world of the protocol's version, disjoint
from every world that training, tuning and validation can reach. Changing any of this makes another
task, and its rows live in another folder; old rows stay what they were.

A policy that declares itself slow plays the first `SLOW_EPISODES` of the seeds, and is compared
with others on those. A policy that learned from more than the task's training budget ranks below
all that kept it. Beside the task that agents train for there are the splits that its environment is
registered with, see `sixgym.leaderboard.splits`: tasks of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sixgym.envs.core.errors import ResultError
from sixgym.envs.core.worlds import row_seed

if TYPE_CHECKING:
    from sixgym.envs.core.system import System

VERSION = 1
"""Version of the protocol; also the seed of the evaluation worlds."""

EPISODES = 256
"""Episodes of a row of the board."""

SLOW_EPISODES = 32
"""Episodes of the row of a policy that declares itself slow: the first of the task's seeds."""

TRAINING_STEPS = 10_000_000
"""Steps of the environment that one training seed of a ranked policy may have learned from: a
round number above the longest training that ships (8.2 million). The search for hyper-parameters,
which has worlds of its own, does not count."""


class Tolerance(NamedTuple):
    """How far a row played again may be from the stored one.

    Attributes:
        episode: relative difference of any sum of an episode, beyond which the episode has changed.
        changed: share of episodes that may have changed.
        score: relative difference of any score, over `EPISODES` episodes.
    """

    episode: float
    changed: float
    score: float

    def allows(self, episodes: int, changed: float, score: float) -> bool:
        """Whether a row that was played again is close enough.

        Args:
            episodes: that were played. Of few, chance lets more have changed: two standard
                deviations more than the share are allowed, and a score's difference shrinks with
                the root of their number.
            changed: share of them that have changed.
            score: largest relative difference of a score.
        """
        expected = self.changed * episodes
        most = math.floor(expected + 2.0 * math.sqrt(expected))
        return (
            changed * episodes <= most + 0.5
            and score <= self.score * max(1.0, EPISODES / episodes) ** 0.5
        )


TOLERANCE = Tolerance(episode=1e-3, changed=0.02, score=5e-4)
"""What is allowed on another build. Sums of float32 in another order differ by some 1e-7 a step, of
which a queue or an optimiser makes up to 1e-3 in an episode; rarely a rounding turns a decision and
the episode goes another way. (Measured with torch's kernels without vector
instructions against those of AVX-512, 48 episodes of each row of five environments: at most 2 of
them changed, and a score by 8e-4; the one exception diverges, see `sixgym.leaderboard.verify`.)"""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ScoreSpec(_Model):
    """A score as a result file keeps it; see `sixgym.envs.core.system.Score`."""

    name: str
    unit: str
    numerator: str
    denominator: str
    higher_is_better: bool
    description: str = ""
    budget: float | None = None


class Task(_Model):
    """What is measured.

    Attributes:
        env_id: the registered id.
        version: of the protocol.
        params: parameters that differ from the defaults, as typed.
        params_hash: of all parameters; see `sixgym.envs.core.params.Params.config_hash`.
        horizon: steps after which an episode is cut; None where only the system ends it.
        first_seed: row seed of episode 0; episode *i* has ``first_seed + i``.
        episodes: how many.
        scores: what is reported; the first ranks.
        random: baseline with normalised score 0.
        reference: baseline with normalised score 1; None where the system names none.
        is_bandit: whether it is a contextual bandit, see `sixgym.leaderboard.bandit`; None where
            nobody asked.
        training_budget: steps of the environment that a training seed of a ranked policy may have
            learned from; None in rows that are older than it.
    """

    env_id: str
    version: int = Field(ge=0)
    params: dict[str, Any] = Field(default_factory=dict)
    params_hash: str = Field(min_length=8)
    horizon: int | None = Field(ge=1)
    first_seed: int = Field(ge=0)
    episodes: int = Field(ge=1)
    scores: list[ScoreSpec] = Field(min_length=1)
    random: str
    reference: str | None
    is_bandit: bool | None = None
    training_budget: int | None = Field(None, ge=1)

    def agrees(self, other: Task) -> bool:
        """Whether both are one task, though one of them says more of it.

        Budgets, of constraints and of training, and whether it is a bandit, came to the protocol
        after the first rows: a row that does not say them is not another task's.
        """
        return self.without_unsaid(other) == other.without_unsaid(self)

    def without_unsaid(self, other: Task) -> dict[str, Any]:
        """All that is said of the task, less what ``other`` does not say."""
        said = self.model_dump()
        for name in ("is_bandit", "training_budget"):
            if getattr(self, name) is None or getattr(other, name) is None:
                del said[name]
        if not (self.has_budgets and other.has_budgets):
            for score in said["scores"]:
                del score["budget"]
        return said

    @property
    def has_budgets(self) -> bool:
        """Whether a score is a constraint."""
        return any(score.budget is not None for score in self.scores)

    @property
    def seeds(self) -> NDArray[np.int64]:
        """(episodes,) the row seeds."""
        return self.first_seed + np.arange(self.episodes, dtype=np.int64)

    @property
    def slow_episodes(self) -> int:
        """How many of the episodes a policy that declares itself slow has to play."""
        return min(SLOW_EPISODES, self.episodes)

    @property
    def is_official(self) -> bool:
        """Whether the episodes are the protocol's own: its evaluation world, all of them."""
        return self.first_seed == row_seed("evaluation", self.version) and self.episodes == EPISODES

    @property
    def folder(self) -> str:
        """Folder of the task below a results folder; another task is another folder."""
        name = self.env_id.rpartition("/")[2]
        key = f"v{self.version}-{self.params_hash[:8]}-h{self.horizon or 'none'}-n{self.episodes}"
        if self.first_seed != row_seed("evaluation", self.version):
            key += f"-s{self.first_seed}"
        return f"{name}/{key}"

    def score(self, name: str) -> ScoreSpec:
        """One score by name.

        Raises:
            ResultError: the task has no such score.
        """
        for score in self.scores:
            if score.name == name:
                return score
        raise ResultError(f"score={name!r}: allowed: {', '.join(s.name for s in self.scores)}")


def make_task(
    env_id: str,
    system: System[Any, Any],
    *,
    horizon: int | None,
    reference: str | None,
    params: Mapping[str, Any] | None = None,
    episodes: int = EPISODES,
    seed: int | None = None,
    version: int = VERSION,
) -> Task:
    """The task of an environment as it was made.

    Args:
        env_id: the registered id.
        system: the system that the environment stands on.
        horizon: its time limit.
        reference: the baseline that scores are normalised by.
        params: what was passed beyond the defaults.
        episodes: how many.
        seed: row seed of the first episode; None is the protocol's evaluation world.
        version: of the protocol.
    """
    return Task(
        env_id=env_id,
        version=version,
        params=dict(params or {}),
        params_hash=system.params.config_hash(),
        horizon=horizon,
        first_seed=row_seed("evaluation", version) if seed is None else seed,
        episodes=episodes,
        scores=[ScoreSpec(**score._asdict()) for score in system.scores],
        random="random",
        reference=reference,
        training_budget=TRAINING_STEPS,
    )
