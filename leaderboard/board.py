"""From stored rows to a ranking: scores with intervals, compared on common episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sixgym.envs.core.errors import ResultError
from sixgym.leaderboard import stats
from sixgym.leaderboard.protocol import ScoreSpec, Task
from sixgym.leaderboard.splits import split_of
from sixgym.leaderboard.stats import Interval, Sample, Scored
from sixgym.leaderboard.store import Latency, PolicyCard, Result

UNTUNED = "untuned, one seed"
"""What is said of weights that ship without a search for their hyper-parameters."""


class BoardRow(NamedTuple):
    """One policy of a board.

    Attributes:
        policy: which.
        score: the headline score, a ratio of sums, with its interval.
        iqm: interquartile mean of the episodes' own ratios.
        normalised: 0 plays like random, 1 like the reference; None where a side is missing.
        to_reference: score over the reference's on common episodes; None where it is missing.
        to_best: score less that of the best baseline on common episodes; None where it is missing.
        improvement: probability to do better than the best baseline in a world; None likewise.
        over_budget: scores whose budget it breaks; a policy with any ranks below all without.
        over_training: whether a training seed learned from more than the task's training budget;
            such a policy ranks below all that did not.
        most_steps: of the environment that any one of its training seeds learned from, if known.
        episodes: that each of its runs played; fewer than the task's for a slow policy.
        others: every further score of the task, by name; NaN where it has no value.
        decision_s: median wall time of one decision: that of a batch over its rows.
        step_s: the same of the environment's step, where a solver may sit.
        latency: times of single decisions, by how many are decided at once, where they are stored.
        training_seeds: seeds of the weights; empty for what does not learn.
        training_steps: steps of the environment that all its seeds were trained for, if known.
    """

    policy: PolicyCard
    score: Interval
    iqm: Interval
    normalised: Interval | None
    to_reference: Interval | None
    to_best: Interval | None
    improvement: Interval | None
    over_budget: list[str]
    over_training: bool
    most_steps: int | None
    episodes: int
    others: dict[str, float]
    decision_s: float
    step_s: float
    latency: list[Latency]
    training_seeds: list[int]
    training_steps: int | None

    @property
    def is_ranked(self) -> bool:
        """Whether it has a rank; weights that nobody tuned are shown below those that do."""
        return self.policy.ranked

    @property
    def remarks(self) -> list[str]:
        """Why it stands where it stands, in a few words each; empty for most."""
        found = [f"over budget: {name}" for name in self.over_budget]
        if self.over_training:
            found.append(f"over budget: {self.most_steps:,} training steps")
        return found if self.is_ranked else [*found, UNTUNED]


class Board(NamedTuple):
    """All rows of one task, best first.

    Attributes:
        task: which.
        rows: policies that keep the budgets, then those that do not, then those without a rank,
            each by the headline score.
        best_baseline: the first row of a baseline that plays without foresight (no bound, and no
            oracle); None where there is none.
        results: the stored rows, by the name of the policy.
    """

    task: Task
    rows: list[BoardRow]
    best_baseline: str | None
    results: dict[str, Result]

    @property
    def headline(self) -> ScoreSpec:
        """The score that ranks."""
        return self.task.scores[0]

    @property
    def best_learned(self) -> str | None:
        """The first row of a ranked policy that learns; None where there is none."""
        names = [r.policy.name for r in self.rows if r.policy.kind == "learned" and r.is_ranked]
        return names[0] if names else None

    @property
    def split(self) -> str:
        """The split that the task is of, see `sixgym.leaderboard.splits`; empty: of none."""
        return split_of(self.task).split

    @property
    def variant(self) -> str:
        """Which task of its split it is; empty for the one that agents train for."""
        return split_of(self.task).variant

    def entry(self, name: str) -> Scored | None:
        """A policy with the two that its score is normalised by; None where one is missing."""
        names = (name, self.task.random, self.task.reference or "")
        if not all(n in self.results for n in names):
            return None
        return Scored(*stats.common([self.results[n].sample() for n in names]))


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
    # Rows that are older than budgets are judged by them like the others.
    task = max((r.task for r in results), key=_how_much_it_says)
    for result in results:
        if not result.task.agrees(task):
            raise ResultError(f"policy={result.policy.name!r}: its task differs in {task.folder}")
    by_name: dict[str, Result] = {}
    for result in results:
        if result.policy.name in by_name:
            raise ResultError(f"policy={result.policy.name!r}: twice in {task.folder}")
        by_name[result.policy.name] = result
    samples = {name: result.sample() for name, result in by_name.items()}
    broken = {name: over_budget(result, task) for name, result in by_name.items()}
    sign = -1.0 if task.scores[0].higher_is_better else 1.0

    def rank(name: str) -> tuple[bool, bool, float, str]:
        one = by_name[name]
        is_over = bool(broken[name]) or over_training(one, task)
        return not one.policy.ranked, is_over, sign * samples[name].value, name

    order = sorted(by_name, key=rank)
    fair = [name for name in order if _is_fair_baseline(by_name[name].policy)]
    best = fair[0] if fair else None
    others = _Others(
        random=samples.get(task.random),
        reference=samples.get(task.reference or ""),
        best=samples.get(best or ""),
        higher_is_better=task.scores[0].higher_is_better,
    )
    rows = [_row(by_name[name], task, samples[name], others, broken[name]) for name in order]
    return Board(task, rows, best, by_name)


def _how_much_it_says(task: Task) -> tuple[bool, bool, bool]:
    """What a task says that older ones do not."""
    return task.has_budgets, task.training_budget is not None, task.is_bandit is not None


def most_steps(result: Result) -> int | None:
    """Steps of the environment that any one training seed of a row learned from, if known."""
    return max(
        (r.training_steps for r in result.runs if r.training_steps is not None), default=None
    )


def over_training(result: Result, task: Task) -> bool:
    """Whether a training seed of a row learned from more than the task's training budget."""
    return task.training_budget is not None and (most_steps(result) or 0) > task.training_budget


