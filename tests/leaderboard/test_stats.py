"""Statistics: exact where they can be, against scipy where it has the same thing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy
from scipy import stats as scipy_stats

from sixgym.envs.core.errors import ResultError
from sixgym.leaderboard.stats import (
    Interval,
    Sample,
    Scored,
    aggregate_iqm,
    improvement,
    iqm,
    iqm_interval,
    normalised_episodes,
    normalised_score,
    paired,
    paired_difference,
    paired_ratio,
    profile,
    ratio_interval,
    sample,
)


def noisy(seed: int, runs: int = 1, episodes: int = 64, mean: float = 10.0) -> Sample:
    rng = np.random.default_rng(seed)
    bottom = rng.gamma(8.0, 1.0, (runs, episodes))
    return sample(mean * bottom + rng.normal(0.0, 5.0, (runs, episodes)), bottom)


def test_value_is_the_ratio_of_sums() -> None:
    assert sample([100.0, 10.0], [1.0, 10.0]).value == 10.0
    assert sample([1.0, 2.0, 6.0]).value == 3.0


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    assert iqm([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1000.0]) == 3.5  # of 2, 3, 4, 5
    assert iqm([np.nan, 1.0, 2.0, 3.0, 100.0]) == 2.5


def test_interval_equals_the_enumeration_of_all_resamples() -> None:
    """With 4 episodes all 4^4 = 256 resamples can be written down; ours must find their 2.5 % and
    97.5 % points, which are atoms of the distribution."""
    top, bottom = np.array([1.0, 2.0, 4.0, 9.0]), np.array([1.0, 1.0, 2.0, 3.0])
    every = [
        top[list(pick)].sum() / bottom[list(pick)].sum()
        for pick in itertools.product(range(4), repeat=4)
    ]
    low, high = np.quantile(every, [0.025, 0.975], method="inverted_cdf")
    found = ratio_interval(sample(top, bottom), resamples=20_000)
    assert found.value == pytest.approx(16.0 / 7.0)
    assert found.low == pytest.approx(low, rel=0.02)
    assert found.high == pytest.approx(high, rel=0.02)


def test_interval_of_a_mean_agrees_with_scipy() -> None:
    values = np.random.default_rng(3).gamma(2.0, 1.0, 200)
    before_1_15 = tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 15)
    theirs = scipy_stats.bootstrap(
        *((values,), np.mean),
        n_resamples=20_000,
        method="percentile",
        **{"random_state" if before_1_15 else "rng": np.random.default_rng(0)},
    ).confidence_interval
    ours = ratio_interval(sample(values), resamples=20_000)
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    """400 draws of 64 episodes: a 95 % interval covers in 95 % +- 3 % (2.5 s.e. = 2.7 %)."""
    hits = 0
    for seed in range(400):
        found = ratio_interval(noisy(seed), resamples=400)
        hits += found.low <= 10.0 <= found.high
    assert 0.91 <= hits / 400 <= 0.98


def test_pairing_removes_the_luck_of_the_worlds() -> None:
    """One policy earns 1 % more in every world: the paired ratio is exactly 1.01, while the
    unpaired intervals overlap widely."""
    one = noisy(1)
    better = Sample(one.numerator * 1.01, one.denominator)
    found = paired_ratio(better, one)
    assert found.low == pytest.approx(1.01, rel=1e-12)
    assert found.high == pytest.approx(1.01, rel=1e-12)
    assert found.excludes(1.0)
    assert ratio_interval(one).high > ratio_interval(better).low
    difference = paired_difference(better, one)
    assert difference.low > 0.0


def test_normalised_score_is_0_for_random_and_1_for_the_reference() -> None:
    random, reference = noisy(1, mean=5.0), noisy(2, mean=20.0)
    assert normalised_score(random, random, reference) == Interval(0.0, 0.0, 0.0)
    assert normalised_score(reference, random, reference) == Interval(1.0, 1.0, 1.0)
    half = Sample(
        (random.numerator / random.denominator + reference.numerator / reference.denominator) / 2,
        np.ones((1, 64)),
    )
    flat = [Sample(s.numerator / s.denominator, np.ones((1, 64))) for s in (random, reference)]
    assert normalised_score(half, *flat).value == pytest.approx(0.5)


def test_training_seeds_widen_the_interval() -> None:
    """Five runs with scores 8, 9, 10, 11, 12 and no luck at all within them: the mean of five
    resampled runs has standard deviation sqrt(2 / 5) = 0.632."""
    runs = np.repeat(np.array([[8.0], [9.0], [10.0], [11.0], [12.0]]), 50, axis=1)
    found = ratio_interval(sample(runs), resamples=20_000)
    assert found.value == 10.0
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.6325, rel=0.06)
    alone = ratio_interval(sample(runs[2]))
    assert (alone.low, alone.high) == (10.0, 10.0)


def test_training_seeds_of_two_policies_are_independent() -> None:
    """Two policies with the same runs, seeds unpaired: the difference varies by sqrt(2) times."""
    runs = np.repeat(np.array([[8.0], [9.0], [10.0], [11.0], [12.0]]), 50, axis=1)
    found = paired_difference(sample(runs), sample(runs.copy()), resamples=20_000)
    assert found.value == 0.0
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.6325 * 2**0.5, rel=0.06)


def test_the_same_numbers_give_the_same_interval() -> None:
    assert ratio_interval(noisy(5)) == ratio_interval(noisy(5))
    assert iqm_interval(noisy(5)) == iqm_interval(noisy(5))


def test_iqm_interval_holds_its_value() -> None:
    found = iqm_interval(noisy(7, runs=3), resamples=500)
    assert found.low < found.value < found.high


def test_any_statistic_of_several_policies() -> None:
    a, b, c = (noisy(i, mean=m) for i, m in ((1, 1.0), (2, 2.0), (3, 3.0)))
    found = paired([a, b, c], lambda v: v[0] + v[1] - v[2])
    assert found.value == pytest.approx(a.value + b.value - c.value)


@pytest.mark.parametrize(
    ("top", "bottom", "what"),
    [
        ([], None, "at least one"),
        ([1.0, 2.0], [1.0], "allowed: the same"),
        ([1.0, np.nan], None, "not finite"),
        ([1.0, 2.0], [0.0, 0.0], "sum to zero"),
    ],
)
def test_bad_terms_are_refused(top: list[float], bottom: list[float] | None, what: str) -> None:
    with pytest.raises(ResultError, match=what):
        sample(top, bottom)


def test_scores_over_different_episodes_cannot_be_paired() -> None:
    with pytest.raises(ResultError, match="allowed: the same"):
        paired_ratio(noisy(1), noisy(1, episodes=32))


def test_probability_of_improvement_by_hand() -> None:
    """Runs (1, 5) and (3, 3) against (2, 3), episode by episode: 1 < 2 and 3 > 2 in the first,
    5 > 3 and 3 = 3 in the second: (0 + 1 + 1 + 0.5) / 4."""
    one, other = sample([[1.0, 5.0], [3.0, 3.0]]), sample([2.0, 3.0])
    assert improvement(one, other).value == 0.625
    assert improvement(other, one).value == 0.375
    assert improvement(one, other, higher_is_better=False).value == 0.375
    same = improvement(other, other)
    assert same == Interval(0.5, 0.5, 0.5)


def test_probability_of_improvement_agrees_with_scipy() -> None:
    """Unpaired, it is the Mann-Whitney statistic over n m: many runs of one episode."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(0.5, 1.0, (30, 1)), rng.normal(0.0, 1.0, (20, 1))
    theirs = scipy_stats.mannwhitneyu(x.ravel(), y.ravel()).statistic / 600.0
    found = improvement(sample(x), sample(y))
    assert found.value == pytest.approx(theirs)
    assert found.low < theirs < found.high


