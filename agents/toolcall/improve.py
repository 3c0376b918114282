"""Improvement of the edge agent on cloud answers, by the composite objective or by DPO.

An iteration samples answers to requests of the buffer, rewards them by the cloud's answers, and
takes gradient steps of (28); the policy that sampled is the centre of the trust region, the
supervised start is the anchor and never changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.agents.toolcall import objective
from sixgym.agents.toolcall.config import BufferSettings, ImproveSettings
from sixgym.agents.toolcall.grading import answer
from sixgym.agents.toolcall.language import Call
from sixgym.agents.toolcall.model import (
    Draft,
    RewardNet,
    ToolNet,
    answer_tensor,
    prompt_tensor,
    said,
)
from sixgym.agents.toolcall.objective import Terms
from sixgym.agents.toolcall.reward_model import differing
from sixgym.agents.toolcall.sft import Examples, descend, torch_generator
from sixgym.agents.toolcall.task import FULL, Item, cloud_answers, draw
from sixgym.agents.toolcall.validator import INVALID, rule_reward
from sixgym.envs.core.errors import SixgymError


class Buffer(NamedTuple):
    """Offloaded requests."""

    prompt: Tensor
    """(rows, 34) int64."""
    cloud: Tensor
    """(rows, 20) int64, the cloud's answers."""
    draft: Draft
    """What the edge had said."""
    calls: list[Call]
    """The cloud's answers as calls."""

    @classmethod
    def of(cls, items: Sequence[Item], calls: Sequence[Call], draft: Draft) -> Buffer:
        """Requests, the cloud's answers to them, and the edge's."""
        prompts = prompt_tensor([i.prompt for i in items])
        return cls(prompts, answer_tensor(calls), draft, list(calls))

    @property
    def agrees(self) -> list[bool]:
        """Whether the edge's answer is the cloud's, for each request: the scorer's label."""
        return [d == c for d, c in zip(self.draft.calls(), self.calls, strict=True)]

    def then(self, more: Buffer) -> Buffer:
        """These, and more behind them."""
        return Buffer(
            torch.cat([self.prompt, more.prompt]),
            torch.cat([self.cloud, more.cloud]),
            self.draft.then(more.draft),
            self.calls + more.calls,
        )


class Progress(NamedTuple):
    """Of one iteration: means over its samples and over its gradient steps."""

    reward: float
    """Of the samples; NaN where none are drawn."""
    valid: float
    """Share of samples that the validator takes; NaN where none are drawn."""
    pg: float
    kl_old: float
    kl_sft: float
    nll_cloud: float
    loss: float
    grad_norm: float
    """Before it was clipped."""


NOTHING = Progress(*(math.nan,) * 8)


class _Step(NamedTuple):
    terms: Terms
    loss: float
    grad_norm: float


class _Rollout(NamedTuple):
    prompt: Tensor  # (samples, 34)
    token: Tensor  # (samples, 20)
    weight: Tensor  # (samples, 20), 1 up to and including <eos>
    log_prob: Tensor  # (samples, 20) under the policy that sampled
    reference: Tensor  # (samples, 20, 117) logits of the trust region's centre
    advantage: Tensor  # (samples,)
    reward: float
    valid: float


def collect(net: ToolNet, settings: BufferSettings, seed: int) -> Buffer:
    """Serve full-law requests and send those with the least likely drafts to the cloud.

    Args:
        net: the edge agent; answers greedily.
        settings: how many, and how good the cloud is.
        seed: of the requests and of the cloud's mistakes.
    """
    items = draw(FULL, settings.prompts, seed, "service")
    draft = answer(net, items)
    calls = cloud_answers(items, seed, "cloud", settings.cloud_accuracy)
    order = draft.log_prob.sum(1).argsort(stable=True)
    kept = order[: int(settings.prompts * settings.offloaded)].sort().values.tolist()
    return Buffer.of([items[i] for i in kept], [calls[i] for i in kept], draft.take(kept))


