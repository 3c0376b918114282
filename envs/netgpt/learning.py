"""How edge agent and scorer improve by the cloud's answers: buffer, cadence, skill, drift, schema.

Every offloaded request whose cloud answer is schema-valid is kept as a sample. At multiples of U
slots, if enough are new, the edge agent is updated: its skill follows a power law of the effective
samples N, it drifts from its supervised prior, and its drafts become more often valid. At every
M-th update the scorer is refitted to the new skill. [our choice; joint periodic updates: paper]
"""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.netgpt.params import NetGptBaseParams
from sixgym.envs.netgpt.requests import Requests
from sixgym.envs.netgpt.state import Mind


class Learner:
    """The dynamic of `Mind`.

    Args:
        params: of the system.
    """

    def __init__(self, params: NetGptBaseParams) -> None:
        self._p = params

    def streams(self) -> dict[str, tuple[Kind, tuple[int, ...]]]:
        """What the end of a slot draws."""
        p = self._p
        needs = p.self_improve and p.refresh_every > 0 and p.refresh_bias > 0.0
        return {"refresh": ("normal", ())} if needs else {}

    def start(self, zero: Tensor) -> Mind:
        """Edge agent and scorer at first, the scorer fitted to the agent without bias."""
        p = self._p
        skill, schema = zero + p.skill0, zero + p.schema_edge
        return Mind(skill, skill, zero, schema, zero, zero, zero, zero, zero, zero, zero)

    def skill(self, samples: Tensor) -> Tensor:
        """kappa(N) = kappa_inf - (kappa_inf - kappa_0) (1 + N / N_0)^-beta (23)."""
        p = self._p
        curve = (1.0 + samples / p.learn_scale) ** (-p.learn_exp)
        return p.skill_inf - (p.skill_inf - p.skill0) * curve

    def validity(self, updates: Tensor, drift: Tensor) -> Tensor:
        """Probability (24) that a draft is schema-valid after some updates."""
        p = self._p
        gap = (p.schema_edge_max - p.schema_edge) * (-updates / p.schema_updates).exp()
        loss = p.drift_schema * (drift - p.drift_free).clamp_min(0.0)
        return (p.schema_edge_max - gap - loss).clamp(0.0, 1.0)

    def collect(self, mind: Mind, requests: Requests, sent: Tensor) -> Mind:
        """The samples of offloaded requests join.

        Args:
            mind: before.
            requests: (rows, width).
            sent: (rows, width) of the system's dtype, 1 where offloaded.
        """
        if not self._p.self_improve:
            return mind
        kept = (sent * requests.cloud_valid).sum(-1)
        gain = sent * requests.cloud_success
        if self._p.weighting == "variance":
            gain = gain * (4.0 * requests.edge_prob * (1.0 - requests.edge_prob))
        return mind._replace(
            samples=mind.samples + gain.sum(-1), kept=mind.kept + kept, fresh=mind.fresh + kept
        )

    def end_slot(self, mind: Mind, slot: Tensor, noise: Draws, is_over: Tensor) -> Mind:
        """What is in force in the next slot.

        Args:
            mind: after `collect`.
            slot: (rows,) the slot that ends.
            noise: drawn by `streams`, for the next slot.
            is_over: (rows,) bool, whether the slot does end.
        """
        p = self._p
        if not p.self_improve:
            return mind
        on_time = (slot + 1.0).remainder(p.update_period) < 0.5
        is_due = is_over & on_time & (mind.fresh >= p.update_samples)
        passed = is_over.to(slot.dtype)
        updates = mind.updates + is_due.to(slot.dtype)
        pulled = 1.0 - p.drift_pull if p.anchor else 1.0
        drift = torch.where(is_due, pulled * mind.drift + p.drift_step, mind.drift)
        kappa = torch.where(is_due, self.skill(mind.samples), mind.kappa)
        mind = mind._replace(
            kappa=kappa,
            schema=torch.where(is_due, self.validity(updates, drift), mind.schema),
            fresh=torch.where(is_due, 0.0, mind.fresh),
            updates=updates,
            drift=drift,
            training=torch.where(
                is_due, float(p.train_slots), (mind.training - passed).clamp_min(0.0)
            ),
        )
        if p.refresh_every == 0:
            return mind._replace(since_refresh=mind.since_refresh + passed)
        is_refit = is_due & (updates.remainder(p.refresh_every) < 0.5)
        bias = p.refresh_bias * noise["refresh"] if "refresh" in noise else torch.zeros_like(slot)
        return mind._replace(
            kappa_rm=torch.where(is_refit, kappa, mind.kappa_rm),
            bias=torch.where(is_refit, bias, mind.bias),
            since_refresh=torch.where(is_refit, 0.0, mind.since_refresh + passed),
        )

    def in_buffer(self, mind: Mind) -> Tensor:
        """(rows,) samples that the buffer holds, oldest out."""
        return mind.kept.clamp_max(float(self._p.buffer_capacity))
