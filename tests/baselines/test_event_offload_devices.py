"""Splitting a server between devices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sixgym.baselines.event_offload.devices import (
    Response,
    alternate,
    exact_fair,
    exact_sum,
    fair_split,
    fair_value,
    fredi_bound,
    response,
    two_stage,
    utilities,
)


def test_water_filling_in_whole_units() -> None:
    """Dossier 9.14, W = 60: caps (100, 100, 10) and weights (1, 2, 3)."""
    even = fair_split(np.array([100, 100, 10]), np.ones(3), 60)
    assert even.tolist() == [25, 25, 10]
    assert fair_split(np.full(3, 100), np.array([1.0, 2.0, 3.0]), 60).tolist() == [10, 20, 30]


def device(rng: np.random.Generator, most: int) -> Response:
    """A device with random operating points, one of them without load."""
    load = np.concatenate([[0], rng.integers(1, most + 1, 12)])
    utility = np.concatenate([[0.05], 0.1 + 0.9 * rng.random(12) * (load[1:] / most)])
    return response(utility, load, most)


def test_a_response_is_the_best_within_the_load() -> None:
    utility, load = np.array([0.0, 0.5, 0.4, 0.9, 0.9]), np.array([0, 2, 3, 5, 4])
    found = response(utility, load, 6)
    assert found.utility.tolist() == [0, 0, 0.5, 0.5, 0.9, 0.9, 0.9]
    assert found.load.tolist() == [0, 0, 2, 2, 4, 4, 4]
    with pytest.raises(ValueError, match="sends nothing"):
        response(utility[1:], load[1:], 6)


@pytest.mark.parametrize("seed", range(8))
def test_the_knapsack_is_enumeration_and_nobody_beats_it(seed: int) -> None:
    """9.15: three devices, W <= 12; two-stage and AO within the exact value and FREDI's bound."""
    rng = np.random.default_rng(seed)
    devices = [device(rng, int(rng.integers(4, 9))) for _ in range(3)]
    weight, total = rng.uniform(0.5, 2.0, 3), int(rng.integers(3, 13))
    splits = [
        np.array(units)
        for units in itertools.product(*(range(len(d.utility)) for d in devices))
        if sum(units) <= total
    ]
    fair = exact_fair(devices, weight, total)
    value = fair_value(utilities(devices, fair), weight)
    assert fair.sum() <= total
    assert value == pytest.approx(
        max(fair_value(utilities(devices, s), weight) for s in splits), abs=1e-12
    )
    most = exact_sum(devices, total)
    assert utilities(devices, most).sum() == pytest.approx(
        max(utilities(devices, s).sum() for s in splits), abs=1e-12
    )
    staged, alternated = two_stage(devices, weight, total), alternate(devices, weight, total)
    assert staged.sum() <= total
    assert alternated.sum() <= total
    staged_value = fair_value(utilities(devices, staged), weight)
    assert staged_value <= value + 1e-12
    assert staged_value <= fair_value(utilities(devices, alternated), weight) + 1e-12
    assert fair_value(utilities(devices, alternated), weight) <= value + 1e-12
    if (staged > 0).all():
        assert value - staged_value <= fredi_bound(devices, weight, staged) + 1e-12
