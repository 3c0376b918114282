"""Quantiles of delay, adaptation and coded signalling: by hand, then of schemes that play."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from sixgym.baselines.llm_mac import BASELINES
from sixgym.baselines.llm_mac.report import (
    RECORD,
    Estimate,
    adaptation,
    delay_quantile,
    entropy_bits,
)
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.rollout import Episodes, rollout, score_values
from sixgym.envs.llm_mac.system import LlmMac

CHANGES = {0: 3, 80: 8, 160: 2}
"""Users from each slot on in the preset ``sudden_change``."""
FIRST_SEED = 7_000


def by_hand(delays: list[list[float]], seeds: Any = None, **sums: list[float]) -> Episodes:
    """Episodes of as many slots each; a delay of 0 is a slot without a delivery, NaN after the end.

    Args:
        delays: (episodes, slots).
        seeds: row seeds.
        **sums: of metrics.
    """
    delay = np.array(delays)
    number, slots = delay.shape
    return Episodes(
        seeds=np.arange(number) if seeds is None else np.asarray(seeds),
        reward=np.zeros(number),
        length=np.full(number, slots),
        terminated=np.zeros(number, dtype=bool),
        sums={name: np.array(values) for name, values in sums.items()},
        decision_seconds=np.zeros(1),
        step_seconds=np.zeros(1),
        rows=number,
        records={"delay": delay, "delivered": np.where(np.isnan(delay), np.nan, delay > 0)},
    )


@cache
def played(name: str) -> Episodes:
    """Sixteen worlds in which five join in slot 80 and six leave before slot 160."""
    env = make_vector_env(LlmMac, 16, max_episode_steps=240, preset="sudden_change")
    policy = BASELINES[name].make(env.system)
    seeds = range(FIRST_SEED, FIRST_SEED + 16)
    return rollout(env, policy, seeds, record=(*RECORD, "users"))


# -------------------------------------------------------------------------------------- by hand


def test_a_quantile_is_over_packets_not_over_episodes() -> None:
    """19 packets of 1 slot and one of 9: 95 % got through within 1, all within 9."""
    episodes = by_hand([[1.0] * 19 + [0.0], [9.0] + [math.nan] * 19])
    assert delay_quantile(episodes, 0.95).value == 1.0
    assert delay_quantile(episodes, 0.951).value == 9.0
    assert delay_quantile(episodes, 1.0).value == 9.0
    assert delay_quantile(by_hand([[1.0, 2.0, 3.0, 4.0]]), 0.5).value == 2.0


def test_the_interval_of_a_quantile_is_that_of_all_resamples() -> None:
    """Two episodes: a resample is (a, a), (a, b) or (b, b), a quarter, a half and a quarter."""
    found = delay_quantile(by_hand([[1.0, 1.0], [5.0, 5.0]]), 0.5)
    assert found == Estimate(1.0, 1.0, 5.0)


def test_without_a_delivery_there_is_no_delay() -> None:
    found = delay_quantile(by_hand([[0.0, 0.0], [0.0, math.nan]]))
    assert all(math.isnan(number) for number in found)


def test_adaptation_counts_the_packets_of_the_window_only() -> None:
    """In slots 2 and 3 the policy delivers 1 + 1 packets, the genie 2 + 2."""
    policy = by_hand([[1.0, 1.0, 0.0, 3.0, 1.0], [1.0, 0.0, 2.0, math.nan, math.nan]])
    genie = by_hand([[0.0, 0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0, 0.0]])
    assert adaptation(policy, genie, 2, 2) == Estimate(0.5, 0.5, 0.5)
    assert adaptation(policy, genie, 1, 1).value != adaptation(policy, genie, 2, 1).value
    assert math.isnan(adaptation(policy, genie, 0, 2).value), "the genie delivered nothing"


def test_entropy_of_four_equal_words_is_two_bits() -> None:
    """A user is granted in a half, acknowledged in a quarter and told nothing in a quarter of the
    slots: 1.5 bits; it asks in a half: 1 bit; two users: 5 bits a slot."""
    always_on = (math.log2(3.0) + 1.0) * 16.0
    counts: dict[str, list[float]] = {"grants": [8.0], "acks": [4.0], "ucm": [8.0]}
    shares = by_hand([[0.0] * 8], users=[16.0], signalling_bits=[always_on], **counts)
    assert entropy_bits(shares).value == pytest.approx(5.0)
    silent = {name: [0.0] for name in counts}
    nothing = by_hand([[0.0] * 8], users=[16.0], signalling_bits=[always_on], **silent)
    assert entropy_bits(nothing).value == 0.0
    uniform: dict[str, list[float]] = {"grants": [4.0], "acks": [4.0], "ucm": [6.0]}
    most = by_hand([[0.0] * 12], users=[12.0], signalling_bits=[0.75 * always_on], **uniform)
    assert entropy_bits(most).value == pytest.approx(math.log2(6.0)), "the always-on code is best"


def test_frequencies_are_pooled_over_episodes() -> None:
    """One always granted, one never: a bit a user, not the mean of two zeros."""
    bits = [(math.log2(3.0) + 1.0) * 4.0] * 2
    pooled = by_hand(
        [[0.0] * 4] * 2, grants=[4.0, 0.0], acks=[0.0] * 2, ucm=[0.0] * 2, users=[4.0] * 2,
        signalling_bits=bits,
    )  # fmt: skip
    assert entropy_bits(pooled).value == pytest.approx(1.0)


def test_wrong_questions_are_refused() -> None:
    episodes = by_hand([[1.0, 2.0]])
    with pytest.raises(OptionsError, match=r"q=0.0: allowed: above 0, at most 1"):
        delay_quantile(episodes, 0.0)
    with pytest.raises(OptionsError, match="other row seeds"):
        adaptation(episodes, by_hand([[1.0, 2.0]], seeds=[5]), 0, 1)
    for slot, window in ((-1, 1), (0, 0), (1, 2)):
        with pytest.raises(OptionsError, match=r"within the 2 recorded"):
            adaptation(episodes, episodes, slot, window)
    bare = Episodes(**{**episodes.__dict__, "records": {}})
    with pytest.raises(OptionsError, match=r"'delay' was not recorded, nothing was"):
        delay_quantile(bare)
    with pytest.raises(OptionsError, match="'delivered' was not recorded"):
        adaptation(bare, bare, 0, 1)


def test_larger_alphabets_have_no_counts_to_code_by() -> None:
    params = {"opaque": True, "num_ucm": 4, "num_dcm": 6, "n_max": 3, "population_sizes": (3,)}
    env = make_vector_env(LlmMac, 2, max_episode_steps=4, **params)
    policy = BASELINES["aloha"].make(env.system)
    with pytest.raises(OptionsError, match="larger alphabet"):
        entropy_bits(rollout(env, policy, [1, 2]))


# --------------------------------------------------------------------------------------- played


@pytest.mark.parametrize("name", ["round_robin", "longest_queue"])
def test_the_quantile_is_that_of_the_recorded_packets(name: str) -> None:
    episodes = played(name)
    served = episodes.records["delivered"] > 0
    delays = episodes.records["delay"][served]
    assert delays.mean() == pytest.approx(score_values(LlmMac.scores, episodes)["delay"])
    assert delays.min() >= 1.0
    for q in (0.5, 0.95):
        found = delay_quantile(episodes, q)
        assert found.value == np.quantile(delays, q, method="inverted_cdf")
        assert found.low <= found.value <= found.high
        assert 1.0 <= found.low < found.high <= delays.max()


def test_a_change_is_in_force_from_its_slot_on() -> None:
    users = played("round_robin").records["users"]
    for slot, number in CHANGES.items():
        assert (users[:, slot] == number).all()
        assert slot == 0 or (users[:, slot - 1] != number).all()


@pytest.mark.parametrize("slot", CHANGES)
def test_turns_adapt_to_a_change_almost_as_the_genie_does(slot: int) -> None:
    """Turns are lost on newcomers without packets, on nobody else: 0.8 at least, 1 at most."""
    turns, genie = played("round_robin"), played("longest_queue")
    found = adaptation(turns, genie, slot)
    assert adaptation(genie, genie, slot) == Estimate(1.0, 1.0, 1.0)
    assert 0.8 <= found.low <= found.value <= found.high <= 1.0
    if slot == 160:
        assert found.value > 0.98, "those who stay are backlogged"


@pytest.mark.parametrize("name", ["round_robin", "longest_queue"])
def test_coding_by_frequency_beats_the_always_on_code(name: str) -> None:
    episodes = played(name)
    found = entropy_bits(episodes)
    always_on = episodes.sums["signalling_bits"].sum() / episodes.length.sum()
    assert 0.0 < found.low <= found.value <= found.high < always_on
    # One grant and one acknowledgement a slot, near enough, and no requests.
    users = episodes.sums["users"].sum() / episodes.length.sum()
    about = 2.0 * math.log2(users) - (users - 2.0) * math.log2(1.0 - 2.0 / users)
    assert not episodes.sums["ucm"].any()
    assert found.value == pytest.approx(about, rel=0.02)
