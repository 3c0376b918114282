"""The small multi-slot Stackelberg game, solved by backward induction (dossier 9.4).

Complete information, no arrivals, a fixed set of users. The state is the number of SDUs in each
buffer and whether the one at its head has been delivered. In each slot the leader announces one
DCM a user, then the users choose among nothing, transmit and delete; a user with an empty buffer
can do nothing. Pay-offs are those of mode ``selfish`` in units of rho. An idle slot costs also when
all is delivered. [our choice of utilities; derived results]
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG, DELETE, NOTHING, TRANSMIT

TOLERANCE = 1e-9
"""A deviation must gain more than this to count as profitable."""

Profile = tuple[int, ...]
"""A message or a joint action: one number a user."""


class Buffers(NamedTuple):
    """The state."""

    q: Profile
    """SDUs in each buffer."""
    d: Profile
    """1 where the SDU at the head is delivered already."""


class Branch(NamedTuple):
    """One of the ways in which a slot can turn out."""

    probability: float
    after: Buffers
    team: float
    """The team's reward r."""
    leader: float
    """U."""
    followers: tuple[float, ...]
    """u_i."""


class Value(NamedTuple):
    """What play is worth from some state on."""

    leader: float
    followers: tuple[float, ...]


LeaderPolicy = Callable[[int, Buffers], Mapping[Profile, float]]
"""Slots left and state to probabilities of messages."""
FollowerPolicy = Callable[[int, Buffers, Profile, int], Mapping[int, float]]
"""Slots left, state, message and user to probabilities of its actions."""


@dataclass(frozen=True)
class MultiSlot:
    """A multi-slot game.

    Attributes:
        tbler: probability epsilon that a lone transmission is erased.
        new: pay for a packet delivered for the first time.
        dup: pay for one delivered again.
        idle: cost to the leader of a slot in which nobody transmits.
        lost: cost of a collision or an erasure: to the leader once, to each who transmitted.
        correct_delete: pay for deleting a delivered packet.
        wrong_delete: cost of deleting another.
        grant_cost: c_g, cost to the leader of a grant.
        ack_cost: c_a, cost to the leader of an acknowledgement.
        kappa: cost to a follower of transmitting without a grant.
    """

    tbler: float = 0.0
    new: float = 3.0
    dup: float = 0.0
    idle: float = 1.0
    lost: float = 1.0
    correct_delete: float = 1.0
    wrong_delete: float = 1.0
    grant_cost: float = 0.1
    ack_cost: float = 0.0
    kappa: float = 5.0

    def messages(self, state: Buffers) -> list[Profile]:
        """All of them, in lexicographic order."""
        return list(itertools.product((DCM_NULL, DCM_SG, DCM_ACK), repeat=len(state.q)))

    def actions(self, state: Buffers) -> list[Profile]:
        """The legal joint actions, in lexicographic order."""
        return list(itertools.product(*[self.choices(q) for q in state.q]))

    def choices(self, q: int) -> tuple[int, ...]:
        """The legal actions of a user with q SDUs."""
        return (NOTHING, TRANSMIT, DELETE) if q else (NOTHING,)

    def stage(self, state: Buffers, message: Profile, action: Profile) -> list[Branch]:
        """The ways in which one slot can turn out: two where a lone transmission may be erased."""
        senders = [i for i, a in enumerate(action) if a == TRANSMIT]
        if len(senders) != 1 or self.tbler == 0.0:
            return [self._branch(state, message, action, 1.0, decoded=len(senders) == 1)]
        return [
            self._branch(state, message, action, 1.0 - self.tbler, decoded=True),
            self._branch(state, message, action, self.tbler, decoded=False),
        ]

    def _branch(
        self, state: Buffers, message: Profile, action: Profile, chance: float, *, decoded: bool
    ) -> Branch:
        """One slot in which a lone transmission is, or is not, decoded."""
        q, d = list(state.q), list(state.d)
        own = [0.0] * len(q)
        senders = [i for i, a in enumerate(action) if a == TRANSMIT]
        team = 0.0 if senders else -self.idle
        if senders and not decoded:
            team = -self.lost
        for i in senders:
            own[i] = (self.dup if d[i] else self.new) if decoded else -self.lost
            team += own[i] if decoded else 0.0
            d[i] = int(d[i] or decoded)
        for i, a in enumerate(action):
            if a == DELETE:
                worth = self.correct_delete if d[i] else -self.wrong_delete
                own[i] = worth
                team += worth
                q[i], d[i] = q[i] - 1, 0
        for i in senders:
            own[i] -= self.kappa * (message[i] != DCM_SG)
        cost = self.grant_cost * message.count(DCM_SG) + self.ack_cost * message.count(DCM_ACK)
        return Branch(chance, Buffers(tuple(q), tuple(d)), team, team - cost, tuple(own))


