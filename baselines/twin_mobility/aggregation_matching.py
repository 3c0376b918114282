"""The outer loop of H-MAP and its rivals: who hands over to whom, for given costs of pairs.

H-MAP weighs pair (i, j) by its energy and the potential of the receiver, symmetrises by the cheaper
direction and takes the perfect matching of least weight. [notes: eqs. 34 to 38] Up to twelve agents
all pairings are compared, which is exact and batched; `blossom` is Edmonds' algorithm, which the
paper names, for one instance of any size. The oracle looks at all that can follow.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.twin_mobility.aggregation_pairing import Pairing, Pairs, by_costs, pairings
from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams
from sixgym.envs.twin_mobility.aggregation_round import (
    INFEASIBLE_J,
    centroid,
    distances,
    grid_pair_cost,
)
from sixgym.envs.twin_mobility.aggregation_state import AggregationState

MOST_ENUMERATED = 6
"""Most agents of the oracle: 1,440 courses of a mission of six."""


def field_weight(
    params: AgentAggregationParams,
    energy_j: Tensor,
    received_bit: Tensor,
    end: Tensor,
    position: Tensor,
    active: Tensor,
) -> Tensor:
    """w_ij = E_ij + zeta |p_j^end - mean p|^delta_p L_j, J.

    Args:
        params: zeta and delta_p.
        energy_j: (rows, N, N) of agent i sending to agent j.
        received_bit: (rows, N, N) what j holds afterwards.
        end: (rows, N, N, 2) where j then stands, m.
        position: (rows, N, 2) where all stand now, m.
        active: (rows, N) bool.
    """
    middle = centroid(position.double(), active)[:, None, None]
    off = (end - middle).square().sum(-1).sqrt().pow(params.path_loss_exponent)
    weight = energy_j + params.potential_weight * off * received_bit
    return torch.where(energy_j < INFEASIBLE_J, weight.clamp_max(INFEASIBLE_J), INFEASIBLE_J)


def by_weight(table: Pairing, rank: Tensor, direction_j: Tensor, active: Tensor) -> Pairs:
    """The pairing of least rank, each pair in the direction that costs less.

    Args:
        table: of the pairings.
        rank: (rows, N, N) symmetric.
        direction_j: (rows, N, N) cost of agent i sending to agent j.
        active: (rows, N) bool.
    """
    partner = by_costs(table, rank, active).partner
    pairs = Pairs(partner, partner >= 0)
    other = pairs.other.unsqueeze(2)
    gives = direction_j.gather(2, other).squeeze(2)
    takes = direction_j.transpose(1, 2).gather(2, other).squeeze(2)
    own = torch.arange(partner.shape[1], device=partner.device)
    cheaper = (gives < takes) | ((gives == takes) & (own < partner))
    return pairs._replace(sends=pairs.is_paired & cheaper)


def blossom(weight: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Minimum-weight perfect matching of one instance by Edmonds' algorithm; needs networkx.

    An odd number has a virtual partner of weight 0, so that somebody sits idle.

    Args:
        weight: (n, n) symmetric.

    Returns:
        Pairs (i, j), i < j, in order.
    """
    import networkx as nx  # type: ignore[import-untyped]

    count = len(weight)
    graph = nx.Graph()
    most = float(np.abs(weight).max()) + 1.0
    for i, j in itertools.combinations(range(count + count % 2), 2):
        cost = float(weight[i, j]) if j < count else 0.0
        graph.add_edge(i, j, weight=most - cost)
    found = nx.max_weight_matching(graph, maxcardinality=True)
    pairs = sorted((min(pair), max(pair)) for pair in found)
    return [(i, j) for i, j in pairs if j < count]


# --------------------------------------------------------------------------------------- the oracle


class Moves(NamedTuple):
    """All rounds that are possible with some active agents, by their places among the active."""

    sender: Tensor
    """(moves, pairs) int64."""
    receiver: Tensor
    """(moves, pairs) int64."""
    left: Tensor
    """(moves, agents left) int64: receivers, then who sits idle."""


@lru_cache(maxsize=8)
def moves_of(count: int) -> Moves:
    """All pairings of ``count`` agents in all directions: 120 of six, 6 of three."""
    senders, receivers, left = [], [], []
    for one in pairings(count + count % 2):
        pairs = [pair for pair in one if pair[1] < count]
        idle = [i for pair in one for i in pair if pair[1] >= count and i < count]
        for turned in itertools.product((False, True), repeat=len(pairs)):
            ways = [(j, i) if t else (i, j) for (i, j), t in zip(pairs, turned, strict=True)]
            senders.append([i for i, _ in ways])
            receivers.append([j for _, j in ways])
            left.append([j for _, j in ways] + idle)
    return Moves(torch.tensor(senders), torch.tensor(receivers), torch.tensor(left))


