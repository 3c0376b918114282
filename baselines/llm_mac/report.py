"""What the scores of LLM-MAC cannot say: quantiles of delay, adaptation, coded signalling.

The figures of the dossier's section 7 that are no ratios of two sums over whole episodes. Each
comes with a percentile bootstrap over episodes [standard: Efron and Tibshirani 1993, ch. 13]. The
first two need each slot's metrics::

    episodes = rollout(env, policy, seeds, record=RECORD)
    print(delay_quantile(episodes, 0.95), entropy_bits(episodes))
    print(adaptation(episodes, genie_episodes, change_slot=80))

Collisions of busy slots, duplicates and the other rates are scores of the system.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.rollout import Episodes
from sixgym.envs.llm_mac.codes import NUM_DCM, NUM_UCM

Floats = NDArray[np.float64]

RECORD = ("delay", "delivered")
"""What a rollout must record for these figures."""
WINDOW = 10
"""Slots after a change in which a policy adapts, w [our choice: dossier 7]."""
RESAMPLES = 2000
LEVEL = 0.95
"""Coverage of the intervals."""
BOOTSTRAP_SEED = 20260321
"""The same episodes give the same interval."""


class Estimate(NamedTuple):
    """A value with its bootstrap interval; not a number where there is nothing to tell it by."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def delay_quantile(episodes: Episodes, q: float = 0.95, *, resamples: int = RESAMPLES) -> Estimate:
    """Delay in slots within which a share q of the delivered packets of all episodes got through.

    From arrival to first decoding, at least 1: the least such whole number. Packets that were never
    delivered do not count.

    Args:
        episodes: with ``delay`` and ``delivered`` recorded.
        q: share of the packets, in (0, 1].
        resamples: of the bootstrap.

    Raises:
        OptionsError: q is out of range, or nothing was recorded.
    """
    if not 0.0 < q <= 1.0:
        raise OptionsError(f"q={q!r}: allowed: above 0, at most 1")
    delay, delivered = _record(episodes, "delay"), _record(episodes, "delivered") > 0.0
    slots = np.where(delivered, delay, 0.0).astype(np.int64)
    longest = int(slots.max(initial=0))
    counts = np.stack([np.bincount(row[row > 0], minlength=longest + 1) for row in slots])
    return _estimate(counts.astype(np.float64), lambda sums: _quantile(sums, q), resamples)


def adaptation(
    episodes: Episodes,
    genie_episodes: Episodes,
    change_slot: int,
    window: int = WINDOW,
    *,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Goodput in the slots [t0, t0 + w) after a change of population, relative to a genie's.

    The ratio of the packets that both delivered there in all episodes, paired by world. After its
    end an episode delivers nothing.

    Args:
        episodes: of the policy, with ``delivered`` recorded.
        genie_episodes: of the genie, on the same row seeds.
        change_slot: t0, the first slot of the new population.
        window: w, in slots.
        resamples: of the bootstrap.

    Raises:
        OptionsError: the row seeds differ, the window is empty or goes beyond the records, or
            nothing was recorded.
    """
    if not np.array_equal(episodes.seeds, genie_episodes.seeds):
        raise OptionsError("genie_episodes: other row seeds; allowed: those of episodes")
    after = slice(change_slot, change_slot + window)
    served = []
    for one in (episodes, genie_episodes):
        delivered = _record(one, "delivered")
        if change_slot < 0 or window < 1 or after.stop > delivered.shape[1]:
            raise OptionsError(
                f"change_slot={change_slot}, window={window}: allowed: at least one slot, within "
                f"the {delivered.shape[1]} recorded"
            )
        served.append(np.nansum(delivered[:, after], axis=1))
    return _estimate(np.stack(served, 1), lambda sums: _over(sums[..., 0], sums[..., 1]), resamples)


def entropy_bits(episodes: Episodes, *, resamples: int = RESAMPLES) -> Estimate:
    r"""Signalling in bits a slot, each message coded by how often it is sent.

    .. math:: (H(\text{DCM}) + H(\text{UCM})) \; \text{users a slot}

    with the entropies in bits of one message to and from a user, by their frequencies over all
    users, slots and episodes; null is a message too. The always-on code of ``signalling_bits``
    takes log2 3 + log2 2 for each user instead.

    Args:
        episodes: of the words of LLM4MAC, or as many symbols.
        resamples: of the bootstrap.

    Raises:
        OptionsError: there are more messages than grants, acknowledgements and requests, whose
            counts were not kept.
    """
    sums = episodes.sums
    always_on = math.log2(NUM_DCM) + math.log2(NUM_UCM)
    if not np.allclose(sums["signalling_bits"], always_on * sums["users"], rtol=1e-4):
        raise OptionsError(
            f"episodes: of a larger alphabet; allowed: {NUM_DCM} downlink messages, {NUM_UCM} "
            "uplink messages"
        )
    terms = (sums["grants"], sums["acks"], sums["ucm"], sums["users"], episodes.length)
    return _estimate(np.stack(terms, 1).astype(np.float64), _coded_bits, resamples)


def _coded_bits(sums: Floats) -> Floats:
    """(...) bits a slot.

    Args:
        sums: (..., 5) grants, acknowledgements, requests, users, slots.
    """
    grants, acks, requests, users, slots = np.moveaxis(sums, -1, 0)
    down = _entropy(np.stack([grants, acks, users - grants - acks], -1))
    up = _entropy(np.stack([requests, users - requests], -1))
    return (down + up) * _over(users, slots)


def _entropy(counts: Floats) -> Floats:
    """(...) entropy in bits of the frequencies of (..., symbols) counts; 0 where there are none."""
    share = counts / np.maximum(counts.sum(-1, keepdims=True), 1.0)
    bits = -share * np.log2(np.where(share > 0.0, share, 1.0))
    return np.asarray(bits.sum(-1))


def _quantile(counts: Floats, q: float) -> Floats:
    """(...) least delay that a share q does not exceed, of (..., delays) counts; NaN of none."""
    below = counts.cumsum(-1)
    total = below[..., -1:]
    # The slack is for q whose product with the total misses a whole number by rounding.
    reached = (below >= q * total * (1.0 - 1e-12)).argmax(-1)
    return np.where(total[..., 0] > 0.0, reached, np.nan)


def _over(top: Floats, bottom: Floats) -> Floats:
    """Elementwise ratio; NaN over zero."""
    return np.asarray(top / np.where(bottom == 0.0, np.nan, bottom))


def _record(episodes: Episodes, name: str) -> Floats:
    if name not in episodes.records:
        kept = ", ".join(episodes.records) or "nothing"
        raise OptionsError(f"records: {name!r} was not recorded, {kept} was; allowed: {RECORD}")
    return episodes.records[name]


def _estimate(terms: Floats, statistic: Callable[[Floats], Floats], resamples: int) -> Estimate:
    """A function of sums over episodes with its interval.

    Args:
        terms: (episodes, n) what is summed.
        statistic: from (..., n) sums to (...) values.
        resamples: how many.
    """
    number = len(terms)
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    weights = rng.multinomial(number, np.full(number, 1.0 / number), size=resamples)
    value = float(statistic(terms.sum(0)))
    drawn = statistic(weights @ terms)
    finite = drawn[np.isfinite(drawn)]
    if finite.size == 0:
        return Estimate(value, math.nan, math.nan)
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(finite, [tail, 100.0 - tail])
    return Estimate(value, float(low), float(high))
