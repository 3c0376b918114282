"""Drawing the random numbers of several steps at once."""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws, DrawTable

MOST_STEPS = 16
"""Draws are made at most this many steps ahead."""
MOST_ROWS = 256
"""Rows times steps of one draw: beyond it the numbers cost more than the calls."""


class DrawsAhead:
    """The draws of rows, several steps at a time.

    A draw is a function of episode key and step alone, so those of the next steps can be made
    before anything is known of them; at a few rows that costs hardly more than those of one step.
    Rows that go on without a reset look ever further ahead; a reset throws the rest away.

    Args:
        table: what to draw in a step.
        rows: how many rows there are.
    """

    def __init__(self, table: DrawTable, rows: int) -> None:
        self._table = table
        self._rows = rows
        self._most = max(1, min(MOST_STEPS, MOST_ROWS // rows))
        self._offsets = torch.arange(1, self._most + 1, device=table.table.device).unsqueeze(-1)
        self._key: Tensor | None = None
        self._step: Tensor | None = None
        self._steps = 0
        self._left: list[tuple[Tensor, Draws]] = []

    def next(self, key: Tensor, step: Tensor) -> tuple[Tensor, Draws]:
        """The next step and its draws.

        Args:
            key: (rows,) int64 episode keys. Known again by identity, so it must not be written to.
            step: (rows,) int64, the last step: the tensor that this function returned, if the rows
                simply went on.

        Returns:
            ``step + 1``, and what the table draws there.
        """
        if key is not self._key or step is not self._step:
            self._left, self._steps = [], 0
        if not self._left:
            self._steps = min(max(2 * self._steps, 1), self._most)
            self._left = self._draw(key, step)
        self._key = key
        self._step, draws = self._left.pop()
        return self._step, draws

    def _draw(self, key: Tensor, step: Tensor) -> list[tuple[Tensor, Draws]]:
        """The next steps with their draws, the last one first."""
        count = self._steps
        steps = step + self._offsets[:count]
        drawn = self._table.draw(key.repeat(count), steps.flatten())
        parts = [value.split(self._rows) for value in drawn.values()]
        return [
            (now, {name: part[i] for name, part in zip(drawn, parts, strict=True)})
            for i, now in reversed(list(enumerate(steps.unbind())))
        ]
