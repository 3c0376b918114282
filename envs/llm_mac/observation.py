"""What users and base station see.

A user sees its buffer, its last move and the message it has just heard, never the others. The base
station sees the channel, the messages that went both ways, and who is there, never a buffer.

A user's features: q/B, 1(q>0), 1(q>1), its last action (three flags), its last message (a flag for
each but null), the message it has heard (a flag for each). A seat's, as the base station sees it:
taken, the user's last message (as before), the message last sent to it (a flag for each), decoded
in the last slot, joined since. The cell's: channel idle, channel undecodable, users over n_max,
time over the horizon. Empty seats are all zero, and so is the time before a user joined.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.llm_mac.codes import IDLE, NUM_ACTIONS, undecodable
from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.state import MacState

CELL_FEATURES = 4


class Sight(NamedTuple):
    """What is seen in one slot; float32."""

    user: Tensor
    """(rows, N, F) what each user sees."""
    seat: Tensor
    """(rows, N, G) what the base station sees of each seat."""
    cell: Tensor
    """(rows, 4) what it sees of the cell."""


class Facts(NamedTuple):
    """What the base station knows of the seats, (rows, N) bool each."""

    here: Tensor
    """Taken."""
    decoded: Tensor
    """A packet of it was decoded in the last slot."""
    asked: Tensor
    """Its last message was a request."""


class Observer:
    """Features of one set of parameters, looked up by the integers that they show."""

    def __init__(self, params: LlmMacParams, device: torch.device) -> None:
        self.params = p = params
        actions, ucm, dcm = (
            torch.eye(NUM_ACTIONS),
            torch.eye(p.num_ucm)[:, 1:],
            torch.eye(p.num_dcm),
        )
        q = torch.arange(p.buffer_size + 1.0)
        fill = torch.stack([q / p.buffer_size, q.gt(0).float(), q.gt(1).float()], 1)
        flag = torch.tensor([[0.0], [1.0]])
        self._users = _combinations(fill, actions, ucm, dcm).to(device)
        self._seats = _combinations(torch.ones(1, 1), ucm, dcm, flag, flag).to(device)
        self.user_features = self._users.shape[1]
        self.seat_features = self._seats.shape[1]

    @property
    def user_space(self) -> spaces.Box:
        """Of one user."""
        slots = self.params.history + 1
        return spaces.Box(0.0, 1.0, (slots * self.user_features,), np.float32)

    @property
    def bs_space(self) -> spaces.Dict:
        """Of the base station: ``rows``, a line a seat, and ``glob``."""
        p, slots = self.params, self.params.history + 1
        return spaces.Dict(
            rows=spaces.Box(0.0, 1.0, (p.n_max, slots * self.seat_features), np.float32),
            glob=spaces.Box(0.0, 1.0, (slots * CELL_FEATURES,), np.float32),
        )

    def users(self, state: MacState, heard: Tensor) -> Tensor:
        """(rows, N, F) what users see now.

        Args:
            state: at the beginning of a slot.
            heard: (rows, N) int64 the message that each has heard last.
        """
        p = self.params
        code = ((state.q * NUM_ACTIONS + state.a) * p.num_ucm + state.u) * p.num_dcm + heard
        return _look_up(self._users, code, state.here)

    def with_heard(self, seen: Tensor, message: Tensor) -> Tensor:
        """What users see with another message heard in this slot.

        Args:
            seen: (rows, N, (k + 1) F) what they saw before; of empty seats all zero.
            message: (rows, N) int64.
        """
        first, last = self.user_features - self.params.num_dcm, self.user_features
        old = seen[..., first:last]
        flags = torch.nn.functional.one_hot(message, self.params.num_dcm).to(old)
        flags = flags * old.sum(-1, keepdim=True)  # somebody has always heard something
        return torch.cat([seen[..., :first], flags, seen[..., last:]], -1)

    def seats(self, state: MacState) -> Tensor:
        """(rows, N, G) what the base station sees of the seats."""
        p, here = self.params, state.here
        code = ((state.u * p.num_dcm + state.m) * 2 + decoded_last(state)) * 2 + (state.age == 0)
        return _look_up(self._seats, code, here)

    def facts(self, seat: Tensor) -> Facts:
        """What the newest slot of the seats' features says of them.

        Args:
            seat: (rows, N, (k + 1) G) what the base station sees of the seats.
        """
        flag = seat > 0.5
        decoded = self.params.num_ucm + self.params.num_dcm
        return Facts(flag[..., 0], flag[..., decoded], flag[..., 1])

    def cell(self, state: MacState) -> Tensor:
        """(rows, 4) what it sees of the cell."""
        p, o = self.params, state.o
        parts = [
            (o == IDLE).to(torch.float32),
            (o == undecodable(p.n_max)).to(torch.float32),
            state.here.sum(1) / p.n_max,
            (state.slot / p.horizon_slots).clamp_max(1.0),
        ]
        return torch.stack(parts, 1)

    def sight(self, state: MacState, heard: Tensor) -> Sight:
        """All that is seen in a slot, without what was seen before."""
        return Sight(self.users(state, heard), self.seats(state), self.cell(state))

    def remember(self, state: MacState, heard: Tensor, stays: Tensor) -> Sight:
        """What is past after the slot: the last k slots of users who stay."""
        if self.params.history == 0:
            return Sight(state.past_user, state.past_seat, state.past_cell)
        now = self.sight(state, heard)
        past = (state.past_user, state.past_seat, state.past_cell)
        joined = [torch.cat([a, b], -1)[..., : b.shape[-1]] for a, b in zip(now, past, strict=True)]
        keep = stays.unsqueeze(-1)
        return Sight(joined[0] * keep, joined[1] * keep, joined[2])

    def no_past(self, rows: int, device: torch.device) -> Sight:
        """What is past at the start: zeros."""
        p, k = self.params, self.params.history
        sizes = (
            (p.n_max, k * self.user_features),
            (p.n_max, k * self.seat_features),
            (k * CELL_FEATURES,),
        )
        return Sight(*(torch.zeros(rows, *size, device=device) for size in sizes))


def decoded_last(state: MacState) -> Tensor:
    """(rows, N) int64: 1 for the user who was decoded in the last slot, if it is still there."""
    seat = torch.arange(1, state.q.shape[1] + 1, device=state.q.device)
    is_same = (state.o.unsqueeze(1) == seat) & (state.age > 0)
    return is_same.to(torch.int64)


def _look_up(table: Tensor, code: Tensor, here: Tensor) -> Tensor:
    """Lines of a table whose last line is of an empty seat."""
    line = torch.where(here, code, len(table) - 1)
    return table.index_select(0, line.reshape(-1)).reshape(*line.shape, -1)


def _combinations(*tables: Tensor) -> Tensor:
    """Every combination of lines, the last table's fastest, and a line of zeros."""
    lines = tables[0]
    for table in tables[1:]:
        first = lines.repeat_interleave(len(table), 0)
        lines = torch.cat([first, table.repeat(len(lines), 1)], 1)
    return torch.cat([lines, torch.zeros(1, lines.shape[1])])
