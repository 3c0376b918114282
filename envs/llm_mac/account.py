"""The metrics of a slot."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG, UCM_NULL
from sixgym.envs.llm_mac.metrics import COUNTED, MOVED
from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.population import Change
from sixgym.envs.llm_mac.slot import OUTCOMES, Slot
from sixgym.envs.llm_mac.speech import Said
from sixgym.envs.llm_mac.state import MacState


class Account:
    """Adds up the slots of one set of parameters."""

    def __init__(self, params: LlmMacParams, dtype: torch.dtype, device: torch.device) -> None:
        self.params = params
        self.dtype = dtype
        self._outcomes = torch.arange(OUTCOMES, device=device).unsqueeze(1)
        self._bits = math.log2(params.num_dcm) + math.log2(params.num_ucm)

    def __call__(
        self,
        state: MacState,
        new: MacState,
        said: Said,
        slot: Slot,
        change: Change | None,
        team: Tensor,
    ) -> dict[str, Tensor]:
        """Every metric of level 0, each (rows,) in the dtype.

        Args:
            state: before the slot.
            new: after it, with those who came and went.
            said: the moves.
            slot: what happened.
            change: who came and went; None where nobody ever does.
            team: (rows,) the team's reward.
        """
        events = (slot.outcome == self._outcomes).to(self.dtype)
        idle, collision, erasure, duplicate, fresh = events.unbind(0)
        # The index of no past is 1: it enters with the first slot, so that the sum is the index.
        growth = new.jain - torch.where(state.slot.unsqueeze(1) == 0, 0.0, state.jain)
        metrics = self._counts(state, new, said, slot)
        metrics |= self._moved(state, new, slot, change, idle)
        users = metrics["users"]
        filled = slot.q.sum(1).to(self.dtype)
        return metrics | {
            "idle": idle,
            "collision": collision,
            "erasure": erasure,
            "duplicate": duplicate,
            "delivered": fresh,
            "decoded": duplicate + fresh,
            "busy": 1.0 - idle,
            "delay": slot.delay.to(self.dtype),
            "signalling": metrics["dcm"] + metrics["ucm"],
            "signalling_bits": self._bits * users,
            "utterances": users + 1.0,
            "occupancy": filled / (users.clamp_min(1.0) * self.params.buffer_size),
            "team_reward": team,
            "jain": growth[:, 0],
            "jain_demand": growth[:, 1],
        }

    def _counts(self, state: MacState, new: MacState, said: Said, slot: Slot) -> dict[str, Tensor]:
        """Counts over seats."""
        counts = [
            slot.arrivals,
            slot.dropped,
            slot.wrong,
            slot.correct,
            slot.sends,
            said.m == DCM_SG,
            said.m == DCM_ACK,
            said.m != DCM_NULL,
            said.u != UCM_NULL,
            said.invalid,
            state.here,
        ]
        total = torch.stack([c.to(self.dtype) for c in counts]).sum(-1)
        return dict(zip(COUNTED, total.unbind(0), strict=True))

    def _moved(
        self, state: MacState, new: MacState, slot: Slot, change: Change | None, like: Tensor
    ) -> dict[str, Tensor]:
        """What depends on those who come and go."""
        before, after = state.q - state.d, new.q - new.d
        if change is None:
            none = torch.zeros_like(like)
            growth = (after - before).sum(1).to(self.dtype)
            return dict(zip(MOVED, (growth, none, none, none), strict=True))
        left = change.leaves.to(torch.int64)
        joined = (change.agent_id >= state.next_id.unsqueeze(1)).to(torch.int64)
        if self.params.traffic == "saturated":  # who joins brings a full buffer along
            before = before + joined * self.params.buffer_size
        parts = torch.stack([after - before, (slot.q - slot.d) * left, left, joined])
        return dict(zip(MOVED, parts.sum(-1).to(self.dtype).unbind(0), strict=True))
