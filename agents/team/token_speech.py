"""What base station and users of LLM-MAC read and say, as tokens of many lines at once.

Prompts are those of `sixgym.envs.llm_mac.tokens.Vocabulary`, made from the observations; the base
station's lists taken rows only. Place and name of a token (see `token_model`) follow from the
tokens before it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from sixgym.agents.team.token_model import Text
from sixgym.envs.llm_mac.decode import BsLine, Decoder, UeLine
from sixgym.envs.llm_mac.grammar import PHYSICAL, WORDS, Grammar, opaque
from sixgym.envs.llm_mac.levels import Level, bs_allowed, ue_allowed
from sixgym.envs.llm_mac.system import LlmMac
from sixgym.envs.llm_mac.tokens import ACT, BOS, BS, CHANNEL, EOS, PAD, UE, Vocabulary

CLAUSE, SAID, PLACES = 7, 11, 16
"""Places: of a prompt's head from 0, of its clauses from `CLAUSE`, of what is said from `SAID`,
counted anew from a comma; an utterance without end stays at the last."""
UE_TOKENS = 3
"""Action, UCM, end."""
CLAUSE_TOKENS = 3
"""Name, DCM, comma or end."""


class Language:
    """The tokens of one game as numbers, on the CPU.

    Args:
        mac: the game.
        level: of the grammar.
    """

    def __init__(self, mac: LlmMac, level: Level) -> None:
        p = mac.params
        words = opaque(p.num_ucm, p.num_dcm) if p.opaque else WORDS
        self.level, self.rows, self.buffer_size = level, p.n_max, p.buffer_size
        self.num_ucm, self.num_dcm = p.num_ucm, p.num_dcm
        self.observer = mac.observer
        self.vocabulary = Vocabulary(p.n_max, p.buffer_size, words)
        self.decoder = Decoder(Grammar(p.n_max, level, alphabet=words), self.vocabulary)

        def numbers(tokens: tuple[str, ...]) -> Tensor:
            return torch.from_numpy(self.vocabulary.encode(tokens))

        self.physical, self.channel = numbers(PHYSICAL), numbers(CHANNEL)
        self.ucm, self.dcm = numbers(words.ucm), numbers(words.dcm)
        self.names = numbers(tuple(f"UE{row}" for row in range(p.n_max)))
        self.fill = int(self.vocabulary.encode(("b0",))[0])
        index = self.vocabulary.index
        self.pad, self.bos, self.eos, self.act = (index[t] for t in (PAD, BOS, EOS, ACT))
        self.ue, self.bs, self.comma = index[UE], index[BS], index[","]

    def said(self, start: Text, tokens: Tensor, is_there: Tensor) -> Text:
        """What is said after a text, with place and name of every token.

        Args:
            start: of which the last column counts.
            tokens: (lines, columns) int64.
            is_there: (lines, columns) bool.
        """
        place, name = start.place[:, -1], start.name[:, -1]
        places, names = [], []
        row = tokens - self.names[0]  # names are consecutive in the vocabulary
        is_name = (row >= 0) & (row < self.rows)
        is_comma = tokens == self.comma
        for column in range(tokens.shape[1]):
            place = torch.where(is_comma[:, column], SAID, (place + 1).clamp_max(PLACES - 1))
            name = torch.where(is_name[:, column], row[:, column], name)
            places.append(place)
            names.append(name)
        return Text(tokens, torch.stack(places, 1), torch.stack(names, 1), is_there)


class Line(NamedTuple):
    """Utterances in the making at level none, where any token may follow."""

    is_open: Tensor
    """(lines,) bool."""
    left: Tensor
    """(lines,) int64: tokens until it is cut off."""


L = TypeVar("L", UeLine, BsLine)


class Speaker(ABC, Generic[L]):
    """Those who speak at one time, a line each.

    Args:
        language: of the game.
        prompt: (lines, columns) what they have read.
        limit: (lines,) int64: no utterance of theirs in the language has more tokens.
    """

    stride: int
    """Tokens a random number suffices for: the others are forced."""

    def __init__(self, language: Language, prompt: Text, limit: Tensor) -> None:
        self.language, self.prompt, self.limit = language, prompt, limit
        self.is_free = language.level == Level.NONE

    @property
    @abstractmethod
    def longest(self) -> int:
        """Most tokens that any of them says."""

    @abstractmethod
    def take(self, lines: Tensor) -> Self:
        """Some of them."""

    @abstractmethod
    def script(self, move: Tensor) -> Tensor:
        """(lines, longest) int64: the tokens of moves, padded behind."""

    @abstractmethod
    def guess(self, tokens: Tensor) -> Tensor:
        """The moves that tokens are if they are an utterance of the language."""

    @abstractmethod
    def _begin(self) -> L: ...

    @abstractmethod
    def _mask(self, line: L) -> Tensor: ...

    @abstractmethod
    def _step(self, line: L, token: Tensor) -> L: ...

    def moves(self, tokens: Tensor) -> Tensor:
        """What (lines, longest) tokens come to: the silent move where they are no utterance."""
        move = self.guess(tokens)
        is_utterance = (self.script(move) == tokens).all(1)
        return torch.where(is_utterance.view(-1, *[1] * (move.ndim - 1)), move, 0)

    def begin(self) -> L | Line:
        """Nothing said yet."""
        if self.is_free:
            return Line(torch.ones_like(self.limit, dtype=torch.bool), self.limit)
        return self._begin()

    def mask(self, line: L | Line) -> Tensor:
        """(lines, tokens) bool: what may follow; padding behind the end and only there."""
        if not isinstance(line, Line):
            return self._mask(line)
        mask = line.is_open.unsqueeze(1).repeat(1, len(self.language.vocabulary))
        mask[:, self.language.pad] = ~line.is_open
        return mask

    def step(self, line: L | Line, token: Tensor) -> L | Line:
        """One more token of each, (lines,) int64, allowed by `mask`."""
        if not isinstance(line, Line):
            return self._step(line, token)
        left = line.left - 1
        return Line(line.is_open & (token != self.language.eos) & (left > 0), left)


class Users(Speaker[UeLine]):
    """Users.

    Args:
        language: of the game.
        user: (lines, features) what they see, of taken seats.
        row: (lines,) int64 where they sit.
    """

    stride = 1

    def __init__(self, language: Language, user: Tensor, row: Tensor) -> None:
        self._user, self._row = user, row
        g, first = language, user[:, : language.observer.user_features].round()
        q = (user[:, 0] * g.buffer_size).round().to(torch.int64)
        a = first[:, 3:6].argmax(1)
        u = _code(first[:, 6 : 5 + g.num_ucm])
        m = first[:, 5 + g.num_ucm :].argmax(1)
        bos, ue, act = (torch.full_like(row, k) for k in (g.bos, g.ue, g.act))
        parts = (bos, ue, g.names[row], g.fill + q, g.physical[a], g.ucm[u], g.dcm[m], act)
        token = torch.stack(parts, 1)
        place = torch.tensor([*range(7), SAID]).expand_as(token)
        name = torch.full_like(token, g.rows)
        name[:, 2] = row
        prompt = Text(token, place, name, torch.ones_like(token, dtype=torch.bool))
        super().__init__(g, prompt, torch.full_like(row, UE_TOKENS))
        here = torch.ones_like(row, dtype=torch.bool)
        self._allowed = ue_allowed(g.level, here, q, m, g.num_ucm)

    @property
    def longest(self) -> int:
        """Most tokens that any of them says."""
        return UE_TOKENS

    def take(self, lines: Tensor) -> Self:
        """Some of them."""
        return type(self)(self.language, self._user[lines], self._row[lines])

    def script(self, move: Tensor) -> Tensor:
        """(lines, 3) int64: the tokens of moves (lines,)."""
        g = self.language
        phy, ucm = move.div(g.num_ucm, rounding_mode="floor"), move % g.num_ucm
        return torch.stack([g.physical[phy], g.ucm[ucm], torch.full_like(move, g.eos)], 1)

    def guess(self, tokens: Tensor) -> Tensor:
        """(lines,) int64 moves."""
        g = self.language
        return g.num_ucm * _find(tokens[:, 0], g.physical) + _find(tokens[:, 1], g.ucm)

    def _begin(self) -> UeLine:
        return self.language.decoder.begin_ue(self._allowed)

    def _mask(self, line: UeLine) -> Tensor:
        return self.language.decoder.ue_mask(line)

    def _step(self, line: UeLine, token: Tensor) -> UeLine:
        return self.language.decoder.step_ue(line, token)


class Stations(Speaker[BsLine]):
    """Base stations.

    Args:
        language: of the game.
        rows: (lines, N, features) what they see of their seats.
        glob: (lines, features) what they see of the cell.
    """

    stride = CLAUSE_TOKENS

    def __init__(self, language: Language, rows: Tensor, glob: Tensor) -> None:
        self._rows, self._glob = rows, glob
        g, seats = language, rows[..., : language.observer.seat_features]
        here, decoded, asked = g.observer.facts(rows)
        u, rest = _code(seats[..., 1 : g.num_ucm]), seats[..., g.num_ucm :]
        m = rest[..., : g.num_dcm].argmax(-1)
        self.count = here.sum(1)
        most = int(self.count.max()) if len(here) else 0
        # Taken rows first, in ascending order.
        self.order = torch.argsort((~here).to(torch.int8), dim=1, stable=True)[:, :most]
        prompt = _bs_prompt(g, glob, decoded, self.order, self.count, u, m)
        super().__init__(g, prompt, (CLAUSE_TOKENS * self.count).clamp_min(1))
        self._here = here
        self._allowed = bs_allowed(g.level, here, decoded, asked, g.num_dcm)

    @property
    def longest(self) -> int:
        """Most tokens that any of them says."""
        return max(1, CLAUSE_TOKENS * self.order.shape[1])

    def take(self, lines: Tensor) -> Self:
        """Some of them."""
        return type(self)(self.language, self._rows[lines], self._glob[lines])

    def script(self, move: Tensor) -> Tensor:
        """(lines, longest) int64: the tokens of messages (lines, N)."""
        g = self.language
        place = torch.arange(self.order.shape[1])
        is_in = place < self.count.unsqueeze(1)
        ends = place + 1 == self.count.unsqueeze(1)
        mark = torch.where(ends, g.eos, g.comma)
        clause = torch.stack([g.names[self.order], g.dcm[move.gather(1, self.order)], mark], 2)
        tokens = torch.where(is_in.unsqueeze(2), clause, g.pad).flatten(1)
        if not tokens.shape[1]:
            tokens = torch.full((len(move), 1), g.pad)
        tokens[:, 0] = torch.where(self.count == 0, g.eos, tokens[:, 0])
        return tokens

    def guess(self, tokens: Tensor) -> Tensor:
        """(lines, N) int64 messages."""
        words = tokens[:, 1::CLAUSE_TOKENS]
        silent = torch.zeros(len(tokens), self.language.rows, dtype=torch.int64)
        said = silent.scatter(1, self.order, _find(words, self.language.dcm))
        return torch.where(self._here, said, 0)

    def _begin(self) -> BsLine:
        return self.language.decoder.begin_bs(self._allowed, self._here)

    def _mask(self, line: BsLine) -> Tensor:
        return self.language.decoder.bs_mask(line)

    def _step(self, line: BsLine, token: Tensor) -> BsLine:
        return self.language.decoder.step_bs(line, token)


def _bs_prompt(
    g: Language, glob: Tensor, decoded: Tensor, order: Tensor, count: Tensor, u: Tensor, m: Tensor
) -> Text:
    """The channel, then a clause for each taken row; who was decoded may have left since."""
    lines, clauses = order.shape
    channel = torch.where(glob[:, 0] > 0.5, 0, torch.where(glob[:, 1] > 0.5, 1, 2))
    is_known = decoded.any(1)
    who = torch.where(is_known, decoded.to(torch.int64).argmax(1), g.rows)
    spoken = torch.where(is_known, g.names[who.clamp_max(g.rows - 1)], g.pad)

    def column(value: int) -> Tensor:
        return torch.full((lines, 1), value)

    head = [column(g.bos), column(g.bs), g.channel[channel].unsqueeze(1), spoken.unsqueeze(1)]
    words = (torch.full_like(order, g.comma), g.names[order])
    row = torch.stack([*words, g.ucm[u.gather(1, order)], g.dcm[m.gather(1, order)]], 2)
    token = torch.cat([*head, row.flatten(1), column(g.act)], 1)
    clause = torch.arange(CLAUSE, CLAUSE + 4).repeat(clauses)
    place = torch.cat([torch.arange(4), clause, torch.tensor([SAID])]).expand_as(token)
    named = order.repeat_interleave(4, 1)
    name = torch.cat([*[column(g.rows)] * 3, who.unsqueeze(1), named, column(g.rows)], 1)
    is_in = (torch.arange(clauses) < count.unsqueeze(1)).repeat_interleave(4, 1)
    true = column(1).to(torch.bool)
    is_there = torch.cat([true, true, true, is_known.unsqueeze(1), is_in, true], 1)
    return Text(torch.where(is_there, token, g.pad), place, name, is_there)


def _code(flags: Tensor) -> Tensor:
    """(...) int64 of flags (..., n - 1), one for each code but 0."""
    codes = torch.arange(1, flags.shape[-1] + 1)
    return (flags > 0.5).to(torch.int64).mul(codes).sum(-1)


def _find(token: Tensor, table: Tensor) -> Tensor:
    """(...) int64: where a token stands in a table, 0 where it does not."""
    return (token.unsqueeze(-1) == table).to(torch.int64).argmax(-1)
