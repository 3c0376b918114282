"""Closed forms for the shared channel: what protocols deliver, what none can exceed (dossier 5).

Saturated users with equal erasure probability unless said otherwise; a throughput S is new packets
a slot. With explicit deletes, the slot after a success is one in which the sender deletes, so that
n - 1 contend: if S0 and S1 are the success probabilities of n and n - 1 contenders, the chain of
"success in the last slot" gives S = S0 / (1 + S0 - S1). [standard; derived]
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def with_deletes(first: float, second: float) -> float:
    """S with explicit deletes.

    Args:
        first: S0, success probability of a slot in which all n contend.
        second: S1, that of one in which n - 1 do.
    """
    return first / (1.0 + first - second)


def aloha(n: int, p: float, tbler: float = 0.0, *, auto_delete: bool = False) -> float:
    """Slotted ALOHA: each of n users transmits with probability p [standard].

    Args:
        n: users.
        p: probability of transmitting.
        tbler: probability of an erasure.
        auto_delete: whether a delivered packet leaves by itself.
    """

    def success(users: int) -> float:
        return (1.0 - tbler) * users * p * (1.0 - p) ** (users - 1) if users else 0.0

    return success(n) if auto_delete else with_deletes(success(n), success(n - 1))


def best_aloha(n: int, tbler: float = 0.0, *, auto_delete: bool = False) -> float:
    """The supremum of `aloha` over p, to four digits of p.

    With explicit deletes it lies above (1 - 1/n)^(n - 1): of two users who nearly always send, one
    deletes while the other gets through, which makes 2/3 as p goes to 1.

    Args:
        n: users.
        tbler: probability of an erasure.
        auto_delete: whether a delivered packet leaves by itself.
    """
    return max(aloha(n, k / 10_000, tbler, auto_delete=auto_delete) for k in range(1, 10_000))


def csma(
    n: int,
    mini_slots: int,
    tbler: float = 0.0,
    *,
    auto_delete: bool = False,
    mini_slot_time: float = 0.0,
) -> float:
    """CSMA: each user draws one of M mini-slots, the only one at the minimum succeeds [standard].

    Args:
        n: users.
        mini_slots: M.
        tbler: probability of an erasure.
        auto_delete: whether a delivered packet leaves by itself.
        mini_slot_time: sigma, length of a mini-slot in slots; all M are waited for.
    """

    def success(users: int) -> float:
        if not users:
            return 0.0
        later = np.arange(mini_slots - 1, -1, -1) / mini_slots
        return float((1.0 - tbler) * users / mini_slots * (later ** (users - 1)).sum())

    free = success(n) if auto_delete else with_deletes(success(n), success(n - 1))
    return free / (1.0 + mini_slot_time * mini_slots)


def backoff_attempt_rate(collision: float, window: int, stages: int) -> float:
    """tau: how often a user with exponential backoff transmits [standard: Bianchi 2000].

    2 / (W0 + 1 + c W0 sum over k < m of (2 c)^k), which is Bianchi's quotient without its hole at
    c = 1/2.

    Args:
        collision: c, probability that a transmission fails.
        window: W0, contention window at stage 0.
        stages: m, last stage.
    """
    growth = math.fsum((2.0 * collision) ** k for k in range(stages))
    return 2.0 / (window + 1.0 + collision * window * growth)


def backoff(n: int, window: int, stages: int) -> tuple[float, float]:
    """Bianchi's fixed point of n saturated users, by bisection.

    Returns:
        tau, and S = n tau (1 - tau)^(n - 1) with deletes by themselves and no erasures.
    """
    low, high = 0.0, 1.0
    for _ in range(200):
        tau = 0.5 * (low + high)
        # The attempt rate falls with collisions, which rise with tau: one crossing.
        if backoff_attempt_rate(1.0 - (1.0 - tau) ** (n - 1), window, stages) > tau:
            low = tau
        else:
            high = tau
    return tau, n * tau * (1.0 - tau) ** (n - 1)


def round_robin(n: int, tbler: float = 0.0) -> float:
    """Turns in a circle: every slot is used, but a single user deletes in every other [derived]."""
    return 1.0 - tbler if n >= 2 else (1.0 - tbler) / (2.0 - tbler)


def contention_free(n: int, tbler: float = 0.0, *, is_delayed: bool = False) -> float:
    """Request, grant, transmit, acknowledge [derived].

    Args:
        n: users.
        tbler: probability of an erasure; 0 with delayed timing.
        is_delayed: whether messages are seen one slot later: a user's cycle is then 4 slots.

    Raises:
        ValueError: no closed form for delayed timing with erasures.
    """
    if not is_delayed:
        return round_robin(n, tbler)
    if tbler:
        raise ValueError(f"tbler={tbler}: allowed with delayed timing: 0")
    return min(1.0, n / 4.0)


def fair_rates(tbler: Floats) -> Floats:
    """(n,) rates of proportional fairness with long memory: equal air time [standard]."""
    return (1.0 - tbler) / len(tbler)


def independent_grants(n: int) -> float:
    """The best chance that independent coins grant exactly one of n equal rows [derived]."""
    return (1.0 - 1.0 / n) ** (n - 1) if n > 1 else 1.0


def goodput_bound(n: int, arrival_prob: float, tbler: float, slots: int) -> float:
    """New packets a slot that nobody can exceed from empty buffers, any access scheme [derived].

    One server takes a packet with probability 1 - eps from the total backlog, which grows by
    Bin(n, p) a slot, usable in the next one; buffers do not overflow. The distribution of the
    backlog is iterated exactly. It is at most (1 - eps)(T - 1)/T: the first slot finds nothing.

    Args:
        n: users.
        arrival_prob: p of each.
        tbler: eps.
        slots: T.
    """
    arrivals = np.array(
        [math.comb(n, k) * arrival_prob**k * (1.0 - arrival_prob) ** (n - k) for k in range(n + 1)]
    )
    backlog = np.array([1.0])
    served = 0.0
    for _ in range(slots):
        busy = 1.0 - float(backlog[0])
        served += (1.0 - tbler) * busy
        after = backlog.copy()
        after[1:] *= tbler
        after[:-1] += (1.0 - tbler) * backlog[1:]
        backlog = np.convolve(after, arrivals)
    return served / slots
