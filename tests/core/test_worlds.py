"""Worlds: the row seeds of training, tuning, validation and evaluation never meet."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest

from sixgym.envs.core.errors import OptionsError, SeedError
from sixgym.envs.core.worlds import (
    FIRST,
    ROWS_PER_SEED,
    SEEDS,
    World,
    check_row_seed,
    row_seed,
)


def test_the_ranges_are_disjoint_and_above_what_a_user_types() -> None:
    spans = sorted((FIRST[w], FIRST[w] + SEEDS[w] * ROWS_PER_SEED) for w in get_args(World))
    assert spans[0][0] == 2**40
    for (_, end), (start, _) in pairwise(spans):
        assert end <= start
    assert spans[-1][1] <= 2**62, "row seeds are below this"


def test_the_numbers_are_those_of_the_design() -> None:
    assert row_seed("train", 3) == 2**40 + 3 * 2**24
    assert row_seed("tuning", 0) == 2**42
    assert row_seed("validation", 1) == 2**43 + 2**24
    assert row_seed("evaluation", 2) == 2**44 + 2 * 2**24


def test_the_last_seed_of_a_world_ends_before_the_next_world() -> None:
    last = row_seed("train", SEEDS["train"] - 1) + ROWS_PER_SEED - 1
    assert last < row_seed("tuning", 0)


@pytest.mark.parametrize("seed", [-1, SEEDS["train"], 2**32])
def test_a_seed_outside_its_world_is_refused(seed: int) -> None:
    with pytest.raises(SeedError, match="allowed for train: 0 to"):
        row_seed("train", seed)
    with pytest.raises(OptionsError, match="world='test'"):
        row_seed("test", 0)  # type: ignore[arg-type]


def test_row_seeds_are_integers_in_range() -> None:
    assert check_row_seed(2**62 - 1) == 2**62 - 1
    for bad in (-1, 2**62, 1.0, True, "1", None):
        with pytest.raises(SeedError, match="seed="):
            check_row_seed(bad)
