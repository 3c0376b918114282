"""The one-slot Stackelberg game of grants, solved by enumeration (dossier 9.1 to 9.3).

The leader announces ``m`` in {null, grant}^n, then the followers choose ``a`` in {nothing,
transmit}^n. Every buffer has a packet that was not delivered. Everything is in units of rho:

- leader: V when a packet gets through, -I otherwise (idle, collision, erasure), less c_g a grant;
- follower: V for its own packet, -C for its own failed transmission, less kappa when it transmits
  without a grant.

A message is a row and a joint action a column of the pay-off tables, both in lexicographic order.
[our choice of utilities; derived results]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TOLERANCE = 1e-9
"""A deviation must gain more than this to count as profitable."""
MOST_USERS = 8
"""Tables have 4^n entries."""


def binary_profiles(n: int) -> Ints:
    """(2^n, n) all profiles of n choices between 0 and 1, in lexicographic order."""
    return np.array(np.meshgrid(*[[0, 1]] * n, indexing="ij"), dtype=np.int64).reshape(n, -1).T


@dataclass(frozen=True)
class OneSlot:
    """A one-slot game.

    Attributes:
        num_users: followers n.
        tbler: probability epsilon that a lone transmission is erased.
        gain: V, pay for a packet that gets through.
        fail_cost: C, cost to a follower of a transmission that does not.
        idle_cost: I, cost to the leader of a slot without a packet.
        grant_cost: c_g, cost to the leader of a grant.
        kappa: cost to a follower of transmitting without a grant; 0 makes messages cheap talk.
        backlog_pay: mu, pay to the leader for each SDU in the buffer of the one served.
        backlog: (n,) SDUs in the buffers; matters with ``backlog_pay`` only.

    Raises:
        ValueError: too few or too many users, or a backlog of another length.
    """

    num_users: int = 2
    tbler: float = 0.0
    gain: float = 3.0
    fail_cost: float = 1.0
    idle_cost: float = 1.0
    grant_cost: float = 0.1
    kappa: float = 5.0
    backlog_pay: float = 0.0
    backlog: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.num_users <= MOST_USERS:
            raise ValueError(f"num_users={self.num_users}: allowed: 1 to {MOST_USERS}")
        if len(self.backlog) not in (0, self.num_users):
            raise ValueError(f"backlog={self.backlog}: allowed: one number a user")

    @cached_property
    def profiles(self) -> Ints:
        """(2^n, n): messages (1 is a grant) as well as joint actions (1 is a transmission)."""
        return binary_profiles(self.num_users)

    @cached_property
    def leader_payoff(self) -> Floats:
        """(messages, actions) U."""
        alone = self.profiles.sum(1) == 1
        served = self.profiles @ np.array(self.backlog or (0,) * self.num_users, dtype=np.float64)
        through = (1.0 - self.tbler) * (self.gain + self.backlog_pay * served)
        slot = np.where(alone, through - self.tbler * self.idle_cost, -self.idle_cost)
        payoff: Floats = slot - self.grant_cost * self.profiles.sum(1, keepdims=True)
        return payoff

    @cached_property
    def follower_payoff(self) -> Floats:
        """(n, messages, actions) u_i."""
        sends = self.profiles.T[:, None, :]
        granted = self.profiles.T[:, :, None]
        alone = (self.profiles.sum(1) == 1)[None, None, :]
        lone = (1.0 - self.tbler) * self.gain - self.tbler * self.fail_cost
        own = sends * np.where(alone, lone, -self.fail_cost)
        payoff: Floats = own - self.kappa * sends * (1 - granted)
        return payoff

    def column_of_deviation(self, user: int) -> Ints:
        """(actions,) the column in which this user alone has changed its mind."""
        return np.arange(2**self.num_users) ^ (1 << (self.num_users - 1 - user))


def environment(game: OneSlot) -> dict[str, Any]:
    """What makes `sixgym/LlmMac-v0` this game: one slot, rewards in units of rho.

    Raises:
        ValueError: the game pays for backlog, or charges another price for a failed transmission
            than rho, which the environment does not.
    """
    if (game.backlog_pay, game.fail_cost) != (0.0, 1.0):
        raise ValueError(
            f"backlog_pay={game.backlog_pay}, fail_cost={game.fail_cost}: "
            "allowed in the environment: 0, 1"
        )
    return {
        "max_episode_steps": 1,
        "horizon_slots": 1,
        "n_max": game.num_users,
        "population": "fixed",
        "num_users": game.num_users,
        "initial_queue": 1,
        "arrival_prob": 0.0,
        "tbler": game.tbler,
        "mode": "selfish",
        "rho": 1.0,
        "w_new": game.gain,
        "w_idle": game.idle_cost,
        "w_col": game.idle_cost,
        "w_era": game.idle_cost,
        "cost_grant": game.grant_cost,
        "kappa": game.kappa,
    }


class Solution(NamedTuple):
    """An equilibrium of the game with the leader moving first."""

    message: tuple[int, ...]
    action: tuple[int, ...]
    leader: float
    followers: tuple[float, ...]


def pure_equilibria(game: OneSlot) -> Bools:
    """(messages, actions) where no follower gains by changing its mind, the message given."""
    stable = np.ones_like(game.leader_payoff, dtype=np.bool_)
    for user, payoff in enumerate(game.follower_payoff):
        stable &= payoff[:, game.column_of_deviation(user)] <= payoff + TOLERANCE
    return stable


def stackelberg(game: OneSlot, *, strong: bool = True) -> Solution:
    """The best message against followers in a pure equilibrium.

    Args:
        game: what is played.
        strong: of several equilibria the followers play the one that the leader likes best; else
            the one it likes least. Ties go to the first in lexicographic order.
    """
    stable = pure_equilibria(game)
    filler = -np.inf if strong else np.inf
    payoff = np.where(stable, game.leader_payoff, filler)
    column = payoff.argmax(1) if strong else payoff.argmin(1)
    value = np.where(stable.any(1), payoff[np.arange(len(payoff)), column], -np.inf)
    best = int(np.flatnonzero(value >= value.max() - TOLERANCE)[0])
    return _solution(game, best, int(column[best]))


def _solution(game: OneSlot, row: int, column: int) -> Solution:
    return Solution(
        tuple(int(x) for x in game.profiles[row]),
        tuple(int(x) for x in game.profiles[column]),
        float(game.leader_payoff[row, column]),
        tuple(float(u) for u in game.follower_payoff[:, row, column]),
    )


def simultaneous_equilibria(game: OneSlot) -> list[Solution]:
    """Pure equilibria where the leader moves at the same time as the followers."""
    best_reply = game.leader_payoff >= game.leader_payoff.max(0) - TOLERANCE
    return [
        _solution(game, int(r), int(c)) for r, c in np.argwhere(best_reply & pure_equilibria(game))
    ]


def dominant_message(game: OneSlot) -> tuple[int, ...] | None:
    """The message that is strictly best whatever the followers do, if there is one.

    Where there is, every equilibrium of simultaneous moves has it, mixed ones included.
    """
    payoff = game.leader_payoff
    for row in range(len(payoff)):
        others = np.delete(payoff, row, axis=0)
        if (payoff[row] > others + TOLERANCE).all():
            return tuple(int(x) for x in game.profiles[row])
    return None


def value_of_commitment(game: OneSlot) -> float:
    """What the leader gains by moving first.

    Raises:
        ValueError: simultaneous moves have no, or more than one, value in pure strategies.
    """
    values = {round(s.leader, 9) for s in simultaneous_equilibria(game)}
    if len(values) != 1:
        raise ValueError(f"values of simultaneous moves: {sorted(values)}; needed: one")
    return stackelberg(game).leader - values.pop()


# ---------------------------------------------------------------------------- closed forms (9.3)


def symmetric_mix(game: OneSlot, rivals: int) -> float:
    """The probability with which each of some equal users transmits, all indifferent.

    Args:
        game: what is played; the users are granted, or messages are cheap talk.
        rivals: how many they are, at least 2.

    Raises:
        ValueError: fewer than 2.
    """
    if rivals < 2:
        raise ValueError(f"rivals={rivals}: allowed: at least 2")
    lone = (1.0 - game.tbler) * game.gain - game.tbler * game.fail_cost
    return float(1.0 - (game.fail_cost / (lone + game.fail_cost)) ** (1.0 / (rivals - 1)))


def mixed_value(game: OneSlot, rivals: int, grants: int) -> float:
    """The leader's value where ``rivals`` users mix symmetrically after ``grants`` grants."""
    p = symmetric_mix(game, rivals)
    alone = rivals * p * (1.0 - p) ** (rivals - 1)
    through = (1.0 - game.tbler) * game.gain - game.tbler * game.idle_cost
    return alone * through - (1.0 - alone) * game.idle_cost - grants * game.grant_cost


