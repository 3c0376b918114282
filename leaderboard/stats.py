r"""Statistics of paired evaluations.

A score of a set of episodes is a ratio of sums, :math:`\sum_i n_i / \sum_i d_i`: the long-term
value of the objective. (The mean of the episodes' ratios weights light episodes too much and can
rank policies differently.) With :math:`d_i = 1` it is the mean.

All intervals are percentile bootstraps [standard: Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, ch. 13]. Policies are compared on the same episodes, and one resampling of the
episodes serves both (paired), so the luck of the worlds cancels. A learned policy brings one run
per training seed: training seeds and episodes are resampled independently (crossed, because all
runs play the same episodes). With a handful of training seeds this interval is too narrow, as every
bootstrap of so few is; say how many there were. [standard: Agarwal et al., "Deep RL at the Edge of
the Statistical Precipice", NeurIPS 2021, for stratified intervals and the IQM]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from sixgym.envs.core.errors import ResultError

Floats = NDArray[np.float64]

RESAMPLES = 2000
"""Bootstrap resamples: the ends of a 95 % interval then wobble by a few percent of its width."""

LEVEL = 0.95
"""Coverage of the intervals."""

BOOTSTRAP_SEED = 20260321
"""The resampling is itself seeded: the same results give the same intervals, to the last digit."""


class Interval(NamedTuple):
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def excludes(self, number: float) -> bool:
        """True if the interval lies on one side of ``number``."""
        return self.low > number or self.high < number


class Sample(NamedTuple):
    """The terms of a score for one policy.

    Attributes:
        numerator: (runs, episodes); one run per training seed, one for what does not learn.
        denominator: (runs, episodes).
    """

    numerator: Floats
    denominator: Floats

    @property
    def value(self) -> float:
        """The ratio of sums over all runs and episodes."""
        return float(self.numerator.sum() / self.denominator.sum())

    @property
    def per_episode(self) -> Floats:
        """(runs, episodes) ratio of each episode; NaN where its denominator is zero."""
        safe = np.where(self.denominator == 0.0, np.nan, self.denominator)
        return np.asarray(self.numerator / safe)


def sample(numerator: ArrayLike, denominator: ArrayLike | None = None) -> Sample:
    """A `Sample` of one run or of several.

    Args:
        numerator: (episodes,) or (runs, episodes).
        denominator: the same shape; None is one per episode, which makes the score a mean.

    Raises:
        ResultError: wrong shapes, no episodes, a value that is not finite, or nothing to divide by.
    """
    top = np.atleast_2d(np.asarray(numerator, dtype=np.float64))
    bottom = np.ones_like(top)
    if denominator is not None:
        bottom = np.atleast_2d(np.asarray(denominator, dtype=np.float64))
    if top.ndim != 2 or top.size == 0 or top.shape != bottom.shape:
        raise ResultError(
            f"score terms of shapes {top.shape} and {bottom.shape}: "
            "allowed: the same (runs, episodes), at least one of each"
        )
    if not (np.isfinite(top).all() and np.isfinite(bottom).all()):
        raise ResultError("score terms: a value is not finite")
    if bottom.sum() == 0.0:
        raise ResultError("score terms: the denominators sum to zero")
    return Sample(top, bottom)


def common(samples: Sequence[Sample]) -> list[Sample]:
    """The same samples cut to the episodes that all have: the first, as many as the shortest has.

    A slow policy has played the first episodes of a task only, so that is where it can be paired.
    """
    shortest = min(one.numerator.shape[1] for one in samples)
    return [Sample(*(term[:, :shortest] for term in one)) for one in samples]


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half of all values (NaN left out)."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    return float(scipy_stats.trim_mean(flat[np.isfinite(flat)], 0.25))


def ratio_interval(one: Sample, *, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """The ratio of sums with its interval."""
    return _percentiles(one.value, _replicates(one, _episode_counts(one, resamples)), level)


def iqm_interval(one: Sample, *, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """The interquartile mean of the episodes' own ratios with its interval."""
    values = one.per_episode
    rng = _rng("runs")
    episodes = _rng("episodes").integers(values.shape[1], size=(resamples, values.shape[1]))
    runs = rng.integers(values.shape[0], size=(resamples, values.shape[0]))
    draws = values[runs[:, :, None], episodes[:, None, :]].reshape(resamples, -1)
    if np.isfinite(draws).all():
        replicates = np.asarray(scipy_stats.trim_mean(draws, 0.25, axis=1))
    else:  # resamples then differ in how many values they have
        replicates = np.asarray([iqm(row) for row in draws])
    return _percentiles(iqm(values), replicates, level)


