"""LLM-MAC by attention over the users there are: one policy for any number of them.

Users share one network of what a user sees. The base station embeds the seats as a set and says
whom it grants and whom it acknowledges. A base station that decides seat by seat, knowing nothing
of its other decisions, cannot single out one of several equal users: at most (1 - 1/n)^(n - 1) of
its messages have exactly one grant [derived]. So it points (a softmax over nobody and all seats),
or speaks to the seats in turn and knows what it has said (``autoregressive``); ``independent`` is
the form that cannot, which the authors' candidate scoring has [related: LLM4MAC].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sixgym.agents.team.choices import Choice, choose_among
from sixgym.agents.team.nets import (
    ALIVE,
    Acted,
    Judged,
    SeatNets,
    Seen,
    SetEncoder,
    TeamActor,
    TeamCritic,
    check_choice,
    check_size,
    mlp,
    of_the_seated,
)
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.game import Game
from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG, NUM_ACTIONS
from sixgym.envs.llm_mac.levels import Level, bs_allowed, ue_allowed
from sixgym.envs.llm_mac.system import BS, UE, LlmMac

Head = Literal["pointer", "autoregressive", "independent"]
Sharing = Literal["all", "none"]
Sight = Literal["all", "message"]
ROWS, GLOB = f"{BS}.rows", f"{BS}.glob"


class SetActor(TeamActor):
    """Base station and users of `sixgym/LlmMac-v0`.

    Args:
        game: of the users, the base station, or both.
        width: of the hidden layers.
        blocks: blocks of attention among the seats, as the base station sees them.
        heads: of the attention.
        head: how the base station speaks. ``"pointer"`` is trained with ``bs_action="pointer"`` and
            plays with ``"multi"`` too; the others need ``"multi"``.
        level: of the grammar that the moves keep to; None: the game's. Level 2 with pointers.
        sharing: ``"none"`` gives every seat's user parameters of its own; then there can be only as
            many as in training.
        users_see: ``"message"`` hides a user's own last move and message from it.

    Raises:
        PolicyError: another game, a head that its actions do not fit, or a wrong size.
    """

    def __init__(
        self,
        game: Game[Any, Any],
        *,
        width: int = 64,
        blocks: int = 1,
        heads: int = 4,
        head: Head = "pointer",
        level: int | None = None,
        sharing: Sharing = "all",
        users_see: Sight = "all",
    ) -> None:
        super().__init__(game)
        mac = mac_of(game)
        p = mac.params
        for name, value, least in (("width", width, 1), ("blocks", blocks, 0), ("heads", heads, 1)):
            check_size(name, value, least)
        if width % heads:
            raise PolicyError(f"heads={heads}: allowed: divisors of width={width}")
        check_choice("head", head, get_args(Head))
        check_choice("sharing", sharing, get_args(Sharing))
        check_choice("users_see", users_see, get_args(Sight))
        check_choice("level", p.pag_level if level is None else level, map(int, Level))
        if head != "pointer" and p.bs_action == "pointer":
            raise PolicyError(f"head={head!r}: allowed with bs_action='pointer': pointer")
        self._tells = head == "pointer" and p.bs_action == "multi"
        self.head, self.level = head, Level(p.pag_level if level is None else level)
        self._n, self._dcm, self._ucm = p.n_max, p.num_dcm, p.num_ucm
        self._user_features = mac.observer.user_features
        slots = p.history + 1
        self._speaks, self._follows = p.role != "follower", p.role != "leader"
        if self._speaks:
            inputs = slots * (mac.observer.seat_features + 4)
            self.seats = SetEncoder(inputs, width, blocks, heads)
            outputs = 2 if head == "pointer" else p.num_dcm
            said = 2 if head == "autoregressive" else 0
            self.word = mlp([2 * width + said, width, outputs], gain=0.01)
            if head == "pointer":
                self.nobody = mlp([width, width, 2], gain=0.01)
        if self._follows:
            inputs = slots * mac.observer.user_features
            layers = [inputs, width, width, NUM_ACTIONS * p.num_ucm]
            own = sharing == "none"
            self.user = SeatNets(p.n_max, layers) if own else mlp(layers, gain=0.01)
            self._hides = users_see == "message"

    @property
    def num_uniforms(self) -> int:
        """Two for pointers, else one a seat; and one a user."""
        speaks = 0 if not self._speaks else 2 if self.head == "pointer" else self._n
        return speaks + (self._n if self._follows else 0)

    def act(self, seen: Seen, uniform: Tensor, deterministic: bool) -> Acted:
        """Moves of all; see `TeamActor`."""
        moves: dict[str, Tensor] = {}
        parts = []
        if self._speaks:
            move, log_prob = self._speak(seen, uniform, deterministic)
            moves[BS] = move.unsqueeze(1)
            parts.append(log_prob.unsqueeze(1))
        if self._follows:
            choice = self._answer(self.game.hear(seen, moves))
            moves[UE] = choice.pick(uniform[:, -self._n :], deterministic)
            parts.append(choice.log_prob(moves[UE]))
        return Acted(moves, of_the_seated(torch.cat(parts, 1), seen[ALIVE]))

    def judge(self, seen: Seen, moves: Mapping[str, Tensor], notes: Tensor | None = None) -> Judged:
        """How likely moves are; see `TeamActor`."""
        log_prob, entropy = [], []
        if self._speaks:
            choice, chosen = self._spoken(seen, moves[BS][:, 0])
            log_prob.append(choice.log_prob(chosen).sum(1, keepdim=True))
            entropy.append(choice.entropy().sum(1, keepdim=True))
        if self._follows:
            choice = self._answer(self.game.hear(seen, moves))
            log_prob.append(choice.log_prob(moves[UE]))
            entropy.append(choice.entropy())
        alive = seen[ALIVE]
        return Judged(of_the_seated(torch.cat(log_prob, 1), alive), torch.cat(entropy, 1) * alive)

    # ------------------------------------------------------------------------------ base station

    def grant_logits(self, seen: Seen) -> tuple[Tensor, Tensor]:
        """Of a pointing base station: (rows, 2, 1 + N) logits and which are allowed.

        The first of the two is whom to grant, the second whom to acknowledge; place 0 is nobody.
        """
        embedded, pool, allowed = self._embedded(seen)
        own = self.word(torch.cat([embedded, pool.unsqueeze(1).expand_as(embedded)], -1))
        logits = torch.cat([self.nobody(pool).unsqueeze(1), own], 1).transpose(1, 2)
        may = allowed[..., [DCM_SG, DCM_ACK]].transpose(1, 2)
        return logits, torch.cat([torch.ones_like(may[..., :1]), may], -1)

    def _embedded(self, seen: Seen) -> tuple[Tensor, Tensor, Tensor]:
        """Embedded seats (rows, N, width), their mean over those taken, and what each may hear."""
        rows, glob = seen[ROWS][:, 0], seen[GLOB][:, 0]
        here, decoded, asked = mac_of(self.game).observer.facts(rows)
        allowed = bs_allowed(self.level, here, decoded, asked, self._dcm)
        around = glob.unsqueeze(1).expand(-1, rows.shape[1], -1)
        embedded = self.seats(torch.cat([rows, around], -1), here)
        return embedded, _mean(embedded, here), allowed

    def _speak(self, seen: Seen, uniform: Tensor, deterministic: bool) -> tuple[Tensor, Tensor]:
        """The base station's move, (rows, 2) or (rows, N), and its log-probability (rows,)."""
        if self.head == "pointer":
            choice = choose_among(*self.grant_logits(seen))
            move = choice.pick(uniform[:, :2], deterministic)
            log_prob = choice.log_prob(move).sum(1)
            return (self._told(move) if self._tells else move), log_prob
        embedded, pool, allowed = self._embedded(seen)
        message = torch.zeros(embedded.shape[:2], dtype=torch.int64, device=embedded.device)
        log_prob = torch.zeros_like(embedded[:, 0, 0])
        for seat in range(self._n):
            choice = self._words(embedded, pool, allowed, message, slice(seat, seat + 1))
            word = choice.pick(uniform[:, seat : seat + 1], deterministic)
            message = message.index_copy(1, torch.tensor([seat], device=word.device), word)
            log_prob = log_prob + choice.log_prob(word)[:, 0]
        return message, log_prob

    def _told(self, pointers: Tensor) -> Tensor:
        """(rows, N) int64: a message for each seat; an acknowledgement wins over a grant."""
        seat = torch.arange(1, self._n + 1, device=pointers.device)
        grant, ack = (part == seat for part in pointers.split(1, 1))
        return torch.where(ack, DCM_ACK, torch.where(grant, DCM_SG, DCM_NULL))

    def _spoken(self, seen: Seen, move: Tensor) -> tuple[Choice, Tensor]:
        """The choices (rows, parts, n) that a move was made of, and what was chosen."""
        if self._tells:
            raise PolicyError(
                "bs_action='multi': a pointer cannot be told from it; train with pointer"
            )
        if self.head == "pointer":
            return choose_among(*self.grant_logits(seen)), move
        embedded, pool, allowed = self._embedded(seen)
        return self._words(embedded, pool, allowed, move, slice(None)), move

    def _words(
        self, embedded: Tensor, pool: Tensor, allowed: Tensor, message: Tensor, seats: slice
    ) -> Choice:
        """What may be said to some seats, given what is said to those before them."""
        own = embedded[:, seats]
        parts = [own, pool.unsqueeze(1).expand_as(own)]
        allowed = allowed[:, seats]
        if self.head == "autoregressive":
            said = torch.stack([message == code for code in (DCM_SG, DCM_ACK)], -1)
            before = (said.cumsum(1) - said.to(torch.int64))[:, seats] > 0
            parts.append(before.to(own))
            if self.level >= Level.SINGLE_CHANNEL:
                free = torch.ones_like(allowed)
                free[..., DCM_SG], free[..., DCM_ACK] = ~before[..., 0], ~before[..., 1]
                allowed = allowed & free
        return choose_among(self.word(torch.cat(parts, -1)), allowed)

    # ------------------------------------------------------------------------------------- users

    def _answer(self, seen: Seen) -> Choice:
        """What each user does, (rows, N, moves)."""
        user = seen[UE]
        flags = user[..., self._user_features - self._dcm : self._user_features]
        here, waits = flags.sum(-1) > 0.5, user[..., 1] > 0.5
        mask = ue_allowed(self.level, here, waits.to(torch.int64), flags.argmax(-1), self._ucm)
        if self._hides:
            user = user.clone()
            user[..., 3 : self._user_features - self._dcm] = 0.0
        return choose_among(self.user(user), mask)