def stackelberg_value(game: OneSlot) -> float:
    """V_SE = (1 - eps) V - eps I - c_g: one grant, whatever the number of users (kappa > V)."""
    through = (1.0 - game.tbler) * game.gain - game.tbler * game.idle_cost
    return through - game.grant_cost


# ----------------------------------------------------------------- how far a pair of policies is


class Exploitability(NamedTuple):
    """What is wrong with a pair of policies; all parts are 0 in an equilibrium."""

    value: float
    """U of the pair."""
    leader_gap: float
    """V_SE less what the leader's policy is worth against followers in equilibrium."""
    regret: tuple[float, ...]
    """What each follower could gain alone, messages as the leader sends them."""

    @property
    def total(self) -> float:
        """The gap and all regrets."""
        return self.leader_gap + sum(self.regret)


def by_own_message(game: OneSlot, granted: float, not_granted: float) -> Floats:
    """(messages, n) probabilities of transmitting of users who look at their own message only."""
    return np.where(game.profiles == 1, granted, not_granted)


def action_probabilities(game: OneSlot, follower: Floats) -> Floats:
    """(messages, actions) from the users' probabilities of transmitting.

    Args:
        game: what is played.
        follower: (messages, n).
    """
    p = follower[:, None, :]
    joint: Floats = np.where(game.profiles[None] == 1, p, 1.0 - p).prod(-1)
    return joint


