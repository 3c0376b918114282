"""LLM-MAC by plain networks of one size: every seat has its own, and the base station one for all.

What the deep multi-agent learners look like that the paper compares with [related: code of LLM4MAC:
MAPPO of two layers of 128 with layer normalisation and tanh, the base station choosing among all
3^n messages, critics on the agent's own observation]. Nothing here can be used with another number
of seats: inputs and outputs change their size.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sixgym.agents.team.choices import Choice, choose_among
from sixgym.agents.team.mac_set import GLOB, ROWS, mac_of
from sixgym.agents.team.nets import (
    ALIVE,
    Acted,
    Judged,
    SeatNets,
    Seen,
    TeamActor,
    TeamCritic,
    check_size,
    linear,
    of_the_seated,
)
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.game import Game
from sixgym.envs.llm_mac.codes import NUM_ACTIONS
from sixgym.envs.llm_mac.system import BS, UE

MOST_MESSAGES = 3**7
"""The base station's output layer has one number for every message to all."""


class FlatActor(TeamActor):
    """Base station and users with networks of their own.

    Args:
        game: in which all play, with ``bs_action="multi"``.
        width: of the two hidden layers.

    Raises:
        PolicyError: another game or role, pointers, or too many messages to choose from.
    """

    def __init__(self, game: Game[Any, Any], *, width: int = 128) -> None:
        super().__init__(game)
        p = mac_of(game).params
        check_size("width", width, 1)
        if p.role != "all" or p.bs_action != "multi":
            raise PolicyError(
                f"role={p.role!r}, bs_action={p.bs_action!r}: allowed: 'all', 'multi'"
            )
        self._n, self._dcm, self._ucm = p.n_max, p.num_dcm, p.num_ucm
        count = p.num_dcm**p.n_max
        if count > MOST_MESSAGES:
            raise PolicyError(f"n_max={p.n_max}: {count} messages; allowed: {MOST_MESSAGES}")
        seats, user = _sizes(game)
        self.bs = _normed([seats, width, width, count], gain=0.01)
        self.user = SeatNets(p.n_max, [user, width, width, NUM_ACTIONS * p.num_ucm])
        weight = torch.tensor([p.num_dcm**k for k in reversed(range(p.n_max))])
        self.place: Tensor
        self.register_buffer("place", weight, persistent=False)

    @property
    def num_uniforms(self) -> int:
        """One for the message, one a user."""
        return 1 + self._n

    def act(self, seen: Seen, uniform: Tensor, deterministic: bool) -> Acted:
        """Moves of all; see `TeamActor`."""
        said = self._said(seen)
        code = said.pick(uniform[:, 0], deterministic)
        message = torch.div(code.unsqueeze(1), self.place, rounding_mode="floor") % self._dcm
        moves = {BS: message.unsqueeze(1)}
        done = self._done(self.game.hear(seen, moves))
        moves[UE] = done.pick(uniform[:, 1:], deterministic)
        log_prob = torch.cat([said.log_prob(code).unsqueeze(1), done.log_prob(moves[UE])], 1)
        return Acted(moves, of_the_seated(log_prob, seen[ALIVE]))

    def judge(self, seen: Seen, moves: Mapping[str, Tensor], notes: Tensor | None = None) -> Judged:
        """How likely moves are; see `TeamActor`."""
        said, done = self._said(seen), self._done(self.game.hear(seen, moves))
        code = (moves[BS][:, 0] * self.place).sum(1)
        log_prob = torch.cat([said.log_prob(code).unsqueeze(1), done.log_prob(moves[UE])], 1)
        entropy = torch.cat([said.entropy().unsqueeze(1), done.entropy()], 1)
        return Judged(of_the_seated(log_prob, seen[ALIVE]), entropy * seen[ALIVE])

    def _said(self, seen: Seen) -> Choice:
        """Messages to all, (rows, D^N), the first seat's word most significant."""
        logits = self.bs(torch.cat([seen[ROWS].flatten(1), seen[GLOB].flatten(1)], 1))
        return choose_among(logits, torch.ones_like(logits, dtype=torch.bool))

    def _done(self, seen: Seen) -> Choice:
        """Moves of each user, (rows, N, moves); only a buffer that holds something can be used."""
        user = seen[UE]
        waits = (user[..., 1:2] > 0.5).expand(-1, -1, (NUM_ACTIONS - 1) * self._ucm)
        may_speak = torch.ones_like(waits[..., : self._ucm])
        return choose_among(self.user(user), torch.cat([may_speak, waits], -1))


class FlatCritic(TeamCritic):
    """Values of base station and users, a network each.

    Args:
        game: as of the actor.
        central: whether all see everything; otherwise each what it sees itself.
        width: of the two hidden layers.
    """

    def __init__(self, game: Game[Any, Any], *, central: bool, width: int = 128) -> None:
        super().__init__()
        n = mac_of(game).params.n_max
        seats, user = _sizes(game)
        self.central = central
        everything = seats + n * user
        self.bs = _normed([everything if central else seats, width, width, 1])
        self.ue = SeatNets(n, [everything if central else user, width, width, 1])

    def forward(self, before: Seen, after: Seen) -> Tensor:
        """(rows, agents) values; see `TeamCritic`."""
        cell = torch.cat([before[ROWS].flatten(1), before[GLOB].flatten(1)], 1)
        if not self.central:
            return torch.cat([self.bs(cell), self.ue(after[UE]).squeeze(-1)], 1)
        first = torch.cat([cell, before[UE].flatten(1)], 1)
        then = torch.cat([cell, after[UE].flatten(1)], 1)
        users = then.unsqueeze(1).expand(-1, after[UE].shape[1], -1)
        return torch.cat([self.bs(first), self.ue(users).squeeze(-1)], 1)


def _sizes(game: Game[Any, Any]) -> tuple[int, int]:
    """Numbers that the base station sees, and that a user sees."""
    mac = mac_of(game)
    p, slots = mac.params, mac.params.history + 1
    return slots * (p.n_max * mac.observer.seat_features + 4), slots * mac.observer.user_features


def _normed(sizes: list[int], gain: float = 1.0) -> nn.Sequential:
    """Linear layers with layer normalisation and tanh between them."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes[:-1]):
        layers += [linear(a, b), nn.LayerNorm(b), nn.Tanh()]
    return nn.Sequential(*layers, linear(sizes[-2], sizes[-1], gain))