def start(*q: int) -> Buffers:
    """The state with these buffers and nothing delivered."""
    return Buffers(q, (0,) * len(q))


class BackwardInduction:
    """Values of one game, by recursion from its end.

    Args:
        game: what is played.
    """

    def __init__(self, game: MultiSlot) -> None:
        self.game = game
        self.team_optimum = cache(self._team_optimum)
        self.solve = cache(self._solve)

    def _team_optimum(self, slots: int, state: Buffers) -> float:
        """The best sum of team rewards of anybody who moves for all."""
        if slots == 0:
            return 0.0
        silence = (DCM_NULL,) * len(state.q)
        return max(
            sum(
                b.probability * (b.team + self.team_optimum(slots - 1, b.after))
                for b in self.game.stage(state, silence, action)
            )
            for action in self.game.actions(state)
        )

    def _solve(self, slots: int, state: Buffers) -> tuple[Value, Profile, Profile]:
        """Strong Stackelberg equilibrium: its value, the message, the followers' actions.

        Of several equilibria of the followers they play the one that the leader likes best; ties
        go to the first in lexicographic order; a message without a pure equilibrium is not sent.
        """
        nothing: Profile = (NOTHING,) * len(state.q)
        if slots == 0:
            return Value(0.0, (0.0,) * len(state.q)), nothing, nothing
        best: tuple[Value, Profile, Profile] | None = None
        for message in self.game.messages(state):
            reply = self.reply(slots, state, message)
            if reply is not None and (best is None or reply[0].leader > best[0].leader + TOLERANCE):
                best = reply[0], message, reply[1]
        if best is None:
            raise ValueError(f"state {state}: no message has a pure equilibrium of the followers")
        return best

    def reply(
        self,
        slots: int,
        state: Buffers,
        message: Profile,
        onward: Callable[[int, Buffers], Value] | None = None,
    ) -> tuple[Value, Profile] | None:
        """The followers' pure equilibrium after a message that the leader likes best, if any.

        Args:
            slots: left, this one included.
            state: of the buffers.
            message: of the leader.
            onward: value of the states after; None: the equilibrium's.
        """
        later = onward or (lambda t, s: self.solve(t, s)[0])
        table = {
            action: _expect(self.game.stage(state, message, action), slots, later)
            for action in self.game.actions(state)
        }
        stable = [a for a in table if self._is_stable(state, table, a)]
        if not stable:
            return None
        best = max(table[a].leader for a in stable)
        action = next(a for a in stable if table[a].leader >= best - TOLERANCE)
        return table[action], action

    def _is_stable(self, state: Buffers, table: Mapping[Profile, Value], action: Profile) -> bool:
        for user, q in enumerate(state.q):
            held = table[action].followers[user] + TOLERANCE
            for other in self.game.choices(q):
                changed = (*action[:user], other, *action[user + 1 :])
                if table[changed].followers[user] > held:
                    return False
        return True


def _expect(branches: list[Branch], slots: int, later: Callable[[int, Buffers], Value]) -> Value:
    """The expected value of a slot and what follows."""
    leader, followers = 0.0, [0.0] * len(branches[0].followers)
    for b in branches:
        onward = later(slots - 1, b.after)
        leader += b.probability * (b.leader + onward.leader)
        for i, (now, then) in enumerate(zip(b.followers, onward.followers, strict=True)):
            followers[i] += b.probability * (now + then)
    return Value(leader, tuple(followers))


