"""Who hands over to whom in a round: the best of all pairings, by enumeration.

All (N - 1)!! pairings are tabled (945 for ten agents), an odd number having a virtual partner. A
pair of an active and an inactive agent means that the active one sits idle; it is so expensive that
the best pairing has as few of them as there can be, none or one. [notes: eqs. 16a, 36 to 38; the
enumeration is ours, the paper names Edmonds' algorithm, which finds the same optimum]
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

IDLE_BIDS = -100.0
"""Value of a pair of an active and an inactive agent among bids, which are at most 2. [ours]"""
IDLE_COSTS = -1e6
"""The same among costs in J. [ours]"""
NOBODY = -1


class Pairs(NamedTuple):
    """Who meets whom in a round."""

    partner: Tensor
    """(rows, N) int64 seat of the partner, `NOBODY` of an agent that sits idle or has retired."""
    sends: Tensor
    """(rows, N) bool: hands over; the partner of one that sends does not."""

    @property
    def is_paired(self) -> Tensor:
        """(rows, N) bool."""
        return self.partner >= 0

    @property
    def other(self) -> Tensor:
        """(rows, N) the partner, oneself where there is none: an index that is always valid."""
        own = torch.arange(self.partner.shape[1], device=self.partner.device)
        return torch.where(self.is_paired, self.partner, own)


def pairings(nodes: int) -> list[list[tuple[int, int]]]:
    """All perfect matchings of an even number of nodes, in lexicographic order.

    Args:
        nodes: even, at least 2.

    Returns:
        (nodes - 1)!! lists of pairs (i, j), i < j.
    """

    def grow(left: list[int]) -> list[list[tuple[int, int]]]:
        if not left:
            return [[]]
        first, rest = left[0], left[1:]
        return [
            [(first, other), *more]
            for k, other in enumerate(rest)
            for more in grow(rest[:k] + rest[k + 1 :])
        ]

    return grow(list(range(nodes)))


class Pairing:
    """Picks the pairing of largest total value.

    Args:
        num_agents: N.
        device: where the tables live.
    """

    def __init__(self, num_agents: int, device: torch.device | str = "cpu") -> None:
        self.num_agents = num_agents
        self.nodes = num_agents + num_agents % 2
        found = torch.tensor(pairings(self.nodes))
        first, second = found.unbind(-1)
        pairs = torch.triu_indices(self.nodes, self.nodes, 1)
        place = torch.zeros(self.nodes, self.nodes, dtype=torch.int64)
        place[pairs[0], pairs[1]] = torch.arange(pairs.shape[1])
        members = place[first, second].to(device)
        partner = torch.zeros(len(found), self.nodes, dtype=torch.int64)
        self._partner = partner.scatter(1, first, second).scatter(1, second, first).to(device)
        self._first, self._second = pairs.to(device).unbind(0)
        self._levels: list[tuple[Tensor, int]] = []
        """Of each depth the pairs that are added there, and how many each branch may choose of."""
        branches = 1
        for depth, choices in enumerate(range(self.nodes - 1, 0, -2)):
            branches *= choices
            self._levels.append((members[:: len(found) // branches, depth], choices))

    def best(self, value: Tensor, active: Tensor, idle: float) -> Tensor:
        """Partners in the pairing of largest total value; the first of several.

        Args:
            value: (rows, N, N) symmetric value of each pair; the diagonal does not matter.
            active: (rows, N) bool.
            idle: value of a pair of an active and an inactive agent; two inactive ones have 0.

        Returns:
            (rows, N) int64, `NOBODY` of who is not in a pair of two active agents.
        """
        extra = self.nodes - self.num_agents
        here = torch.nn.functional.pad(active, (0, extra))
        worth = torch.nn.functional.pad(value.to(torch.float64), (0, extra, 0, extra))
        both = here[:, self._first] & here[:, self._second]
        either = here[:, self._first] | here[:, self._second]
        worth = torch.where(both, worth[:, self._first, self._second], idle * either)
        # Down the tree of pairings, each sum made once, and in one order for every batch size.
        total = worth.new_zeros((len(worth), 1))
        for members, choices in self._levels:
            total = (total.unsqueeze(2) + worth[:, members].unflatten(1, (-1, choices))).flatten(1)
        partner = self._partner[total.argmax(1)]
        meets = here & here.gather(1, partner)
        return torch.where(meets, partner, NOBODY)[:, : self.num_agents]


def smaller_sends(partner: Tensor, payload: Tensor) -> Pairs:
    """Pairs in which the smaller payload is sent, that of the lower index among equals. [ours].

    Args:
        partner: (rows, N) int64.
        payload: (rows, N) bit.
    """
    pairs = Pairs(partner, partner >= 0)
    other = payload.gather(1, pairs.other)
    own = torch.arange(partner.shape[1], device=partner.device)
    is_less = (payload < other) | ((payload == other) & (own < partner))
    return pairs._replace(sends=pairs.is_paired & is_less)


def by_bids(table: Pairing, bid: Tensor, active: Tensor, payload: Tensor) -> Pairs:
    """The matching of most mutual bids, B_ij + B_ji.

    Args:
        table: of the pairings.
        bid: (rows, N, N) of agent i for agent j.
        active: (rows, N) bool.
        payload: (rows, N) bit, which decides who sends.
    """
    worth = bid.to(torch.float64)
    partner = table.best(worth + worth.transpose(1, 2), active, IDLE_BIDS)
    return smaller_sends(partner, payload)


def by_scores(table: Pairing, score: Tensor, active: Tensor, payload: Tensor) -> Pairs:
    """The matching of largest scores, each pair in its better direction.

    Args:
        table: of the pairings.
        score: (rows, N, N) of agent i sending to agent j.
        active: (rows, N) bool.
        payload: (rows, N) bit, which decides where both directions score alike.
    """
    score = score.to(torch.float64)
    partner = table.best(torch.maximum(score, score.transpose(1, 2)), active, IDLE_BIDS)
    return _better_direction(smaller_sends(partner, payload), score)


def by_costs(table: Pairing, cost_j: Tensor, active: Tensor) -> Pairs:
    """The matching of least cost min(w_ij, w_ji), each pair in its cheaper direction.

    Args:
        table: of the pairings.
        cost_j: (rows, N, N) w_ij of agent i sending to agent j, at most 1e3 J.
        active: (rows, N) bool.
    """
    score = -cost_j.to(torch.float64)
    partner = table.best(torch.maximum(score, score.transpose(1, 2)), active, IDLE_COSTS)
    own = torch.arange(partner.shape[1], device=partner.device)
    return _better_direction(Pairs(partner, (own < partner) & (partner >= 0)), score)


def _better_direction(pairs: Pairs, score: Tensor) -> Pairs:
    """Turn round the pairs of which the other direction scores more."""
    other = pairs.other.unsqueeze(2)
    gives = score.gather(2, other).squeeze(2)
    takes = score.transpose(1, 2).gather(2, other).squeeze(2)
    sends = torch.where(gives == takes, pairs.sends, gives > takes)
    return pairs._replace(sends=sends & pairs.is_paired)