class Improver:
    """Takes an edge agent further, iteration by iteration; the buffer may grow between them.

    Args:
        net: trained in place.
        reference: the supervised start, pi_SFT.
        anchor: the supervised set, whose prefixes the anchor is computed on.
        settings: of the objective.
        seed: of samples and batches.
        reward_model: for ``reward="rm"``.

    Raises:
        SixgymError: ``reward="rm"`` without a reward model.
    """

    def __init__(
        self,
        net: ToolNet,
        reference: ToolNet,
        anchor: Examples,
        settings: ImproveSettings,
        seed: int,
        reward_model: RewardNet | None = None,
    ) -> None:
        if settings.reward == "rm" and reward_model is None:
            raise SixgymError("reward='rm': allowed with a reward model")
        self.net = net
        self.settings = settings
        self._reference = reference
        self._anchor = anchor
        self._reward_model = reward_model
        self._noise = torch_generator(seed, "improve")
        self._optimiser = torch.optim.AdamW(
            net.parameters(), lr=settings.learning_rate, weight_decay=0.0
        )

    def iterate(self, buffer: Buffer) -> Progress:
        """One iteration.

        Raises:
            SixgymError: the buffer is empty, or holds no pair for DPO.
        """
        if not buffer.calls:
            raise SixgymError("buffer: empty; allowed: at least one request")
        if self.settings.method == "dpo":
            return self._prefer(buffer)
        s = self.settings
        rollout = self._sample(buffer) if s.w_pg or s.kl_old else None
        together = s.schedule == "sum"
        history: list[_Step] = []
        for _ in range(s.epochs):
            history += [
                self._step(buffer, rollout, rows, gain=True, anchor=together)
                for rows in self._minibatches(rollout)
            ]
        if not together and s.kl_sft:
            history += [
                self._step(buffer, None, None, gain=False, anchor=True) for _ in range(len(history))
            ]
        columns = zip(*(h.terms for h in history), strict=True)
        pg, kl_old, kl_sft, nll_cloud = (float(torch.stack(c).mean()) for c in columns)
        return Progress(
            reward=rollout.reward if rollout else math.nan,
            valid=rollout.valid if rollout else math.nan,
            pg=pg,
            kl_old=kl_old,
            kl_sft=kl_sft,
            nll_cloud=nll_cloud,
            loss=sum(h.loss for h in history) / len(history),
            grad_norm=sum(h.grad_norm for h in history) / len(history),
        )

    # --------------------------------------------------------------------------------- samples

    def _sample(self, buffer: Buffer) -> _Rollout:
        """Answers to some requests, several each, with rewards within their groups."""
        s = self.settings
        rows = torch.randperm(len(buffer.calls), generator=self._noise)[: s.prompts]
        rows = rows.repeat_interleave(s.group)
        prompt = buffer.prompt[rows]
        draft = self.net.generate(prompt, self._noise)
        calls = draft.calls()
        reward = self._reward(prompt, draft, calls, [buffer.calls[i] for i in rows.tolist()])
        with torch.no_grad():
            logits = self.net(prompt, draft.token)
            centre = logits if s.kl_reference == "old" else self._reference(prompt, draft.token)
        return _Rollout(
            prompt,
            draft.token,
            draft.is_said.float(),
            objective.chosen(logits, draft.token),
            centre,
            objective.group_advantage(reward.reshape(-1, s.group)).flatten(),
            float(reward.mean()),
            sum(call is not None for call in calls) / len(calls),
        )

    @torch.no_grad()
    def _reward(
        self, prompt: Tensor, draft: Draft, calls: list[Call | None], references: list[Call]
    ) -> Tensor:
        """(samples,) by the rule (27) or by the reward model."""
        if self.settings.reward == "rule":
            return torch.tensor([rule_reward(c, r) for c, r in zip(calls, references, strict=True)])
        assert self._reward_model is not None
        is_valid = torch.tensor([call is not None for call in calls])
        return torch.where(is_valid, self._reward_model(prompt, draft.token), INVALID)

    def _minibatches(self, rollout: _Rollout | None) -> Sequence[Tensor | None]:
        if rollout is None:
            return [None]
        order = torch.randperm(len(rollout.token), generator=self._noise)
        return list(order.split(self.settings.minibatch))

    # ----------------------------------------------------------------------------------- steps

    def _step(
        self,
        buffer: Buffer,
        rollout: _Rollout | None,
        rows: Tensor | None,
        *,
        gain: bool,
        anchor: bool,
    ) -> _Step:
        """A gradient step on what gains (samples and imitation), on the anchor, or on both."""
        zero, s = torch.zeros(()), self.settings
        pg, trust = (zero, zero) if rollout is None or rows is None else self._trust(rollout, rows)
        pull = self._pull(buffer) if anchor and s.kl_sft else zero
        copy = self._copy(buffer) if gain and s.nll_cloud else zero
        terms = Terms(pg, trust, pull, copy)
        loss = objective.composite(terms, s.weights)
        norm = descend(self.net, self._optimiser, loss, s.grad_clip)
        return _Step(Terms(*(term.detach() for term in terms)), float(loss.detach()), norm)

    def _trust(self, rollout: _Rollout, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Policy gradient and reverse KL on some of the samples."""
        token, weight = rollout.token[rows], rollout.weight[rows]
        logits = self.net(rollout.prompt[rows], token)
        gradient = objective.policy_gradient(
            objective.chosen(logits, token),
            rollout.log_prob[rows],
            rollout.advantage[rows],
            weight,
            self.settings.clip,
        )
        return gradient, objective.reverse_kl(logits, rollout.reference[rows], weight)

    def _pull(self, buffer: Buffer) -> Tensor:
        """Forward KL to the supervised start, on the supervised set or on its own answers."""
        s = self.settings
        if s.anchor_prompts == "sft":
            prompt, token = self._anchor.pick(s.anchor_batch, self._noise)
        else:
            rows = torch.randint(len(buffer.calls), (s.anchor_batch,), generator=self._noise)
            prompt = buffer.prompt[rows]
            token = self._reference.generate(prompt, self._noise).token
        with torch.no_grad():
            reference = self._reference(prompt, token)
        return objective.forward_kl(self.net(prompt, token), reference, said(token).float())

    def _copy(self, buffer: Buffer) -> Tensor:
        """NLL of cloud answers."""
        size = (self.settings.cloud_batch,)
        rows = torch.randint(len(buffer.calls), size, generator=self._noise)
        token = buffer.cloud[rows]
        return objective.nll(self.net(buffer.prompt[rows], token), token, said(token).float())

    def _prefer(self, buffer: Buffer) -> Progress:
        """DPO steps on pairs of the cloud's answer and the edge's draft."""
        s = self.settings
        pairs = differing(buffer.cloud, buffer.draft.token)
        if not len(pairs):
            raise SixgymError(
                "buffer: every draft is the cloud's answer; allowed: some that differ"
            )
        losses, norms = [], []
        for _ in range(s.epochs):
            rows = pairs[torch.randint(len(pairs), (s.cloud_batch,), generator=self._noise)]
            prompt = buffer.prompt[rows].repeat(2, 1)
            token = torch.cat([buffer.cloud[rows], buffer.draft.token[rows]])
            with torch.no_grad():
                before = self._log_prob(self._reference, prompt, token)
            better, worse = (self._log_prob(self.net, prompt, token) - before).chunk(2)
            loss = objective.dpo(better, worse, s.dpo_beta)
            norms.append(descend(self.net, self._optimiser, loss, s.grad_clip))
            losses.append(float(loss.detach()))
        return NOTHING._replace(loss=sum(losses) / len(losses), grad_norm=sum(norms) / len(norms))

    @staticmethod
    def _log_prob(net: ToolNet, prompt: Tensor, token: Tensor) -> Tensor:
        """(rows,) of whole answers."""
        return (objective.chosen(net(prompt, token), token) * said(token)).sum(1)