# ----------------------------------------------------------------- how far a pair of policies is


class Regret(NamedTuple):
    """What is wrong with a pair of policies; all parts are 0 in an equilibrium."""

    value: Value
    """Of the pair."""
    leader_gap: float
    """The equilibrium's U less that of the leader's policy against followers in equilibrium."""
    regret: tuple[float, ...]
    """What each follower could gain alone by its best reply over the whole episode."""

    @property
    def exploitability(self) -> float:
        """The gap and all regrets."""
        return self.leader_gap + sum(self.regret)


class PolicyPair:
    """A pair of policies in one game, by recursion from its end.

    Args:
        game: what is played.
        leader: sends messages; may mix.
        follower: of all users, told which one it is; may mix.
    """

    def __init__(self, game: MultiSlot, leader: LeaderPolicy, follower: FollowerPolicy) -> None:
        self.game = game
        self.leader = leader
        self.follower = follower
        self._induction = BackwardInduction(game)
        self.value = cache(self._value)
        self.best_reply = cache(self._best_reply)
        self.committed = cache(self._committed)

    def _joint(
        self, slots: int, state: Buffers, message: Profile, without: int = -1
    ) -> Iterator[tuple[float, Profile]]:
        """Joint actions and their probabilities; the user ``without`` does nothing for now."""
        mixes = [
            {NOTHING: 1.0} if user == without else self.follower(slots, state, message, user)
            for user in range(len(state.q))
        ]
        for action in itertools.product(*mixes):
            p = 1.0
            for mix, a in zip(mixes, action, strict=True):
                p *= mix[a]
            if p > 0.0:
                yield p, action

    def _value(self, slots: int, state: Buffers) -> Value:
        """What the pair is worth."""
        users = len(state.q)
        if slots == 0:
            return Value(0.0, (0.0,) * users)
        parts = [
            (weight * p, _expect(self.game.stage(state, message, action), slots, self.value))
            for message, weight in self.leader(slots, state).items()
            for p, action in self._joint(slots, state, message)
        ]
        return _mix(parts, users)

    def _best_reply(self, slots: int, state: Buffers, user: int) -> float:
        """What one follower gets by its best reply, all others as they are."""
        if slots == 0:
            return 0.0
        total = 0.0
        for message, weight in self.leader(slots, state).items():
            options = []
            for own in self.game.choices(state.q[user]):
                worth = 0.0
                for p, others in self._joint(slots, state, message, without=user):
                    action = (*others[:user], own, *others[user + 1 :])
                    for b in self.game.stage(state, message, action):
                        onward = self.best_reply(slots - 1, b.after, user)
                        worth += p * b.probability * (b.followers[user] + onward)
                options.append(worth)
            total += weight * max(options)
        return total

    def _committed(self, slots: int, state: Buffers) -> Value:
        """What the leader's policy is worth against followers in equilibrium with it."""
        users = len(state.q)
        if slots == 0:
            return Value(0.0, (0.0,) * users)
        parts = []
        for message, weight in self.leader(slots, state).items():
            reply = self._induction.reply(slots, state, message, self.committed)
            if reply is None:
                raise ValueError(f"message {message} in {state}: no pure equilibrium of followers")
            parts.append((weight, reply[0]))
        return _mix(parts, users)

    def regret(self, slots: int, state: Buffers) -> Regret:
        """How far the pair is from a Stackelberg equilibrium."""
        value = self.value(slots, state)
        best = self._induction.solve(slots, state)[0].leader
        gap = best - self.committed(slots, state).leader
        gains = tuple(
            self.best_reply(slots, state, user) - value.followers[user]
            for user in range(len(state.q))
        )
        return Regret(value, gap, gains)


def _mix(parts: list[tuple[float, Value]], users: int) -> Value:
    leader = sum(weight * v.leader for weight, v in parts)
    followers = tuple(sum(w * v.followers[i] for w, v in parts) for i in range(users))
    return Value(leader, followers)
