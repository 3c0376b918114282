"""What the steps written by hand in NumPy share: the random numbers, and what they cover."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.backend.rng import episode_key
from sixgym.envs.core.rows import Rows
from sixgym.envs.core.system import System

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
SHARE = 2.0**-23

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]


class Stepped(NamedTuple):
    """One step, as of ``step`` of the environment."""

    observation: NDArray[np.float32]
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class NumpyStep(Protocol):
    """One row of a system at its default parameters, going on from a state of one row."""

    def reset(self) -> None:
        """Back to where it began."""

    def step(self, action: Any) -> Stepped:
        """One step; the action as the environment takes it."""

    def observe(self) -> NDArray[np.float32]:
        """The observation as of the environment."""


def check_params(system: System[Any, Any]) -> None:
    """Raise unless the parameters are those that the hand-written versions cover.

    Raises:
        ValueError: they are others.
    """
    if system.params != type(system.params)():
        raise ValueError("only the default parameters are written by hand")


def key_of(rows: Rows[Any, Any]) -> int:
    """The key of the episode of one row."""
    return int(episode_key(rows.seed, rows.episode)) & MASK


def unsigned(words: Any) -> Words:
    """The tensor of words of a table of draws as NumPy's."""
    return np.asarray(words.numpy()).view(np.uint64)


def word(key: int, table: int, step: int) -> int:
    """A word of the counter-based generator; see `sixgym.envs.backend.rng`."""
    z = ((key ^ table) + step * GOLDEN) & MASK
    z = ((z ^ (z >> 30)) * MIX_1) & MASK
    z = ((z ^ (z >> 27)) * MIX_2) & MASK
    return z ^ (z >> 31)


def uniform(word: int) -> float:
    """The uniform of a word, open (0, 1)."""
    return ((word >> 41) + 0.5) * SHARE


_SHIFTS = [np.uint64(n) for n in (30, 27, 31, 41, 9)]
_FACTORS = np.uint64(MIX_1), np.uint64(MIX_2)
_LOW = np.uint64(2**23 - 1)


def many_words(key: int, table: Words, step: int) -> Words:
    """As `word`, of all words of a table."""
    z = (table ^ np.uint64(key)) + np.uint64(step * GOLDEN & MASK)
    z ^= z >> _SHIFTS[0]
    z *= _FACTORS[0]
    z ^= z >> _SHIFTS[1]
    z *= _FACTORS[1]
    return z ^ (z >> _SHIFTS[2])


def many_uniforms(words: Words) -> Floats:
    """As `uniform`, of many words."""
    return ((words >> _SHIFTS[3]).astype(np.float64) + 0.5) * SHARE


def complex_normals(words: Words) -> NDArray[np.complex128]:
    """Complex normals of unit power by Box and Muller's transform."""
    radius = np.sqrt(-np.log(many_uniforms(words)))
    angle = ((words >> _SHIFTS[4]) & _LOW) * (2.0 * np.pi * SHARE)
    found = np.empty(len(words), np.complex128)
    found.real = radius * np.cos(angle)
    found.imag = radius * np.sin(angle)
    return found
