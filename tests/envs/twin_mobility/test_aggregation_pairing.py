"""Who hands over to whom: the enumeration is exact, directions and idle agents are as said."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from aggregation_cases import system
from numpy.typing import NDArray

from sixgym.baselines.twin_mobility.aggregation_matching import blossom, by_weight
from sixgym.envs.twin_mobility.aggregation_pairing import (
    IDLE_BIDS,
    NOBODY,
    Pairing,
    by_bids,
    by_costs,
    by_scores,
    pairings,
)
from sixgym.envs.twin_mobility.aggregation_round import potential_field_cost

ROWS = 40


def drawn(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric values, and who is active."""
    generator = torch.Generator().manual_seed(seed)
    value = torch.rand(ROWS, count, count, generator=generator, dtype=torch.float64)
    active = torch.rand(ROWS, count, generator=generator) < 0.75
    return value + value.transpose(1, 2), active


def most(value: NDArray[np.float64], left: list[int]) -> float:
    """The largest total by plain recursion; one of an odd number sits idle."""
    if len(left) < 2:
        return 0.0
    if len(left) % 2:
        return max(most(value, left[:k] + left[k + 1 :]) for k in range(len(left)))
    first, rest = left[0], left[1:]
    return max(
        value[first, other] + most(value, rest[:k] + rest[k + 1 :]) for k, other in enumerate(rest)
    )


@pytest.mark.parametrize(
    ("nodes", "count"), [(2, 1), (4, 3), (6, 15), (8, 105), (10, 945), (12, 10_395)]
)
def test_there_are_as_many_pairings_as_the_double_factorial(nodes: int, count: int) -> None:
    found = pairings(nodes)
    assert len(found) == count
    assert len({tuple(one) for one in found}) == count
    assert all(sorted(i for pair in one for i in pair) == list(range(nodes)) for one in found)


@pytest.mark.parametrize("count", range(2, 9))
def test_the_best_pairing_is_that_of_a_brute_force_and_of_edmonds(count: int) -> None:
    """Item 24, up to eight agents, some of them inactive; and no more sit idle than must."""
    table = Pairing(count)
    value, active = drawn(count)
    partner = table.best(value, active, IDLE_BIDS)
    for row in range(ROWS):
        here = [i for i in range(count) if active[row, i]]
        met = [i for i in here if partner[row, i] != NOBODY]
        assert len(here) - len(met) == len(here) % 2
        assert all(partner[row, partner[row, i]] == i for i in met)
        assert all(partner[row, i] == NOBODY for i in range(count) if i not in here)
        total = sum(float(value[row, i, partner[row, i]]) for i in met) / 2.0
        assert total == pytest.approx(most(value[row].numpy(), here), abs=1e-12)
        if len(here) < 2:
            continue
        small = value[row].numpy()[np.ix_(here, here)]
        pairs = blossom(-small)
        assert len(pairs) == len(here) // 2
        assert sum(small[i, j] for i, j in pairs) == pytest.approx(total, abs=1e-12)


def test_of_equal_pairings_the_first_is_taken_in_any_batch() -> None:
    table = Pairing(10)
    ones = torch.ones(3, 10, 10)
    active = torch.ones(3, 10, dtype=torch.bool)
    for rows in (1, 3):
        partner = table.best(ones[:rows], active[:rows], IDLE_BIDS)
        assert partner.tolist() == [[1, 0, 3, 2, 5, 4, 7, 6, 9, 8]] * rows


def test_bids_count_from_both_sides_and_the_smaller_payload_is_sent() -> None:
    """B_ij + B_ji; ties of payloads: the lower index sends."""
    bid = torch.zeros(1, 4, 4)
    bid[0, 0, 3], bid[0, 3, 0] = 0.5, 0.5
    bid[0, 0, 1] = 0.9
    active = torch.ones(1, 4, dtype=torch.bool)
    pairs = by_bids(Pairing(4), bid, active, torch.tensor([[5.0, 4.0, 4.0, 3.0]]))
    assert pairs.partner.tolist() == [[3, 2, 1, 0]]
    assert pairs.sends.tolist() == [[False, True, False, True]]


def test_scores_decide_the_pairs_and_who_sends() -> None:
    """Entry (i, j) is for i sending to j; equal entries leave it to the payload."""
    score = torch.zeros(1, 4, 4)
    score[0, 3, 0], score[0, 0, 3] = 0.8, 0.3
    score[0, 1, 2] = score[0, 2, 1] = 0.4
    active = torch.ones(1, 4, dtype=torch.bool)
    pairs = by_scores(Pairing(4), score, active, torch.tensor([[1.0, 6.0, 5.0, 9.0]]))
    assert pairs.partner.tolist() == [[3, 2, 1, 0]]
    assert pairs.sends.tolist() == [[False, False, True, True]]


def test_costs_are_symmetrised_by_the_cheaper_direction() -> None:
    """min(w_ij, w_ji) decides the pair, and its argument who sends."""
    cost = torch.full((1, 4, 4), 5.0)
    cost[0, 2, 0], cost[0, 0, 1] = 1.0, 0.5
    cost[0, 3, 1], cost[0, 2, 3] = 1.0, 4.0
    active = torch.ones(1, 4, dtype=torch.bool)
    pairs = by_costs(Pairing(4), cost, active)
    assert pairs.partner.tolist() == [[2, 3, 0, 1]]
    assert pairs.sends.tolist() == [[False, False, True, True]]


def test_pairs_by_one_thing_may_have_their_direction_by_another() -> None:
    rank = torch.ones(1, 2, 2)
    cost = torch.tensor([[[0.0, 3.0], [2.0, 0.0]]])
    active = torch.ones(1, 2, dtype=torch.bool)
    assert by_weight(Pairing(2), rank, cost, active).sends.tolist() == [[False, True]]


@pytest.mark.parametrize("num_agents", [5, 6])
def test_the_environments_own_matching_has_the_least_total_weight(num_agents: int) -> None:
    """Mode hmap against all matchings in all directions of w_ij = E_ij + Phi_j."""
    made = system(num_agents=num_agents, pairing="hmap", preset="stress")
    key = torch.arange(6)
    state = made.start(made.start_draws.draw(key, key * 0))
    pairs = made.pair_up(state, None)
    weight = potential_field_cost(
        made.params, state.position, state.active, state.payload_bit, state.redundancy
    ).numpy()
    for row in range(6):
        senders = [i for i in range(num_agents) if pairs.sends[row, i]]
        total = sum(weight[row, i, pairs.partner[row, i]] for i in senders)
        assert len(senders) == num_agents // 2
        best = min(
            sum(weight[row, i, j] for i, j in zip(order[0::2], order[1::2], strict=False))
            for order in itertools.permutations(range(num_agents))
        )
        assert total == pytest.approx(best, rel=1e-12)
