"""What is said in a slot, and how the game takes it: messages, moves, and what is allowed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.game import Moves
from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG, NOTHING, UCM_SR
from sixgym.envs.llm_mac.levels import Level, bs_allowed, shield_bs, shield_ue, ue_allowed
from sixgym.envs.llm_mac.observation import decoded_last
from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.partners import answers, messages
from sixgym.envs.llm_mac.state import MacState

BS, UE = "bs", "ue"
"""The groups: one base station, n_max seats for users."""


class Said(NamedTuple):
    """The moves of a slot as the game takes them; (rows, N) int64."""

    m: Tensor
    """The base station's messages."""
    a: Tensor
    """Physical actions."""
    u: Tensor
    """The users' messages."""
    heard: Tensor
    """The message that each user had seen when it moved."""
    invalid: Tensor
    """Moves that the level forbids, or that act on an empty buffer."""


class Speech:
    """The rules of speaking of one set of parameters."""

    def __init__(self, params: LlmMacParams, device: torch.device) -> None:
        self.params = params
        # An enumeration member: torch.compile takes plain numbers of objects for variables.
        self.level = Level(params.pag_level)
        self.leads = params.timing == "stackelberg"
        """Whether users hear the message of the slot in which they move."""
        self._seat = torch.arange(1, params.n_max + 1, device=device)

    def heard(self, state: MacState, moves: Moves) -> Tensor:
        """(rows, N) int64: the last message that each user has heard.

        Args:
            state: at the beginning of a slot.
            moves: of those whose turn is over.
        """
        spoken = self._spoken(state, moves) if self.leads else None
        return state.m if spoken is None else self._message(state, spoken)

    def _spoken(self, state: MacState, moves: Moves) -> Tensor | None:
        """The base station's messages before the level is applied; None before it moves."""
        if self.params.role == "follower":
            return messages(self.params, state)
        if BS not in moves:
            return None
        return self.message_of(moves[BS][:, 0])

    def message_of(self, move: Tensor) -> Tensor:
        """(rows, N) int64: what each seat is told.

        Args:
            move: (rows, N) a message for each seat, or (rows, 2) pointers, as ``bs_action`` has it.
        """
        if self.params.bs_action == "multi":
            return move
        grant, ack = (part == self._seat for part in move.split(1, 1))
        return torch.where(ack, DCM_ACK, torch.where(grant, DCM_SG, DCM_NULL))

    def _message(self, state: MacState, spoken: Tensor) -> Tensor:
        if self.level < Level.SINGLE_CHANNEL:
            return torch.where(state.here, spoken, DCM_NULL)
        return self.passed(spoken, state.here, decoded_last(state) > 0, state.u == UCM_SR)

    def passed(self, spoken: Tensor, here: Tensor, decoded: Tensor, asked: Tensor) -> Tensor:
        """(rows, N) int64: what a level that limits a whole message lets through of it.

        Args:
            spoken: (rows, N) int64.
            here: (rows, N) bool, the seats that are taken.
            decoded: (rows, N) bool, the seat whose packet was decoded in the last slot.
            asked: (rows, N) bool, the seats whose last message was a request.
        """
        allowed = bs_allowed(self.level, here, decoded, asked, self.params.num_dcm)
        return shield_bs(self.level, allowed, spoken).move

    def _bs_allowed(self, state: MacState) -> Tensor:
        """(rows, N, messages) bool: what each seat may be sent."""
        decoded, asked = decoded_last(state) > 0, state.u == UCM_SR
        return bs_allowed(self.level, state.here, decoded, asked, self.params.num_dcm)

    def allowed(self, state: MacState, moves: Moves) -> dict[str, Tensor]:
        """Masks by the level of the grammar, see `LlmMac.allowed`."""
        p, level = self.params, self.level
        masks = {}
        if p.role != "follower":
            each = self._bs_allowed(state)
            if p.bs_action == "pointer":
                nobody = torch.ones_like(each[:, :1, 0])
                parts = (nobody, each[..., DCM_SG], nobody, each[..., DCM_ACK])
                masks[BS] = torch.cat(parts, 1).unsqueeze(1)
            else:
                masks[BS] = each.flatten(1).unsqueeze(1)
        if p.role != "leader":
            open_ended = self.leads and p.role == "all" and BS not in moves
            level = min(level, Level.CONTEXT) if open_ended else level
            heard = self.heard(state, moves)
            masks[UE] = ue_allowed(level, state.here, state.q, heard, p.num_ucm)
        return masks

    def listen(self, state: MacState, moves: Moves, noise: Draws) -> Said:
        """The moves of all as the game takes them, a partner's included."""
        p, here = self.params, state.here
        spoken = self._spoken(state, moves)
        assert spoken is not None
        m = self._message(state, spoken)
        heard = m if self.leads else state.m
        if p.role == "leader":
            move = answers(p, state, heard, noise.get("partner", state.coin))
        else:
            move = torch.where(here, moves[UE], 0)
        if self.level >= Level.PROTOCOL:
            move, wrong = shield_ue(ue_allowed(self.level, here, state.q, heard, p.num_ucm), move)
            a = torch.div(move, p.num_ucm, rounding_mode="floor")
            u = move - p.num_ucm * a
        else:
            a = torch.div(move, p.num_ucm, rounding_mode="floor")
            u = move - p.num_ucm * a
            wrong = (a > NOTHING) & (state.q == 0)
            if self.level >= Level.CONTEXT:
                a = torch.where(wrong, NOTHING, a)
        return Said(m, a, u, heard, (m != spoken).to(torch.int64) + wrong)
