"""What base station and users are paid for a slot.

The team's reward is the weighted event of the slot plus its deletes. A user's utility mixes it with
the same sum over its own events, less what unasked sending and messages cost; the base station's
is the team's reward plus the growth of Jain's index, less what its messages cost. The form is ours:
that of the paper could not be read. It contains the authors' team reward (mode ``team``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_SG, UCM_NULL
from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.slot import DUPLICATE, Slot


class Rewards:
    """The utilities of one set of parameters."""

    def __init__(self, params: LlmMacParams, dtype: torch.dtype, device: torch.device) -> None:
        self.params = params
        self.dtype = dtype
        w, t = params.weights, params.terms
        if params.reward == "mota":
            events = [-1.0, -1.0, -1.0, -1.0, w.rho]
        else:
            events = [w.rho * x for x in (-w.idle, -w.col, -w.era, w.dup, w.new)]
        self._event = torch.tensor(events, dtype=dtype, device=device)
        self._rho, self._weights, self._terms = w.rho, w, t

    def team(self, slot: Slot) -> Tensor:
        """(rows,) the team's reward r_t."""
        w, pay = self._weights, self._event[slot.outcome]
        if self.params.reward == "mota":
            return torch.where(slot.wrong.any(1), -w.rho, pay)
        if self.params.auto_delete:
            return pay
        gain = w.cd * self._number(slot.correct) - w.wd * self._number(slot.wrong)
        return pay + w.rho * gain

    def _number(self, flags: Tensor) -> Tensor:
        """(rows,) how many are set; in the dtype, for a product with a float loses digits else."""
        return flags.sum(1).to(self.dtype)

    def users(
        self, slot: Slot, team: Tensor, heard: Tensor, u: Tensor, here: Tensor, growth: Tensor
    ) -> Tensor:
        """(rows, N) the users' utilities u_i; 0 on empty seats.

        Args:
            slot: what happened.
            team: (rows,) the team's reward.
            heard: (rows, N) the message that each user had seen when it moved.
            u: (rows, N) its own message.
            here: (rows, N) bool.
            growth: (rows,) growth of Jain's index.
        """
        w, t = self._weights, self._terms
        pay = t.alpha * team.unsqueeze(1)
        if t.alpha < 1.0:
            pay = pay + (1.0 - t.alpha) * self._own(slot)
        if t.kappa:
            pay = pay - (w.rho * t.kappa) * (slot.sends & (heard != DCM_SG)).to(self.dtype)
        if t.ucm:
            pay = pay - (w.rho * t.ucm) * (u != UCM_NULL).to(self.dtype)
        if self.params.share_fairness and t.fairness:
            pay = pay + self._fairness(growth).unsqueeze(1)
        return pay * here

    def _own(self, slot: Slot) -> Tensor:
        """(rows, N) what its own events are worth to each user."""
        w = self._weights
        failed = slot.sends & (slot.outcome < DUPLICATE).unsqueeze(1)
        events = ((slot.new, w.new), (slot.dup, w.dup), (failed, -1.0))
        deletes = ((slot.correct, w.cd), (slot.wrong, -w.wd))
        parts = [
            w.rho * weight * event.to(self.dtype) for event, weight in (*events, *deletes) if weight
        ]
        return torch.stack(parts).sum(0)

    def leader(self, team: Tensor, m: Tensor, growth: Tensor) -> Tensor:
        """(rows,) the base station's utility U_t.

        Args:
            team: (rows,) the team's reward.
            m: (rows, N) its messages.
            growth: (rows,) growth of Jain's index.
        """
        t, pay = self._terms, team
        if t.fairness:
            pay = pay + self._fairness(growth)
        if t.grant:
            pay = pay - (self._rho * t.grant) * self._number(m == DCM_SG)
        if t.ack:
            pay = pay - (self._rho * t.ack) * self._number(m == DCM_ACK)
        return pay

    def _fairness(self, growth: Tensor) -> Tensor:
        """Over an episode of T slots it adds fairness * T * (J - 1)."""
        return (self._rho * self._terms.fairness * self.params.horizon_slots) * growth
