"""Random numbers of policies that throw coins: the same for an episode wherever it is played."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from sixgym.envs.backend.rng import DrawTable, episode_key

if TYPE_CHECKING:
    from sixgym.envs.core.vector_view import SixgymVectorEnv

Floats = NDArray[np.float64]


class Coins:
    """Uniform numbers of a policy: once attached a hash of row seed, episode and step.

    Args:
        count: numbers a row and step.
        stream: name of the random stream; policies of one name meet the same numbers.
    """

    def __init__(self, count: int, stream: str) -> None:
        self._stream = stream
        self._table = DrawTable({stream: ("uniform", (count,))}, dtype=torch.float64)
        self._calls = 0
        self.env: SixgymVectorEnv | None = None

    def __call__(self, rows: int) -> Floats:
        """(rows, count)."""
        if self.env is None:
            place = torch.arange(rows, dtype=torch.int64)
            key, step = episode_key(place, torch.full_like(place, self._calls)), place * 0
            self._calls += 1
        else:
            held = self.env.rows
            key, step = episode_key(held.seed, held.episode).cpu(), held.step.cpu()
        drawn: Floats = self._table.draw(key, step)[self._stream].numpy()
        return drawn