class Course(NamedTuple):
    """The active agents of missions at some round; tensors (courses, active) unless said."""

    row: Tensor
    """(courses,) int64: of which mission."""
    position: Tensor
    """(courses, active, 2) m."""
    payload_bit: Tensor
    redundancy: Tensor
    sources: Tensor
    """int64 bits."""


def best_first_move(
    params: AgentAggregationParams, state: AggregationState
) -> tuple[Pairs, Tensor]:
    """The first round of the cheapest course of each mission, nobody ever moving.

    All pairings and directions of all rounds to come are compared; in each pair the receiver keeps
    eta_req and the sender's ratio is the one that costs least now.

    Args:
        params: of the system.
        state: of all rows.

    Returns:
        The pairs, and (rows,) the energy that is still to be spent, J.

    Raises:
        OptionsError: more than `MOST_ENUMERATED` agents are active.
    """
    rows, seats = state.sources.shape
    partner = torch.full((rows, seats), -1, dtype=torch.int64)
    sends = torch.zeros((rows, seats), dtype=torch.bool)
    ahead = torch.zeros(rows, dtype=torch.float64)
    counts = state.num_active
    if int(counts.max()) > MOST_ENUMERATED:
        raise OptionsError(
            f"num_agents={int(counts.max())}: allowed for the oracle: {MOST_ENUMERATED}"
        )
    for count in sorted(set(counts.tolist()) - {1}):
        index = torch.nonzero(counts == count)[:, 0]
        seat = torch.nonzero(state.active[index])[:, 1].reshape(len(index), count)
        course = Course(
            index,
            state.position[index].double().gather(1, seat.unsqueeze(-1).expand(-1, -1, 2)),
            state.payload_bit[index].double().gather(1, seat),
            state.redundancy[index].double().gather(1, seat),
            state.sources[index].gather(1, seat),
        )
        energy, place = _cheapest(params, state.union_cells.double(), course)
        ahead[index] = energy
        moves = moves_of(count)
        giver = seat.gather(1, moves.sender[place])
        taker = seat.gather(1, moves.receiver[place])
        partner[index] = partner[index].scatter(1, giver, taker).scatter(1, taker, giver)
        sends[index] = sends[index].scatter(1, giver, True)
    return Pairs(partner, sends), ahead


def _cheapest(
    params: AgentAggregationParams, union_cells: Tensor, course: Course
) -> tuple[Tensor, Tensor]:
    """Energy of the cheapest course and the place of its first move in `moves_of`, (courses,)."""
    count = course.sources.shape[1]
    if count == 1:
        return torch.zeros(len(course.row), dtype=torch.float64), course.row
    moves = moves_of(count)
    cost = grid_pair_cost(params, course.payload_bit, course.redundancy, distances(course.position))
    spent = cost.energy_j[:, moves.sender, moves.receiver].sum(-1)
    held = _after(cost.payload_bit, course.payload_bit, moves)
    shared = _shared(union_cells, course)
    rho = _after(shared, course.redundancy, moves)
    both = course.sources.unsqueeze(2) | course.sources.unsqueeze(1)
    following = Course(
        course.row.repeat_interleave(len(moves.left)),
        course.position[:, moves.left].flatten(0, 1),
        held.flatten(0, 1),
        rho.flatten(0, 1),
        _after(both, course.sources, moves).flatten(0, 1),
    )
    rest, _ = _cheapest(params, union_cells, following)
    total = spent + rest.unflatten(0, spent.shape)
    best = total.min(1)
    return best.values, best.indices


def _after(of_pair: Tensor, own: Tensor, moves: Moves) -> Tensor:
    """(courses, moves, agents left) values after a round: the pair's of receivers, else the own."""
    idle = moves.left[:, moves.receiver.shape[1] :]
    return torch.cat([of_pair[:, moves.sender, moves.receiver], own[:, idle]], -1)


def _shared(union_cells: Tensor, course: Course) -> Tensor:
    """(courses, active, active) Jaccard indices of accumulated areas."""
    flat, sets = union_cells.flatten(), union_cells.shape[1]
    base = (course.row * sets).unsqueeze(1)
    own = flat[base + course.sources]
    both = course.sources.unsqueeze(2) | course.sources.unsqueeze(1)
    union = flat[base.unsqueeze(2) + both]
    return (own.unsqueeze(2) + own.unsqueeze(1) - union) / union.clamp_min(1.0)