def test_episodes_without_a_value_do_not_count_for_improvement() -> None:
    one = Sample(np.array([[2.0, 1.0, 9.0]]), np.array([[1.0, 1.0, 0.0]]))
    assert improvement(one, sample([1.0, 2.0, 3.0])).value == 0.5
    nothing = Sample(np.array([[1.0]]), np.array([[0.0]]))
    assert np.isnan(improvement(nothing, sample([1.0])).value)


def test_performance_profile_by_hand() -> None:
    """Scores 0, 1, 2 and one that is missing: 2 of 3 above 0.5, 1 of 3 above 1, none above 2."""
    found = profile(np.array([[0.0, 1.0, 2.0, np.nan]]), [-1.0, 0.5, 1.0, 2.0])
    assert found.share.tolist() == pytest.approx([1.0, 2 / 3, 1 / 3, 0.0])
    assert (found.low <= found.share).all()
    assert (found.share <= found.high).all()
    assert (found.low[0], found.high[0]) == (1.0, 1.0)
    assert (found.low[3], found.high[3]) == (0.0, 0.0)


def test_normalised_episodes_by_hand() -> None:
    """Random scores 2 and the reference 6 over all: an episode of 4 is half way."""
    random, reference = sample([1.0, 3.0]), sample([6.0, 6.0])
    values = normalised_episodes(sample([4.0, 10.0]), random, reference)
    assert values.tolist() == [[0.5, 2.0]]


def test_iqm_over_tasks_weighs_them_alike() -> None:
    """Tasks whose policy scores 0.2, 0.4, 0.6, 0.8: the middle half is 0.4 and 0.6. One of them has
    four runs: it still counts as one."""
    random, reference = sample([0.0, 0.0, 0.0]), sample([10.0, 10.0, 10.0])
    tasks = [Scored(sample([v] * 3), random, reference) for v in (2.0, 4.0, 6.0, 8.0)]
    found = aggregate_iqm(tasks)
    assert found.value == pytest.approx(0.5)
    assert found.low == pytest.approx(0.5)
    many = tasks[3]._replace(one=sample([[8.0] * 3] * 4))
    assert aggregate_iqm([*tasks[:3], many]).value == pytest.approx(0.5)
    with pytest.raises(ResultError, match="at least one task"):
        aggregate_iqm([])


def test_iqm_over_tasks_is_stratified() -> None:
    """Two tasks with five runs each; rliable's stratified bootstrap resamples within each. The
    middle half of 10 values, drawn within the tasks, lies between the outer runs of both."""
    random, reference = sample(np.zeros(40)), sample(np.ones(40))
    runs = np.linspace(0.0, 1.0, 5)[:, None] * np.ones((1, 40))
    found = aggregate_iqm([Scored(sample(runs), random, reference)] * 2, resamples=4000)
    assert found.value == pytest.approx(0.5)
    values = np.repeat(np.linspace(0.0, 1.0, 5)[:, None], 2, axis=1)
    rng = np.random.default_rng(1)
    theirs = [
        scipy_stats.trim_mean(
            np.stack([values[rng.integers(5, size=5), m] for m in range(2)]), 0.25, axis=None
        )
        for _ in range(4000)
    ]
    low, high = np.percentile(theirs, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)
