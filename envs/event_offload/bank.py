"""The events of a pool as tensors, and drawing from them: one uniform gives label and trace row."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.event_offload.scores import EventPool, ServerMode
from sixgym.envs.event_offload.state import SPLITS

ONE, TAIL, CORRECT, CONFIRMED, FALSE_FINAL = range(5)
"""Columns of `EventBank.traits`: 1; tail; tail that the server names right; the server says tail;
head that the server calls tail."""
_INSIDE = 1.0 - 2.0**-20
"""Shrinks the slopes of a mix by a millionth, so that rounding never leads out of a class."""


class Mix(NamedTuple):
    """How the events of each row are drawn; all (rows, 1)."""

    prevalence: Tensor
    """P(tail)."""
    tail_slope: Tensor
    """Tail events of the part over P(tail)."""
    head_slope: Tensor
    """Head events of the part over P(head)."""
    first_tail: Tensor
    """int64 bank row of the part's first tail event."""
    first_head: Tensor
    """int64 bank row of the part's first head event."""


class EventBank:
    """A pool, part by part ("calib", "test", "all"), tails before heads in each.

    Args:
        pool: the events.
        prevalences: P(tail) of each state of the labels, one or two.
        server_mode: whether the server may answer "head".
        dtype: of the traits.
        device: of all tensors.
    """

    def __init__(
        self,
        pool: EventPool,
        prevalences: tuple[float, ...],
        *,
        server_mode: ServerMode = "any",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.pool = pool
        self.num_exits = pool.num_exits
        self.num_classes = pool.num_classes
        parts = [pool.part(split) for split in SPLITS]
        groups = [np.flatnonzero(part & side) for part in parts for side in (pool.tail, ~pool.tail)]
        sizes = [len(g) for g in groups]
        index = np.concatenate(groups)
        answer, tail = pool.answer(server_mode)[index], pool.tail[index]
        traits = [
            np.ones(len(index), bool),
            tail,
            tail & (answer == pool.y[index]),
            answer > 0,
            ~tail & (answer > 0),
        ]
        self.conf = torch.from_numpy(pool.conf[index]).to(device)
        """(n, N) float32 tail confidences."""
        self.traits = torch.from_numpy(np.stack(traits, 1)).to(device, dtype)
        """(n, 5) zeros and ones, see `ONE`."""
        # The traits as bits of one number: one look-up instead of five.
        powers = 2.0 ** torch.arange(len(traits), dtype=torch.float32)
        code = torch.from_numpy(np.stack(traits, 1)).float() @ powers
        self._table = torch.cat([self.conf.T, code.to(device).unsqueeze(0)]).contiguous()
        self._bits = torch.arange(len(traits), dtype=torch.int32, device=device)[:, None, None]
        self.label = torch.from_numpy(pool.y[index].astype(np.int64)).to(device)
        """(n,) true class: 0 head, 1..K tail."""
        self.answer = torch.from_numpy(answer.astype(np.int64)).to(device)
        """(n,) the server's class."""
        self.macs = torch.from_numpy(pool.macs).to(device, dtype)
        """(N,) cumulative multiply-accumulates."""
        self._states = len(prevalences)
        firsts = np.cumsum([0, *sizes[:-1]])
        mixes, starts = [], []
        for k in range(len(SPLITS)):
            tails, heads = sizes[2 * k : 2 * k + 2]
            for share in prevalences:
                slopes = tails / share, heads / max(1.0 - share, 1e-9)
                mixes.append([share, *(_INSIDE * s for s in slopes)])
                starts.append(firsts[2 * k : 2 * k + 2].tolist())
        self.mixes = torch.tensor(mixes, dtype=dtype, device=device)
        """(parts x states, 3) columns of `Mix`, by part, then state of the labels."""
        self.starts = torch.tensor(starts, device=device)
        """(parts x states, 2) int64 first rows of tails and heads."""

    def mix(self, split: Tensor, state: Tensor) -> Mix:
        """How to draw for rows.

        Args:
            split: (rows,) index of the part in `SPLITS`, a float tensor.
            state: (rows,) state of the labels, a float tensor; 0 if there is only one.
        """
        index = split.to(torch.int64)
        if self._states > 1:
            index = index * self._states + state.to(torch.int64)
        slopes, starts = self.mixes[index], self.starts[index]
        return Mix(*slopes.split(1, 1), *starts.split(1, 1))

    @staticmethod
    def draw(uniform: Tensor, mix: Mix) -> Tensor:
        """(rows, M) int64 rows of the bank, drawn with replacement.

        Below P(tail) the uniform picks a tail event, above it a head event; within either it is
        uniform again. Products are rounded down before anything is added, so a fused multiply-add
        draws the same events. (Selecting between the two would take twice as long.)

        Args:
            uniform: (rows, M) in (0, 1).
            mix: of the rows.
        """
        tails = (mix.first_head - mix.first_tail).to(uniform.dtype)
        tail = torch.minimum(uniform * mix.tail_slope, tails).floor_()
        head = ((uniform - mix.prevalence) * mix.head_slope).clamp_min_(0.0).floor_()
        return (tail + head).to(torch.int64) + mix.first_tail

    def look_up(self, events: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and traits of events, (N, rows, M) float32 and (5, rows, M) in the bank's dtype.

        Columns first: what follows goes through the exits one by one.

        Args:
            events: (rows, M) int64 rows of the bank.
        """
        flat = self._table.index_select(1, events.reshape(-1))
        columns = flat.reshape(-1, *events.shape)
        bits = (columns[self.num_exits].to(torch.int32) >> self._bits) & 1
        return columns[: self.num_exits], bits.to(self.traits.dtype)
