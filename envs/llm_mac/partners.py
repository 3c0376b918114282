"""Fixed policies for the side that does not play: a base station, or the users.

They are the same everywhere: users delete when they are acknowledged, the base station
acknowledges the user that it decoded in the last slot, and a packet is sent again until then.

Base stations: ``contention_free`` grants one of those who asked, drawn uniformly; ``round_robin``
grants the users in turn; ``acknowledge`` only acknowledges; ``silent`` says nothing.
Users: ``contention_free`` send when granted and ask while they will still hold an undelivered
packet; ``aloha`` each send with probability 1/n; ``silent`` do nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.envs.llm_mac.codes import (
    DCM_ACK,
    DCM_NULL,
    DCM_SG,
    DELETE,
    NOTHING,
    TRANSMIT,
    UCM_NULL,
    UCM_SR,
)
from sixgym.envs.llm_mac.observation import decoded_last
from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.state import MacState


def messages(params: LlmMacParams, state: MacState) -> Tensor:
    """(rows, N) int64: what the fixed base station ``partner_bs`` sends now.

    Args:
        params: of the game.
        state: at the beginning of a slot; `contention_free` draws by its ``coin``.
    """
    here = state.here
    kind = params.partner_bs
    if kind == "silent":
        return torch.zeros_like(state.m)
    acknowledged = (decoded_last(state) > 0) & here
    if params.auto_delete:
        acknowledged = torch.zeros_like(here)
    m = torch.where(acknowledged, DCM_ACK, DCM_NULL)
    if kind == "acknowledge":
        return m
    if kind == "round_robin":
        number = here.sum(1).clamp_min(1)
        turn = (state.slot % number).unsqueeze(1)
        granted = here & (here.cumsum(1) - 1 == turn)
    else:
        asks = here & (state.u == UCM_SR) & ~acknowledged
        if params.timing == "delayed":  # whoever was answered in the last slot asked before it
            asks = asks & (state.m == DCM_NULL)
        pick = (state.coin * asks.sum(1, keepdim=True)).to(torch.int64)
        granted = asks & (asks.cumsum(1) - 1 == pick)
    return torch.where(granted & ~acknowledged, DCM_SG, m)


def answers(params: LlmMacParams, state: MacState, heard: Tensor, uniform: Tensor) -> Tensor:
    """(rows, N) int64: the moves of the fixed users ``partner_users``, ``num_ucm * a + u``.

    Args:
        params: of the game.
        state: at the beginning of a slot.
        heard: (rows, N) int64, the message that each has heard.
        uniform: (rows, N), by which `aloha` draws.
    """
    q = state.q
    if params.partner_users == "silent":
        return torch.zeros_like(q)
    waits = q > 0
    deletes = waits & (heard == DCM_ACK)
    if params.partner_users == "aloha":
        rate = 1.0 / state.here.sum(1, keepdim=True).clamp_min(1)
        sends = waits & ~deletes & (uniform < rate)
    else:
        sends = waits & (heard == DCM_SG)
    a = torch.where(deletes, DELETE, torch.where(sends, TRANSMIT, NOTHING))
    if params.partner_users == "aloha":
        return params.num_ucm * a
    left = q - (deletes | sends).to(torch.int64)
    return params.num_ucm * a + torch.where(left > 0, UCM_SR, UCM_NULL)