def _is_fair_baseline(card: PolicyCard) -> bool:
    """Whether a policy is a baseline that could be run: it neither bounds nor foresees."""
    return card.source == "baseline" and card.kind != "bound" and card.sees != "oracle"


def over_budget(result: Result, task: Task) -> list[str]:
    """Scores of a row that break their budget, by name.

    A budget is broken where the whole interval of the score lies beyond it: one that is kept on
    average is not lost to the luck of the worlds.
    """
    broken = []
    for score in task.scores:
        if score.budget is None:
            continue
        try:
            found = stats.ratio_interval(result.sample(score))
        except ResultError:  # nothing was spent on anything
            continue
        if found.high < score.budget if score.higher_is_better else found.low > score.budget:
            broken.append(score.name)
    return broken


class _Others(NamedTuple):
    """What the score of a row is compared with, on the same episodes."""

    random: Sample | None
    reference: Sample | None
    best: Sample | None
    higher_is_better: bool


def _row(
    result: Result, task: Task, sample: Sample, others: _Others, broken: list[str]
) -> BoardRow:
    normalised = to_reference = to_best = improvement = None
    if others.reference is not None:
        to_reference = stats.paired_ratio(*stats.common([sample, others.reference]))
        if others.random is not None:
            three = stats.common([sample, others.random, others.reference])
            normalised = stats.normalised_score(*three)
    if others.best is not None:
        two = stats.common([sample, others.best])
        to_best = stats.paired_difference(*two)
        improvement = stats.improvement(*two, higher_is_better=others.higher_is_better)
    timings = [run.timing for run in result.runs]
    steps = [run.training_steps for run in result.runs if run.training_steps is not None]
    return BoardRow(
        policy=result.policy,
        score=stats.ratio_interval(sample),
        iqm=stats.iqm_interval(sample),
        normalised=normalised,
        to_reference=to_reference,
        to_best=to_best,
        improvement=improvement,
        over_budget=broken,
        over_training=over_training(result, task),
        most_steps=most_steps(result),
        episodes=result.episodes,
        others={score.name: _value(result, score) for score in task.scores[1:]},
        decision_s=sum(t.decision_median_s / t.rows for t in timings) / len(timings),
        step_s=sum(t.step_median_s / t.rows for t in timings) / len(timings),
        latency=result.runs[0].latency,
        training_seeds=[r.training_seed for r in result.runs if r.training_seed is not None],
        training_steps=sum(steps) if steps else None,
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