def paired_ratio(
    one: Sample, other: Sample, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """``one / other`` on common episodes."""
    return _paired([one, other], lambda v: v[0] / v[1], resamples, level)


def paired_difference(
    one: Sample, other: Sample, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """``one - other`` on common episodes."""
    return _paired([one, other], lambda v: v[0] - v[1], resamples, level)


def normalised_score(
    one: Sample,
    random: Sample,
    reference: Sample,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """``(one - random) / (reference - random)``: 0 plays like random, 1 like the reference."""
    return _paired(
        [one, random, reference], lambda v: (v[0] - v[1]) / (v[2] - v[1]), resamples, level
    )


def improvement(
    one: Sample,
    other: Sample,
    *,
    higher_is_better: bool = True,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Probability that ``one`` does better than ``other`` in a world: ties count half.

    The probability of improvement [standard: Agarwal et al. 2021, eq. 2] with an episode for a
    task, since both play the same: the mean over episodes of the share of pairs of runs in which
    the first one's own ratio is better. Episodes without a value in one of them are left out.

    Raises:
        ResultError: they are of different episodes.
    """
    _check_paired([one, other])
    x, y = one.per_episode[:, None, :], other.per_episode[None, :, :]
    wins = ((x > y) if higher_is_better else (x < y)) + 0.5 * (x == y)
    known = np.isfinite(x) & np.isfinite(y)
    wins = np.where(known, wins, 0.0)
    weights = _episode_counts(one, resamples)
    drawn = [_counts(f"runs {i}", n, resamples) for i, n in enumerate(wins.shape[:2])]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(wins.sum() / known.sum()) if known.any() else float("nan")
        top, bottom = (
            np.einsum("rm,rn,mne,re->r", *drawn, table.astype(np.float64), weights, optimize=True)
            for table in (wins, known)
        )
        return _percentiles(value, np.asarray(top / bottom), level)


class Profile(NamedTuple):
    """A performance profile: the share of episodes that reach a score, at each of some scores.

    Attributes:
        scores: (n,) normalised scores.
        share: (n,) of the episodes of all runs whose own score is higher.
        low: (n,) lower end of its interval.
        high: (n,) upper end.
    """

    scores: Floats
    share: Floats
    low: Floats
    high: Floats


def profile(
    values: Floats, scores: ArrayLike, *, resamples: int = RESAMPLES, level: float = LEVEL
) -> Profile:
    r"""The run-score distribution :math:`F(\tau)`, with an episode for a task.

    [standard: Agarwal et al. 2021, eq. 3]

    Args:
        values: (runs, episodes) score of each, as of `normalised_episodes`; NaN are left out.
        scores: :math:`\tau`, at which the share of higher ones is wanted.
        resamples: of runs and of episodes.
        level: coverage of the pointwise intervals.
    """
    points = np.asarray(scores, dtype=np.float64)
    known = np.isfinite(values)
    above = known & (values > points[:, None, None])
    weights = _counts("episodes", values.shape[1], resamples)
    drawn = _counts("runs 0", values.shape[0], resamples)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = above.sum((1, 2)) / known.sum()
        top = np.einsum("rs,tse,re->rt", drawn, above.astype(np.float64), weights, optimize=True)
        bottom = np.einsum("rs,se,re->r", drawn, known.astype(np.float64), weights, optimize=True)
        replicates = top / bottom[:, None]
    tail = 50.0 * (1.0 - level)
    low, high = np.nanpercentile(replicates, [tail, 100.0 - tail], axis=0)
    return Profile(points, np.asarray(share), low, high)


def normalised_episodes(one: Sample, random: Sample, reference: Sample) -> Floats:
    """(runs, episodes) each episode's own ratio, where random scores 0 and the reference 1."""
    _check_paired([one, random, reference])
    return np.asarray((one.per_episode - random.value) / (reference.value - random.value))


class Scored(NamedTuple):
    """One policy on one task, with the two that its score is normalised by."""

    one: Sample
    random: Sample
    reference: Sample


def aggregate_iqm(
    entries: Sequence[Scored], *, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """Interquartile mean of the normalised scores of all runs of all tasks.

    The bootstrap is stratified: runs and episodes are resampled within each task [standard: Agarwal
    et al. 2021, sec. 4.1]. Every task weighs the same, however many runs it has.

    Raises:
        ResultError: no tasks.
    """
    if not entries:
        raise ResultError("entries=[]: allowed: at least one task")
    most = math.lcm(*(len(e.one.numerator) for e in entries))
    values = np.concatenate(
        [np.repeat(_normalised_runs(e), most // len(e.one.numerator)) for e in entries]
    )
    replicates = []
    for place, task in enumerate(entries):
        runs, episodes = task.one.numerator.shape
        weights = _counts(f"episodes {place}", episodes, resamples)
        drawn = _rng(f"runs of {place}").integers(runs, size=(resamples, runs))
        scores = _normalised_runs(task, weights)
        picked = np.take_along_axis(scores, drawn, axis=1)
        replicates.append(np.repeat(picked, most // runs, axis=1))
    table = np.concatenate(replicates, axis=1)
    return _percentiles(iqm(values), np.asarray(scipy_stats.trim_mean(table, 0.25, axis=1)), level)


def _normalised_runs(task: Scored, weights: Floats | None = None) -> Floats:
    """(runs,) normalised score of each run, or (resamples, runs) on resampled episodes."""
    count = task.one.numerator.shape[1]
    by = np.ones((1, count)) if weights is None else weights
    own = (by @ task.one.numerator.T) / (by @ task.one.denominator.T)
    random, reference = (
        (by @ s.numerator.sum(0)) / (by @ s.denominator.sum(0))
        for s in (task.random, task.reference)
    )
    scores = (own - random[:, None]) / (reference - random)[:, None]
    return np.asarray(scores[0] if weights is None else scores)


def paired(
    samples: list[Sample],
    statistic: Callable[[list[Floats]], Floats],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Any function of the scores of several policies on common episodes.

    Args:
        samples: one for each policy, all over the same episodes.
        statistic: from the list of scores (arrays of one shape) to the quantity, elementwise.
        resamples: bootstrap resamples.
        level: coverage.
    """
    return _paired(samples, statistic, resamples, level)


def _paired(
    samples: list[Sample],
    statistic: Callable[[list[Floats]], Floats],
    resamples: int,
    level: float,
) -> Interval:
    _check_paired(samples)
    weights = _episode_counts(samples[0], resamples)
    value = statistic([np.asarray([s.value]) for s in samples])
    with np.errstate(divide="ignore", invalid="ignore"):
        replicates = statistic([_replicates(s, weights, i) for i, s in enumerate(samples)])
    return _percentiles(float(value[0]), replicates, level)


def _check_paired(samples: Sequence[Sample]) -> None:
    counts = {s.numerator.shape[1] for s in samples}
    if len(counts) != 1:
        raise ResultError(f"paired scores over {sorted(counts)} episodes: allowed: the same")


def _episode_counts(one: Sample, resamples: int) -> Floats:
    """(resamples, episodes): how often each episode is in each resample.

    Drawn from a generator of its own, so that policies with different numbers of runs still share
    the resampling of the episodes.
    """
    episodes = one.numerator.shape[1]
    return _counts("episodes", episodes, resamples)


def _replicates(one: Sample, weights: Floats, place: int = 0) -> Floats:
    """(resamples,) ratio of sums of each resample of runs and episodes.

    ``place`` is the sample's place in the comparison: training seeds of different policies are
    independent, so each place resamples its runs by a stream of its own.
    """
    runs = one.numerator.shape[0]
    drawn = _counts(f"runs {place}", runs, len(weights))
    top = np.einsum("rs,se,re->r", drawn, one.numerator, weights, optimize=True)
    bottom = np.einsum("rs,se,re->r", drawn, one.denominator, weights, optimize=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(top / bottom)


@lru_cache(maxsize=64)
def _counts(stream: str, items: int, resamples: int) -> Floats:
    """(resamples, items) how often each is drawn; kept, since a board asks for the same again."""
    drawn = _rng(stream).multinomial(items, np.full(items, 1.0 / items), size=resamples)
    counts = drawn.astype(np.float64)
    counts.flags.writeable = False
    return counts


def _rng(stream: str) -> np.random.Generator:
    return np.random.default_rng([BOOTSTRAP_SEED, *stream.encode()])


def _percentiles(value: float, replicates: Floats, level: float) -> Interval:
    finite = replicates[np.isfinite(replicates)]
    if finite.size == 0:
        return Interval(value, float("nan"), float("nan"))
    tail = 50.0 * (1.0 - level)
    low, high = np.percentile(finite, [tail, 100.0 - tail])
    return Interval(value, float(low), float(high))
