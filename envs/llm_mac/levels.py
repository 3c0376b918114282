"""Levels of the protocol action grammar: which moves they allow, and what becomes of the others.

================ ===== ============================================================================
`NONE`           -1    any text is an utterance; what does not parse is silence
`SYNTAX`         0     grammar and static checks: every combination of words for the active rows
`CONTEXT`        1     and no ``transmit`` or ``delete`` on an empty buffer
`SINGLE_CHANNEL` 2     and at most one grant and at most one acknowledgement a slot
`PROTOCOL`       3     and acknowledgements only to the row just decoded, grants only to rows that
                       asked; ``transmit`` only when granted, ``delete`` only when acknowledged
================ ===== ============================================================================

Everything is batched and branch-free over tensors whose last axis is the rows of devices, so the
same functions mask a policy's logits, decode text and shield the moves of a game. ``nothing`` and
``null`` are always allowed: they are what a forbidden move becomes. [our choice]
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG


class Level(IntEnum):
    """Levels of the grammar; see the module."""

    NONE = -1
    SYNTAX = 0
    CONTEXT = 1
    SINGLE_CHANNEL = 2
    PROTOCOL = 3


class Shielded(NamedTuple):
    """Moves after the level has been applied."""

    move: Tensor
    """As the moves that came in, with forbidden ones replaced."""
    invalid: Tensor
    """Same shape, bool: where one was replaced."""


def ue_allowed(level: int, active: Tensor, q: Tensor, m: Tensor, num_ucm: int = 2) -> Tensor:
    """(..., 3 * num_ucm) bool: the moves ``num_ucm * action + ucm`` a device may make.

    Args:
        level: see `Level`.
        active: (...) bool; an empty row may do nothing and say nothing.
        q: (...) SDUs in the buffer.
        m: (...) the DCM that the device has just seen.
        num_ucm: words of the uplink control channel.
    """
    some = active & (q > 0) if level >= Level.CONTEXT else active
    transmit, delete = some, some
    if level >= Level.PROTOCOL:
        transmit, delete = transmit & (m == DCM_SG), delete & (m == DCM_ACK)
    physical = torch.stack([active, transmit, delete], -1)
    mask = physical.repeat_interleave(num_ucm, -1)
    mask[..., 0] = True
    return mask


def bs_allowed(
    level: int, active: Tensor, decoded: Tensor, requested: Tensor, num_dcm: int = 3
) -> Tensor:
    """(..., N, num_dcm) bool: the DCMs each row may be sent, before any other row has been.

    Args:
        level: see `Level`.
        active: (..., N) bool.
        decoded: (..., N) bool, the row whose SDU was decoded in the last slot.
        requested: (..., N) bool, rows whose last UCM was a request.
        num_dcm: words of the downlink control channel.
    """
    mask = active.unsqueeze(-1).repeat_interleave(num_dcm, -1)
    mask[..., DCM_NULL] = True
    if level >= Level.PROTOCOL:
        mask[..., DCM_SG] &= requested
        mask[..., DCM_ACK] &= decoded
    return mask


def bs_free_masks(level: int, allowed: Tensor, m: Tensor) -> Tensor:
    """(..., N, D) bool: what each row may be sent, given what the rows before it are sent.

    The probability of a message factorises over rows in ascending order: its logarithm is the sum
    over active rows of ``log_softmax(logits_r masked by this)[m_r]``; all other tokens of the
    utterance are forced.

    Args:
        level: see `Level`.
        allowed: (..., N, D) from `bs_allowed`.
        m: (..., N) the message; row r's mask depends on rows below r only.
    """
    if level < Level.SINGLE_CHANNEL:
        return allowed
    mask = allowed.clone()
    for code in (DCM_SG, DCM_ACK):
        said = (m == code).long()
        mask[..., code] &= said.cumsum(-1) == said
    return mask


def shield_ue(allowed: Tensor, move: Tensor) -> Shielded:
    """Devices' moves: a forbidden physical action becomes ``nothing``, the UCM stays.

    Args:
        allowed: (..., A) from `ue_allowed`.
        move: (...) int64, ``num_ucm * action + ucm``.
    """
    is_allowed = allowed.gather(-1, move.unsqueeze(-1)).squeeze(-1)
    num_ucm = allowed.shape[-1] // 3
    active = allowed[..., num_ucm - 1]  # an empty row cannot say anything either
    silent = torch.where(active, move % num_ucm, 0)
    return Shielded(torch.where(is_allowed, move, silent), ~is_allowed)


def shield_bs(level: int, allowed: Tensor, m: Tensor) -> Shielded:
    """A message to all rows, read in ascending order: each forbidden DCM becomes ``null``.

    Args:
        level: see `Level`.
        allowed: (..., N, D) from `bs_allowed`.
        m: (..., N) int64.
    """
    sent = torch.where(allowed.gather(-1, m.unsqueeze(-1)).squeeze(-1), m, DCM_NULL)
    if level >= Level.SINGLE_CHANNEL:
        for code in (DCM_SG, DCM_ACK):
            said = sent == code
            sent = torch.where(said & (said.long().cumsum(-1) > 1), DCM_NULL, sent)
    return Shielded(sent, sent != m)


def bs_language_size(level: int, num_active: int) -> int:
    """Messages of a base station to some active rows, 3 DCMs each; below `PROTOCOL`.

    Raises:
        ValueError: the level is `NONE` (unbounded) or `PROTOCOL` (depends on the slot).
    """
    if level in (Level.SYNTAX, Level.CONTEXT):
        return int(3**num_active)
    if level == Level.SINGLE_CHANNEL:
        return num_active**2 + num_active + 1
    raise ValueError(f"level={level}: allowed: 0, 1, 2 (3 by `protocol_language_size`)")


def protocol_language_size(num_requests: int, decoded: bool, decoded_requested: bool) -> int:
    """Messages of a base station at level `PROTOCOL`.

    Args:
        num_requests: active rows whose last UCM was a request.
        decoded: whether a row was decoded in the last slot.
        decoded_requested: whether that row is among the requesters.
    """
    delta = int(decoded)
    return (1 + delta) * (1 + num_requests) - delta * int(decoded_requested)