def advantages(game: OneSlot, follower: Floats) -> Floats:
    """(messages, n) what each user gains by transmitting over not, the others as they are."""
    gain = np.empty_like(follower)
    for user, payoff in enumerate(game.follower_payoff):
        sure = follower.copy()
        values = []
        for choice in (0.0, 1.0):
            sure[:, user] = choice
            values.append((action_probabilities(game, sure) * payoff).sum(1))
        gain[:, user] = values[1] - values[0]
    return gain


def exploitability(game: OneSlot, leader: Floats, follower: Floats) -> Exploitability:
    """How far any pair of policies is from a Stackelberg equilibrium (dossier 9.5).

    Args:
        game: what is played.
        leader: (messages,) probability of each.
        follower: (messages, n) probability of transmitting; see `by_own_message`.
    """
    value = float(leader @ (action_probabilities(game, follower) * game.leader_payoff).sum(1))
    reply = np.where(pure_equilibria(game), game.leader_payoff, -np.inf).max(1)
    gap = stackelberg(game).leader - float(leader @ reply)
    gain = advantages(game, follower)
    best = np.maximum(gain * (1.0 - follower), -gain * follower)
    return Exploitability(value, gap, tuple(float(r) for r in leader @ best))


# --------------------------------------------------------------- learning by the exact gradient


def softmax(logits: Floats) -> Floats:
    """Along the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: Floats = shifted / shifted.sum(-1, keepdims=True)
    return probabilities


def gradient_play(
    game: OneSlot,
    leader: Floats,
    follower: Floats,
    *,
    leader_step: float = 0.1,
    follower_step: float = 0.5,
) -> Iterator[tuple[float, Floats, Floats]]:
    """Both sides climb their own expected pay-off, the followers faster.

    The followers share one policy of their own message: two logits (nothing, transmit) for each
    of null and grant. Each climbs what it is paid itself, the others held fixed.

    Args:
        game: what is played.
        leader: (messages,) first logits.
        follower: (2, 2) first logits, own message by choice.
        leader_step: step of the leader's gradient ascent.
        follower_step: step of the followers'.

    Yields:
        U before the step, the leader's probabilities, and the followers' probabilities of
        transmitting (not granted, granted).
    """
    granted = game.profiles == 1
    while True:
        pi = softmax(leader)
        transmit = softmax(follower)[:, 1]
        policy = by_own_message(game, float(transmit[1]), float(transmit[0]))
        per_message = (action_probabilities(game, policy) * game.leader_payoff).sum(1)
        value = float(pi @ per_message)
        yield value, pi, transmit
        gain = pi[:, None] * advantages(game, policy)
        pull = np.array([gain[~granted].sum(), gain[granted].sum()])
        slope = pull * transmit * (1.0 - transmit)
        leader = leader + leader_step * pi * (per_message - value)
        follower = follower + follower_step * slope[:, None] * np.array([-1.0, 1.0])