class SetCritic(TeamCritic):
    """Values of base station and users.

    Args:
        game: as of the actor.
        central: whether everybody's value is of everything that anybody sees; otherwise of what
            the agent itself sees.
        width: of the hidden layers.
        **of_actor: sizes that only the actor has.
    """

    def __init__(
        self, game: Game[Any, Any], *, central: bool, width: int = 64, **of_actor: Any
    ) -> None:
        super().__init__()
        mac = mac_of(game)
        p, slots = mac.params, mac.params.history + 1
        self.central = central
        self._speaks, self._follows = p.role != "follower", p.role != "leader"
        seat, user = slots * mac.observer.seat_features, slots * mac.observer.user_features
        cell = slots * 4 if self._speaks else 0
        own = (seat if self._speaks else 0) + (user if self._follows else 0)
        if central:
            self.seats = SetEncoder(own + cell, width, 0, 1)
            self.bs = mlp([width + cell, width, 1])
            self.ue = mlp([2 * width + cell, width, 1])
        else:
            if self._speaks:
                self.seats = SetEncoder(seat + cell, width, 0, 1)
                self.bs = mlp([width + cell, width, 1])
            if self._follows:
                self.ue = mlp([user, width, width, 1])

    def forward(self, before: Seen, after: Seen) -> Tensor:
        """(rows, agents) values; see `TeamCritic`."""
        values = []
        if self._speaks:
            _, pool, glob = self._look(before)
            values.append(self.bs(torch.cat([pool, glob], -1)))
        if self._follows and self.central:
            embedded, pool, glob = self._look(after)
            around = torch.cat([pool, glob], -1).unsqueeze(1).expand(-1, embedded.shape[1], -1)
            values.append(self.ue(torch.cat([embedded, around], -1)).squeeze(-1))
        elif self._follows:
            values.append(self.ue(after[UE]).squeeze(-1))
        return torch.cat(values, 1)

    def _look(self, seen: Seen) -> tuple[Tensor, Tensor, Tensor]:
        """Embedded seats, their sum over three, and the cell."""
        parts, glob = [], None
        if self._speaks:
            glob = seen[GLOB][:, 0]
            parts.append(seen[ROWS][:, 0])
        if self._follows and self.central:
            parts.append(seen[UE])
        users = parts[0]
        glob = users[:, 0, :0] if glob is None else glob
        here = seen[ALIVE][:, -users.shape[1] :] > 0 if self._follows else users[..., 0] > 0.5
        parts.append(glob.unsqueeze(1).expand(-1, users.shape[1], -1))
        embedded = self.seats(torch.cat(parts, -1), here)
        return embedded, embedded.sum(1) / 3.0, glob


def mac_of(game: Game[Any, Any]) -> LlmMac:
    """The game as LLM-MAC.

    Raises:
        PolicyError: it is another one.
    """
    if not isinstance(game, LlmMac):
        raise PolicyError(f"{type(game).__name__}: allowed: the system of sixgym/LlmMac-v0")
    return game


def _mean(embedded: Tensor, here: Tensor) -> Tensor:
    """(rows, width) over the seats that are taken; zero where none is."""
    return embedded.sum(1) / here.sum(1, keepdim=True).clamp_min(1)
