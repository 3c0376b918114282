"""Disjoint worlds: the row seeds of training, tuning, validation and evaluation never meet.

Row *i* of a batch seeded *s* is the world *s + i*, so small seeds overlap. Each use has a range of
its own, far above the small seeds that a user types (which are never mapped): a block of ``2**24``
rows for every seed ``k``.
"""

from __future__ import annotations

from typing import Literal, cast

import numpy as np

from sixgym.envs.core.errors import OptionsError, SeedError

World = Literal["train", "tuning", "validation", "evaluation"]

ROWS_PER_SEED = 2**24
"""Rows in the block of one seed."""

FIRST: dict[World, int] = {
    "train": 2**40,
    "tuning": 2**42,
    "validation": 2**43,
    "evaluation": 2**44,
}
"""First row seed of each world."""

SEEDS: dict[World, int] = {
    "train": (2**42 - 2**40) // ROWS_PER_SEED,
    "tuning": (2**43 - 2**42) // ROWS_PER_SEED,
    "validation": (2**44 - 2**43) // ROWS_PER_SEED,
    "evaluation": 2**44 // ROWS_PER_SEED,
}
"""How many seeds each world has."""


def check_row_seed(value: object) -> int:
    """A row seed as a Python integer.

    Raises:
        SeedError: not an integer, or outside ``[0, 2**62)``.
    """
    if not _is_whole(value):
        raise SeedError(f"seed={value!r}: allowed: an integer from 0 to 2**62 - 1")
    seed = int(cast("int", value))
    if not 0 <= seed < 2**62:
        raise SeedError(f"seed={seed}: allowed: 0 to 2**62 - 1")
    return seed


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)


def row_seed(world: World, seed: int) -> int:
    """First row seed of seed ``seed`` in ``world``; row *i* adds *i*.

    For evaluation the seed is the version of the task.

    Raises:
        OptionsError: there is no such world.
        SeedError: the seed is not an integer, or outside ``[0, SEEDS[world])``.
    """
    if world not in FIRST:
        raise OptionsError(f"world={world!r}: unknown; allowed: {', '.join(FIRST)}")
    if not _is_whole(seed) or not 0 <= seed < SEEDS[world]:
        raise SeedError(f"seed={seed!r}: allowed for {world}: 0 to {SEEDS[world] - 1}")
    return FIRST[world] + int(seed) * ROWS_PER_SEED
