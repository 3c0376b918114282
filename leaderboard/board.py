"""From stored rows to a ranking: scores with intervals, compared on common episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sixgym.envs.core.errors import ResultError
from sixgym.leaderboard import stats
from sixgym.leaderboard.protocol import ScoreSpec, Task
from sixgym.leaderboard.stats import Interval, Sample
from sixgym.leaderboard.store import PolicyCard, Result


class BoardRow(NamedTuple):
    """One policy of a board.

    Attributes:
        policy: which.
        score: the headline score, a ratio of sums, with its interval.
        iqm: interquartile mean of the episodes' own ratios.
        normalised: 0 plays like random, 1 like the reference; None where a side is missing.
        to_reference: score over the reference's on common episodes; None where it is missing.
        others: every further score of the task, by name; NaN where it has no value.
        decision_s: median wall time of one decision: that of a batch over its rows.
        step_s: the same of the environment's step, where a solver may sit.
        training_seeds: seeds of the weights; empty for what does not learn.
    """

    policy: PolicyCard
    score: Interval
    iqm: Interval
    normalised: Interval | None
    to_reference: Interval | None
    others: dict[str, float]
    decision_s: float
    step_s: float
    training_seeds: list[int]


class Board(NamedTuple):
    """All rows of one task, best first."""

    task: Task
    rows: list[BoardRow]

    @property
    def headline(self) -> ScoreSpec:
        """The score that ranks."""
        return self.task.scores[0]


def make_boards(results: Sequence[Result]) -> list[Board]:
    """Group rows by task and rank each group.

    Raises:
        ResultError: two rows of one task have one name, or disagree on what the task is.
    """
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.task.folder, []).append(result)
    return [make_board(groups[folder]) for folder in sorted(groups)]


def make_board(results: Sequence[Result]) -> Board:
    """Rank the rows of one task.

    Raises:
        ResultError: two rows have one name, or disagree on what the task is.
    """
    task = results[0].task
    by_name: dict[str, Result] = {}
    for result in results:
        if result.policy.name in by_name:
            raise ResultError(f"policy={result.policy.name!r}: twice in {task.folder}")
        if result.task != task:
            raise ResultError(f"policy={result.policy.name!r}: its task differs in {task.folder}")
        by_name[result.policy.name] = result
    samples = {name: result.sample() for name, result in by_name.items()}
    random = samples.get(task.random)
    reference = samples.get(task.reference or "")
    rows = [_row(by_name[name], samples[name], random, reference) for name in by_name]
    sign = -1.0 if task.scores[0].higher_is_better else 1.0
    rows.sort(key=lambda row: (sign * row.score.value, row.policy.name))
    return Board(task, rows)


def _row(
    result: Result, sample: Sample, random: Sample | None, reference: Sample | None
) -> BoardRow:
    normalised = to_reference = None
    if reference is not None:
        to_reference = stats.paired_ratio(sample, reference)
        if random is not None:
            normalised = stats.normalised_score(sample, random, reference)
    timings = [run.timing for run in result.runs]
    return BoardRow(
        policy=result.policy,
        score=stats.ratio_interval(sample),
        iqm=stats.iqm_interval(sample),
        normalised=normalised,
        to_reference=to_reference,
        others={score.name: _value(result, score) for score in result.task.scores[1:]},
        decision_s=sum(t.decision_median_s / t.rows for t in timings) / len(timings),
        step_s=sum(t.step_median_s / t.rows for t in timings) / len(timings),
        training_seeds=[r.training_seed for r in result.runs if r.training_seed is not None],
    )


def _value(result: Result, score: ScoreSpec) -> float:
    """A secondary score; NaN rather than an error where there is nothing to divide by."""
    try:
        return result.sample(score).value
    except ResultError:
        return float("nan")


SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
"""Prefixes for what a person reads."""


COUNTS = ("1", "SDU", "slot")
"""Units that take no SI prefix."""


def prefix_of(value: float, unit: str) -> tuple[float, str]:
    """A factor to divide by and the prefixed unit, so that ``value`` reads between 1 and 1000.

    Pure numbers (unit ``1`` or none) and counts (``SDU``, ``slot``) are left as they are.
    """
    if unit in ("", "1"):
        return 1.0, ""
    if unit.partition("/")[0] in COUNTS:
        return 1.0, unit
    size = abs(value)
    for factor, prefix in SI:
        if size >= factor:
            return factor, prefix + unit
    return 1.0, unit
