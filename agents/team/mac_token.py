"""LLM-MAC by a tiny language model on the tokens of the action grammar, one for all agents.

Base station and users read prompts and speak token by token, under the grammar's masks
(`sixgym.envs.llm_mac.decode`): what is said is an utterance by construction, tokens that the
grammar forces cost nothing, and the log-probability of a move is the sum over its free tokens. At
level `none` any token may follow, and what is no utterance is silence. Train with
``random_rows=True``: names of rows that nobody sits on are never learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sixgym.agents.team.choices import choose_among
from sixgym.agents.team.mac_set import SetCritic, mac_of
from sixgym.agents.team.nets import (
    ALIVE,
    Acted,
    Judged,
    Seen,
    TeamActor,
    check_choice,
    check_size,
    of_the_seated,
)
from sixgym.agents.team.token_model import Text, TokenModel
from sixgym.agents.team.token_speech import (
    CLAUSE_TOKENS,
    PLACES,
    UE_TOKENS,
    Language,
    Speaker,
    Stations,
    Users,
)
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.game import Game
from sixgym.envs.core.team_sb3 import Notes
from sixgym.envs.llm_mac.levels import Level
from sixgym.envs.llm_mac.system import BS, UE

ROWS, GLOB = f"{BS}.rows", f"{BS}.glob"


class TokenActor(TeamActor):
    """Base station and users of `sixgym/LlmMac-v0`, one model.

    Of a game with ``history`` it reads the present only. It lives on the CPU.

    Args:
        game: of the users, the base station, or both; the base station's actions ``"multi"``.
        width: of the embedding.
        layers: of the transformer.
        heads: of its attention; divides the width.
        level: of the grammar that it keeps to; None: the game's.
        critic_width: not used.

    Raises:
        PolicyError: another game, pointers, or a wrong size or level.
    """

    def __init__(
        self,
        game: Game[Any, Any],
        *,
        width: int = 32,
        layers: int = 2,
        heads: int = 2,
        level: int | None = None,
        critic_width: int = 64,
    ) -> None:
        super().__init__(game)
        p = mac_of(game).params
        for name, value in (("width", width), ("layers", layers), ("heads", heads)):
            check_size(name, value, 1)
        self._speaks, self._follows = p.role != "follower", p.role != "leader"
        if self._speaks and p.bs_action != "multi":
            raise PolicyError(f"bs_action={p.bs_action!r}: allowed: 'multi', a word for each row")
        if width % heads:
            raise PolicyError(f"heads={heads}: allowed: divisors of width={width}")
        self.language = Language(mac_of(game), _level(game, level))
        size = len(self.language.vocabulary)
        self.model = TokenModel(size, PLACES, p.n_max, width=width, layers=layers, heads=heads)
        self._n = p.n_max

    @classmethod
    def notes_of(cls, game: Game[Any, Any], **sizes: Any) -> Notes:
        """The tokens that were said, at level none: silence does not tell them."""
        if _level(game, sizes.get("level")) != Level.NONE:
            return Notes()
        language = Language(mac_of(game), Level.NONE)
        return Notes(max(UE_TOKENS, CLAUSE_TOKENS * language.rows), len(language.vocabulary))

    @property
    def num_uniforms(self) -> int:
        """One a free token: of the base station one a row, of a user two; at level none all."""
        is_free = self.language.level == Level.NONE
        speaks = self._n * (CLAUSE_TOKENS if is_free else 1) * self._speaks
        return speaks + self._n * self._user_draws * self._follows

    @property
    def _user_draws(self) -> int:
        return UE_TOKENS if self.language.level == Level.NONE else UE_TOKENS - 1

    # ----------------------------------------------------------------------------- as `TeamActor`

    def act(self, seen: Seen, uniform: Tensor, deterministic: bool) -> Acted:
        """Moves of all; see `TeamActor`."""
        moves: dict[str, Tensor] = {}
        log_prob, notes = [], []
        if self._speaks:
            stations = self._stations(seen)
            tokens, p = self.utter(stations, uniform, deterministic)
            moves[BS] = stations.moves(tokens).unsqueeze(1)
            log_prob.append(p.unsqueeze(1))
            notes.append(self._note(tokens).unsqueeze(1))
        if self._follows:
            users, where = self._users(self.game.hear(seen, moves))
            own = uniform[:, -self._n * self._user_draws :].unflatten(1, (self._n, -1))
            tokens, p = self.utter(users, own[where], deterministic)
            moves[UE] = _scatter(users.moves(tokens), where)
            log_prob.append(_scatter(p, where))
            notes.append(_scatter(self._note(tokens), where))
        is_free = self.language.level == Level.NONE
        said = torch.cat(notes, 1) if is_free else None
        return Acted(moves, of_the_seated(torch.cat(log_prob, 1), seen[ALIVE]), said)

    def judge(self, seen: Seen, moves: Mapping[str, Tensor], notes: Tensor | None = None) -> Judged:
        """How likely moves are; see `TeamActor`."""
        if self.language.level == Level.NONE and notes is None:
            raise PolicyError("notes=None: at level none a move is judged by the tokens said")
        log_prob, entropy = [], []
        if self._speaks:
            stations = self._stations(seen)
            if notes is None:
                tokens = stations.script(moves[BS][:, 0])
            else:
                tokens = notes[:, 0, : stations.longest].to(torch.int64)
            p, h = self.assess(stations, tokens)
            log_prob.append(p.unsqueeze(1))
            entropy.append(h.unsqueeze(1))
        if self._follows:
            users, where = self._users(self.game.hear(seen, moves))
            if notes is None:
                tokens = users.script(moves[UE][where])
            else:
                tokens = notes[:, -self._n :][where][:, :UE_TOKENS].to(torch.int64)
            p, h = self.assess(users, tokens)
            log_prob.append(_scatter(p, where))
            entropy.append(_scatter(h, where))
        alive = seen[ALIVE]
        return Judged(of_the_seated(torch.cat(log_prob, 1), alive), torch.cat(entropy, 1) * alive)

    # ------------------------------------------------------------------------------------- speech

    @torch.no_grad()
    def utter(
        self, speaker: Speaker[Any], uniform: Tensor, deterministic: bool
    ) -> tuple[Tensor, Tensor]:
        """Utterances token by token; the model runs only where somebody has a choice.

        Args:
            speaker: (lines).
            uniform: (lines, draws) in [0, 1).
            deterministic: the best tokens, ties broken at random.

        Returns:
            (lines, longest) int64 tokens, and (lines,) their log-probability.
        """
        unread: Text | None = speaker.prompt
        end, line, cache = speaker.prompt.last(), speaker.begin(), None
        log_prob = torch.zeros(len(uniform))
        stride = 1 if speaker.is_free else speaker.stride
        tokens = []
        for k in range(speaker.longest):
            mask = speaker.mask(line)
            if bool((mask.sum(1) > 1).any()):
                assert unread is not None
                logits, cache = self.model(unread, torch.tensor([-1]), cache)
                unread = None
                choice = choose_among(logits[:, 0], mask)
                token = choice.pick(uniform[:, k // stride], deterministic)
                log_prob = log_prob + choice.log_prob(token)
            else:
                token = mask.to(torch.int64).argmax(1)
            is_there = ~mask[:, self.language.pad].unsqueeze(1)
            end = self.language.said(end, token.unsqueeze(1), is_there)
            unread = end if unread is None else unread.then(end)
            line = speaker.step(line, token)
            tokens.append(token)
        return torch.stack(tokens, 1), log_prob

    def assess(self, speaker: Speaker[Any], tokens: Tensor) -> tuple[Tensor, Tensor]:
        """How likely utterances are, in one pass; equal ones of equal prompts are read once.

        Args:
            speaker: (lines).
            tokens: (lines, longest) int64, as `utter` says them.

        Returns:
            (lines,) log-probability, and (lines,) entropy of the choices along the way, in nats.
        """
        if not len(tokens):
            return torch.zeros(0), torch.zeros(0)
        everything = torch.cat([speaker.prompt.token, tokens], 1)
        _, inverse = torch.unique(everything, dim=0, return_inverse=True)
        some = torch.zeros(int(inverse.max()) + 1, dtype=torch.int64)
        some[inverse] = torch.arange(len(inverse))
        log_prob, entropy = self._assess(speaker.take(some), tokens[some])
        return log_prob[inverse], entropy[inverse]

    def _assess(self, speaker: Speaker[Any], tokens: Tensor) -> tuple[Tensor, Tensor]:
        line, masks = speaker.begin(), []
        for token in tokens.unbind(1):
            masks.append(speaker.mask(line))
            line = speaker.step(line, token)
        mask = torch.stack(masks, 1)
        free = (mask.sum(2) > 1).any(0).nonzero()[:, 0]
        if not len(free):
            return torch.zeros(len(tokens)), torch.zeros(len(tokens))
        before = int(free[-1])  # tokens that something free follows
        is_there = ~mask[:, :before, self.language.pad]
        text = speaker.prompt
        if before:
            text = text.then(self.language.said(text, tokens[:, :before], is_there))
        logits, _ = self.model(text, free + speaker.prompt.token.shape[1] - 1)
        choice = choose_among(logits, mask[:, free])
        return choice.log_prob(tokens[:, free]).sum(1), choice.entropy().sum(1)

    def _stations(self, seen: Seen) -> Stations:
        return Stations(self.language, seen[ROWS][:, 0], seen[GLOB][:, 0])

    def _users(self, seen: Seen) -> tuple[Users, Tensor]:
        """Those who sit somewhere, and (rows, N) bool where."""
        user, end = seen[UE], self.language.observer.user_features
        where = user[..., end - self.language.num_dcm : end].sum(-1) > 0.5
        return Users(self.language, user[where], where.nonzero()[:, 1]), where

    def _note(self, tokens: Tensor) -> Tensor:
        """(lines, notes) int64 tokens, padded behind."""
        count = max(UE_TOKENS, CLAUSE_TOKENS * self._n)
        return torch.nn.functional.pad(tokens, (0, count - tokens.shape[1]))


class TokenCritic(SetCritic):
    """Values as `SetCritic` has them.

    Args:
        game: as of the actor.
        central: see `SetCritic`.
        critic_width: of the hidden layers.
        **of_actor: sizes that only the actor has.
    """

    def __init__(
        self, game: Game[Any, Any], *, central: bool, critic_width: int = 64, **of_actor: Any
    ) -> None:
        super().__init__(game, central=central, width=critic_width)


def _level(game: Game[Any, Any], level: int | None) -> Level:
    wanted = mac_of(game).params.pag_level if level is None else level
    check_choice("level", wanted, map(int, Level))
    return Level(wanted)


def _scatter(values: Tensor, where: Tensor) -> Tensor:
    """(rows, N, ...) of values (lines, ...), zero where nobody is."""
    whole = values.new_zeros(*where.shape, *values.shape[1:])
    whole[where] = values
    return whole
