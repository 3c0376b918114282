"""Token-by-token decoding of many utterances at once, under the grammar.

The batched twin of `sixgym.envs.llm_mac.tokens.Automaton`: each line of a batch is an utterance of
one speaker, at its own place. A decoder samples from the masked logits and steps; what it has said
in the end is a move, grammatical by construction.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_SG
from sixgym.envs.llm_mac.grammar import PHYSICAL, Grammar
from sixgym.envs.llm_mac.levels import Level
from sixgym.envs.llm_mac.tokens import EOS, PAD, Vocabulary

FIRST, SECOND, THIRD, DONE = range(4)
"""Places: of a device its action, its UCM, the end; of the base station a name, its DCM, a comma
or the end."""


class UeLine(NamedTuple):
    """Utterances of devices, one a line."""

    allowed: Tensor
    """(lines, 3 * num_ucm) bool."""
    place: Tensor
    """(lines,) int64."""
    move: Tensor
    """(lines,) int64: ``num_ucm * action + ucm``, as far as it is said."""


class BsLine(NamedTuple):
    """Utterances of base stations, one a line."""

    allowed: Tensor
    """(lines, N, D) bool."""
    active: Tensor
    """(lines, N) bool."""
    place: Tensor
    """(lines,) int64."""
    row: Tensor
    """(lines,) int64: the row that is spoken of; N after the last."""
    message: Tensor
    """(lines, N) int64: what has been said, null elsewhere."""


class Decoder:
    """Masks and steps of utterances in one game.

    Args:
        grammar: whose level and words are used.
        vocabulary: whose tokens are used, for as many rows and the same words.
        device: of the tensors.
    """

    def __init__(
        self, grammar: Grammar, vocabulary: Vocabulary, *, device: torch.device | str = "cpu"
    ) -> None:
        def numbers(words: tuple[str, ...]) -> Tensor:
            return torch.from_numpy(vocabulary.encode(words)).to(device)

        self._size = len(vocabulary)
        self._physical = numbers(PHYSICAL)
        self._ucm = numbers(grammar.alphabet.ucm)
        self._dcm = numbers(grammar.alphabet.dcm)
        self._names = numbers(tuple(f"UE{row}" for row in range(grammar.num_rows)))
        self._comma, self._eos, self._pad = numbers((",", EOS, PAD)).tolist()
        self._scarce = (DCM_SG, DCM_ACK) if grammar.level >= Level.SINGLE_CHANNEL else ()

    # ------------------------------------------------------------------------------- of devices

    def begin_ue(self, allowed: Tensor) -> UeLine:
        """Nothing said yet.

        Args:
            allowed: (lines, 3 * num_ucm) bool, from `sixgym.envs.llm_mac.levels.ue_allowed`.
        """
        zero = torch.zeros_like(allowed[:, 0], dtype=torch.int64)
        return UeLine(allowed, zero, zero)

    def ue_mask(self, line: UeLine) -> Tensor:
        """(lines, tokens) bool: what may follow; padding where all is said."""
        moves = line.allowed.unflatten(-1, (len(PHYSICAL), -1))
        said = line.move.div(len(self._ucm), rounding_mode="floor")
        words = moves[torch.arange(len(said), device=said.device), said]
        mask = self._blank(line.place)
        mask[:, self._physical] |= moves.any(-1) & _at(line.place, FIRST)
        mask[:, self._ucm] |= words & _at(line.place, SECOND)
        mask[:, self._eos] = line.place == THIRD
        return mask

    def step_ue(self, line: UeLine, token: Tensor) -> UeLine:
        """One more token of each line, (lines,) int64, allowed by `ue_mask`."""
        action = (token.unsqueeze(1) == self._physical).to(torch.int64).argmax(1)
        word = (token.unsqueeze(1) == self._ucm).to(torch.int64).argmax(1)
        move = torch.where(line.place == FIRST, action * len(self._ucm), line.move)
        move = torch.where(line.place == SECOND, move + word, move)
        return line._replace(place=(line.place + 1).clamp_max(DONE), move=move)

    # ------------------------------------------------------------------------- of base stations

    def begin_bs(self, allowed: Tensor, active: Tensor) -> BsLine:
        """Nothing said yet.

        Args:
            allowed: (lines, N, D) bool, from `sixgym.envs.llm_mac.levels.bs_allowed`.
            active: (lines, N) bool, the rows that are spoken of.
        """
        row = _next(active, torch.full_like(active[:, 0], -1, dtype=torch.int64))
        place = torch.where(row < active.shape[1], FIRST, THIRD)
        return BsLine(allowed, active, place, row, torch.zeros_like(active, dtype=torch.int64))

    def bs_mask(self, line: BsLine) -> Tensor:
        """(lines, tokens) bool: what may follow; padding where all is said."""
        rows = line.active.shape[1]
        row = line.row.clamp_max(rows - 1)
        words = line.allowed[torch.arange(len(row), device=row.device), row].clone()
        for code in self._scarce:
            words[:, code] &= (line.message != code).all(1)
        named = torch.arange(rows, device=row.device) == line.row.unsqueeze(1)
        mask = self._blank(line.place)
        mask[:, self._names] |= named & _at(line.place, FIRST)
        mask[:, self._dcm] |= words & _at(line.place, SECOND)
        ends = line.row == rows
        mask[:, self._comma] = (line.place == THIRD) & ~ends
        mask[:, self._eos] = (line.place == THIRD) & ends
        return mask

    def step_bs(self, line: BsLine, token: Tensor) -> BsLine:
        """One more token of each line, (lines,) int64, allowed by `bs_mask`."""
        rows = line.active.shape[1]
        code = (token.unsqueeze(1) == self._dcm).to(torch.int64).argmax(1, keepdim=True)
        spoken = torch.arange(rows, device=token.device) == line.row.unsqueeze(1)
        is_word = _at(line.place, SECOND)
        message = torch.where(spoken & is_word, code, line.message)
        row = torch.where(is_word[:, 0], _next(line.active, line.row), line.row)
        after = torch.where(line.row == rows, DONE, FIRST)  # the end, or a comma
        place = torch.where(line.place == THIRD, after, (line.place + 1).clamp_max(DONE))
        return line._replace(place=place, row=row, message=message)

    def _blank(self, place: Tensor) -> Tensor:
        """(lines, tokens) bool: padding where all is said, nothing elsewhere."""
        mask = torch.zeros(len(place), self._size, dtype=torch.bool, device=place.device)
        mask[:, self._pad] = place == DONE
        return mask


def _at(place: Tensor, where: int) -> Tensor:
    """(lines, 1) bool."""
    return (place == where).unsqueeze(1)


def _next(active: Tensor, row: Tensor) -> Tensor:
    """(lines,) the first active row after another one, N where there is none."""
    rows = active.shape[1]
    ahead = active & (torch.arange(rows, device=row.device) > row.unsqueeze(1))
    return torch.where(ahead.any(1), ahead.to(torch.int64).argmax(1), rows)
