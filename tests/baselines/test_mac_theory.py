"""Closed forms of the shared channel against the numbers of the dossier (4.2, 5)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sixgym.baselines.llm_mac.theory import (
    aloha,
    backoff,
    backoff_attempt_rate,
    best_aloha,
    contention_free,
    csma,
    fair_rates,
    goodput_bound,
    independent_grants,
    round_robin,
)


def test_aloha_with_one_over_n_is_the_same_in_both_modes():
    for n, value in {2: 0.5, 3: 0.4444, 4: 0.4219, 5: 0.4096, 10: 0.3874}.items():
        assert aloha(n, 1 / n) == pytest.approx(value, abs=5e-5)
        assert aloha(n, 1 / n, auto_delete=True) == pytest.approx(value, abs=5e-5)
    assert aloha(10_000, 1e-4) == pytest.approx(1 / math.e, abs=2e-5)


def test_aloha_at_one_half_with_five_users():
    assert aloha(5, 0.5, auto_delete=True) == 0.15625


def test_the_best_aloha_sends_with_one_over_n_unless_deletes_take_a_slot():
    for n in (2, 3, 5):
        assert best_aloha(n, auto_delete=True) == pytest.approx((1 - 1 / n) ** (n - 1), abs=1e-6)
        assert best_aloha(n) > best_aloha(n, auto_delete=True)
    assert best_aloha(2) == pytest.approx(2 / 3, abs=1e-4)


def test_bianchis_fixed_point_with_window_16():
    for n, value in {2: 0.187, 5: 0.278, 10: 0.327}.items():
        tau, throughput = backoff(n, 16, 5)
        assert throughput == pytest.approx(value, abs=6e-4)
        collision = 1.0 - (1.0 - tau) ** (n - 1)
        assert backoff_attempt_rate(collision, 16, 5) == pytest.approx(tau)


def test_bianchis_rate_is_his_quotient_where_that_is_defined():
    for c in (0.0, 0.2, 0.7):
        quotient = 2 * (1 - 2 * c) / ((1 - 2 * c) * 17 + c * 16 * (1 - (2 * c) ** 5))
        assert backoff_attempt_rate(c, 16, 5) == pytest.approx(quotient)
    assert backoff_attempt_rate(0.5, 16, 5) == pytest.approx(2 / (17 + 0.5 * 16 * 5))


def test_csma_with_eight_mini_slots():
    for n, value in {2: 0.875, 3: 0.8203, 5: 0.7135}.items():
        assert csma(n, 8, auto_delete=True) == pytest.approx(value, abs=5e-5)
    assert csma(3, 8) == pytest.approx(0.8678, abs=5e-5)
    assert csma(5, 8) == pytest.approx(0.7527, abs=5e-5)
    assert csma(5, 8, mini_slot_time=0.02) == pytest.approx(0.7527 / 1.16, abs=5e-5)


def test_turns_use_every_slot_unless_there_is_one_user():
    assert round_robin(1, 0.1) == pytest.approx(0.4737, abs=5e-5)
    assert [round_robin(n, 0.1) for n in (2, 5)] == [0.9, 0.9]
    assert contention_free(3, 0.1) == 0.9
    assert [contention_free(n, is_delayed=True) for n in (1, 2, 4, 6)] == [0.25, 0.5, 1.0, 1.0]
    with pytest.raises(ValueError, match="tbler"):
        contention_free(3, 0.1, is_delayed=True)


def test_proportional_fairness_gives_equal_air_time():
    assert fair_rates(np.array([0.0, 0.3, 0.6])) == pytest.approx([1 / 3, 0.7 / 3, 0.4 / 3])


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_no_independent_coins_grant_exactly_one_more_often(n):
    x = np.linspace(0.0, 1.0, 2001)
    assert independent_grants(n) == pytest.approx((n * x * (1 - x) ** (n - 1)).max(), abs=1e-6)


@pytest.mark.parametrize(
    ("p", "values"),
    [
        (0.5, {2: 0.86403, 3: 0.94455, 5: 0.95575, 8: 0.95721}),
        (0.1, {2: 0.19113, 3: 0.28569, 5: 0.47078, 8: 0.71754}),
    ],
)
def test_the_bound_of_24_slots(p, values):
    for n, value in values.items():
        assert goodput_bound(n, p, 1e-3, 24) == pytest.approx(value, abs=5e-6)


@given(st.integers(1, 6), st.floats(0.0, 1.0), st.floats(0.0, 0.9), st.integers(1, 30))
def test_the_bound_is_a_rate_that_grows_with_users_and_falls_with_erasures(n, p, tbler, slots):
    value = goodput_bound(n, p, tbler, slots)
    assert -1e-12 <= value <= (1 - tbler) * (slots - 1) / slots + 1e-9
    assert value <= n * p + 1e-9
    assert value <= goodput_bound(n + 1, p, tbler, slots) + 1e-9
    assert value >= goodput_bound(n, p, min(1.0, tbler + 0.05), slots) - 1e-9
