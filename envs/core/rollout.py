"""Playing policies: what a policy is, and one batched rollout that every evaluation stands on.

All policies of a comparison play the same row seeds, hence the same worlds (common random
numbers): episode *i* of one policy is paired with episode *i* of another.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.errors import ActionError, OptionsError, PolicyError, SeedError

if TYPE_CHECKING:
    from sixgym.envs.core.system import Score
    from sixgym.envs.core.vector_view import SixgymVectorEnv

Floats = NDArray[np.float64]
"""An array of float64."""

SOLVER_OPS = "solver_ops"
"""The metric that counts nominal operations of solvers, the policy's own included."""


@runtime_checkable
class Policy(Protocol):
    """Anything that acts: SB3's ``predict`` on batches, NumPy in and out.

    SB3 models are policies as they are, recurrent ones included. A policy that has a method
    ``attach(env)`` is given the vector environment before the rollout (it may then read
    ``env.system`` and ``env.rows``); it must say so in its entry of the baseline table. A policy
    whose ``predict`` takes ``action_masks`` is given the masks, if the system has any. One with
    solvers of its own says by ``ops_per_decision`` how many nominal operations they take; where the
    system has a metric ``solver_ops`` for the solvers in its step, they are added to it.
    """

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Actions of a batch, and the policy's own memory.

        Args:
            observation: batch of observations, rows first (a dict of such for Dict spaces).
            state: what the last call returned; None at the start.
            episode_start: (rows,) bool, true where an episode begins with this observation.
            deterministic: the best action rather than a sample.
        """
        ...  # pragma: no cover


@dataclass(frozen=True)
class Episodes:
    """What a set of episodes summed up to; entry *i* of every vector belongs to ``seeds[i]``.

    Attributes:
        seeds: (episodes,) int64, row seed of each episode.
        reward: (episodes,) undiscounted return.
        length: (episodes,) int64, steps.
        terminated: (episodes,) bool, true where the system ended it, not the time limit.
        sums: sum over the episode of each level-0 metric, (episodes,) each.
        decision_seconds: (calls,) time of each ``predict``.
        step_seconds: (calls,) time of each step of the environment.
        rows: rows of a call, by which a time is divided to have it per decision.
        records: each step's value of the metrics that were asked for, (episodes, steps) each, as
            wide as the longest episode; NaN beyond an episode's end, since 0 is a value too.
    """

    seeds: NDArray[np.int64]
    reward: Floats
    length: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    sums: Mapping[str, Floats]
    decision_seconds: Floats
    step_seconds: Floats
    rows: int
    records: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.seeds)


def score_terms(score: Score, episodes: Episodes) -> tuple[Floats, Floats]:
    """Numerator and denominator of a score in each episode, (episodes,) each.

    Raises:
        OptionsError: the score names a metric that was not summed.
    """
    return _term(score.name, score.numerator, episodes), _term(
        score.name, score.denominator, episodes
    )


def score_value(score: Score, episodes: Episodes) -> float:
    """Score of the whole set: the ratio of the sums, never the mean of the ratios."""
    numerator, denominator = score_terms(score, episodes)
    return ratio(float(numerator.sum()), float(denominator.sum()))


def score_values(scores: Sequence[Score], episodes: Episodes) -> dict[str, float]:
    """Every score of a system by name."""
    return {score.name: score_value(score, episodes) for score in scores}


def ratio(numerator: float, denominator: float) -> float:
    """``numerator / denominator``; not a number where nothing was spent (0/0 has no value)."""
    return numerator / denominator if denominator != 0.0 else float("nan")


def _term(score: str, name: str, episodes: Episodes) -> Floats:
    if name == "episodes":
        return np.ones(len(episodes))
    if name == "steps":
        return episodes.length.astype(np.float64)
    if name == "reward":
        return episodes.reward
    if name not in episodes.sums:
        allowed = ", ".join(["reward", "steps", "episodes", *episodes.sums])
        raise OptionsError(f"score {score!r} names {name!r}: not summed; allowed: {allowed}")
    return episodes.sums[name]


def rollout(
    env: SixgymVectorEnv,
    policy: Policy,
    seeds: Sequence[int] | NDArray[np.int64],
    *,
    deterministic: bool = True,
    record: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Episodes:
    """Play one episode for each seed and sum it up.

    ``env.num_envs`` episodes are played at a time; the last batch is filled up with copies of its
    last seed, which are thrown away (rows do not see each other). A row that has ended is stepped
    on but no longer counted.

    Args:
        env: the native vector environment, ``NextStep`` autoreset, NumPy output.
        policy: what acts.
        seeds: row seed of each episode.
        deterministic: passed to ``predict``.
        record: names of metrics whose value in every step is kept in ``Episodes.records``.
        progress: called with (episodes ended, episodes in all) after every step.
        clock: tells the time in seconds; ``time.process_time`` times the processor, not the wall.

    Raises:
        PolicyError: the policy has no ``predict``, or returned NaN, a wrong shape or type, or an
            action outside the space.
        SeedError: no seeds.
        OptionsError: the environment resets in another way or hands out tensors, or a metric to
            record is not summed.
    """
    if not callable(getattr(policy, "predict", None)):
        raise PolicyError(f"policy={policy!r}: has no method predict(observation, state, ...)")
    wanted = np.asarray(seeds, dtype=np.int64)
    if wanted.ndim != 1 or wanted.size == 0:
        raise SeedError(f"seeds of shape {wanted.shape}: allowed: a list of at least one row seed")
    _check_env(env)
    _check_record(env, record)
    attach = getattr(policy, "attach", None)
    if attach is not None:
        attach(env)
    parts = []
    for first in range(0, len(wanted), env.num_envs):
        batch = wanted[first : first + env.num_envs]
        report = None if progress is None else _Offset(progress, first, len(wanted))
        parts.append(_play(env, policy, batch, deterministic, record, report, clock))
    return concatenate(parts)


def concatenate(parts: Sequence[Episodes]) -> Episodes:
    """Sets of episodes of one policy as one set.

    Raises:
        OptionsError: they recorded different metrics.
    """
    kept = [sorted(p.records) for p in parts]
    if any(names != kept[0] for names in kept):
        raise OptionsError(f"records={kept}: allowed: the same metrics in all parts")
    return Episodes(
        seeds=np.concatenate([p.seeds for p in parts]),
        reward=np.concatenate([p.reward for p in parts]),
        length=np.concatenate([p.length for p in parts]),
        terminated=np.concatenate([p.terminated for p in parts]),
        sums={name: np.concatenate([p.sums[name] for p in parts]) for name in parts[0].sums},
        decision_seconds=np.concatenate([p.decision_seconds for p in parts]),
        step_seconds=np.concatenate([p.step_seconds for p in parts]),
        rows=parts[0].rows,
        records={name: _stacked([p.records[name] for p in parts]) for name in parts[0].records},
    )


def _stacked(records: Sequence[Floats]) -> Floats:
    """Records of several sets below each other, as wide as the widest, NaN where one is shorter."""
    width = max(part.shape[1] for part in records)
    wide = [
        np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=np.nan)
        for part in records
    ]
    return np.concatenate(wide)


class _Offset:
    """Progress of one batch told as progress of the whole."""

    def __init__(self, tell: Callable[[int, int], None], before: int, total: int) -> None:
        self._tell, self._before, self._total = tell, before, total

    def __call__(self, ended: int) -> None:
        self._tell(self._before + ended, self._total)


def _check_env(env: SixgymVectorEnv) -> None:
    mode = env.metadata.get("autoreset_mode")
    if mode is not gym.vector.AutoresetMode.NEXT_STEP:
        raise OptionsError(f"autoreset_mode={mode!r}: allowed for a rollout: 'NextStep'")


def _check_record(env: SixgymVectorEnv, record: Sequence[str]) -> None:
    names = env.rows.metric_names
    unknown = [name for name in record if name not in names]
    if unknown:
        raise OptionsError(f"record: {unknown[0]!r} is not summed; allowed: {', '.join(names)}")


class _Tally:
    """The metrics of one batch: their sums, and each step's values of those to record.

    Args:
        names: of all metrics.
        record: of those to record.
        rows: of the batch.
        own_ops: of the policy, added to `SOLVER_OPS` in each step.
    """

    def __init__(
        self, names: Sequence[str], record: Sequence[str], rows: int, own_ops: float
    ) -> None:
        self.sums = {name: np.zeros(rows) for name in names}
        self._kept: dict[str, list[Floats]] = {name: [] for name in record}
        self._own_ops = own_ops

    def add(self, infos: Mapping[str, Any], active: NDArray[np.bool_]) -> None:
        """Count one step of the rows whose episode goes on."""
        for name, total in self.sums.items():
            value = np.asarray(infos[name], dtype=np.float64)
            if name == SOLVER_OPS:
                value = value + self._own_ops
            total += np.where(active, value, 0.0)
            if name in self._kept:
                self._kept[name].append(np.where(active, value, np.nan))

    def records(self, used: int) -> dict[str, Floats]:
        """(used, steps) what was recorded in the first rows."""
        return {name: np.stack(steps, 1)[:used] for name, steps in self._kept.items()}


def _play(
    env: SixgymVectorEnv,
    policy: Policy,
    seeds: NDArray[np.int64],
    deterministic: bool,
    record: Sequence[str],
    report: Callable[[int], None] | None,
    clock: Callable[[], float],
) -> Episodes:
    """One episode in each row of one batch."""
    rows, used = env.num_envs, len(seeds)
    padded = np.concatenate([seeds, np.full(rows - used, seeds[-1])])
    reward, length = np.zeros(rows), np.zeros(rows, dtype=np.int64)
    ended_by_system, active = np.zeros(rows, dtype=bool), np.ones(rows, dtype=bool)
    own_ops = float(getattr(policy, "ops_per_decision", 0.0))
    tally = _Tally(env.rows.metric_names, record, rows, own_ops)
    decisions: list[float] = []
    steps: list[float] = []
    actor = Actor(env, policy, deterministic)
    observation, _ = env.reset(seed=[int(s) for s in padded])
    start = np.ones(rows, dtype=bool)
    while active[:used].any():
        began = clock()
        action = actor.act(observation, start)
        decided = clock()
        observation, paid, terminated, truncated, infos = _step(env, policy, action)
        steps.append(clock() - decided)
        decisions.append(decided - began)
        reward += np.where(active, np.asarray(paid, dtype=np.float64), 0.0)
        length += active
        tally.add(infos, active)
        terminated, truncated = np.asarray(terminated), np.asarray(truncated)
        ended_by_system |= active & terminated
        start = terminated | truncated
        active &= ~start
        if report is not None:
            report(int(used - active[:used].sum()))
    return Episodes(
        seeds=seeds,
        reward=reward[:used],
        length=length[:used],
        terminated=ended_by_system[:used],
        sums={name: total[:used] for name, total in tally.sums.items()},
        decision_seconds=np.asarray(decisions),
        step_seconds=np.asarray(steps),
        rows=rows,
        records=tally.records(used),
    )


def _step(env: SixgymVectorEnv, policy: Policy, action: Any) -> tuple[Any, Any, Any, Any, Any]:
    try:
        return env.step(action)
    except ActionError as error:
        # The reader of the action space has checked shape, kind, finiteness and range.
        raise PolicyError(f"policy {policy_name(policy)}: {error}") from None


def policy_name(policy: object) -> str:
    """What an error message calls a policy."""
    return str(getattr(policy, "name", type(policy).__name__))


class Actor:
    """One policy in one rollout: its memory, its masks, and the check of what it returns."""

    def __init__(self, env: SixgymVectorEnv, policy: Policy, deterministic: bool) -> None:
        self._env, self._policy, self._deterministic = env, policy, deterministic
        self._memory: Any = None
        self._takes_masks = "action_masks" in inspect.signature(policy.predict).parameters

    def act(self, observation: Any, start: NDArray[np.bool_]) -> Any:
        """The actions of all rows; ``start`` marks those whose episode begins here."""
        kwargs: dict[str, Any] = {}
        if self._takes_masks:
            masks = self._env.rows.action_mask()
            kwargs["action_masks"] = None if masks is None else masks.cpu().numpy()
        action, self._memory = self._policy.predict(
            observation,
            state=self._memory,
            episode_start=start,
            deterministic=self._deterministic,
            **kwargs,
        )
        return action
