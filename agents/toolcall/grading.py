"""How good an edge agent is on the frozen sets, and how far it went from another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.agents.toolcall import objective
from sixgym.agents.toolcall.config import EvaluationSettings
from sixgym.agents.toolcall.language import Call
from sixgym.agents.toolcall.model import Draft, ToolNet, prompt_tensor
from sixgym.agents.toolcall.scorer import Scorer, auc, calibration_error, features_of
from sixgym.agents.toolcall.sft import torch_generator
from sixgym.agents.toolcall.task import FROZEN_SEED, Item, frozen_easy, frozen_hard

DIFFICULTY_EDGES = (0.15, 0.3, 0.45, 0.6)
"""Between the five bins of difficulty in which success is told. [our choice: dossier 4.7]"""
CHUNK = 1_000
"""Prompts that are answered together."""


class Grade(NamedTuple):
    """Answers to a set of requests."""

    success: float
    """Share that is exactly the true call."""
    valid: float
    """Share that the validator takes."""
    by_difficulty: tuple[float | None, ...]
    """Success in the five bins of difficulty; None where there is no request."""


class Report(NamedTuple):
    """One evaluation."""

    hard_success: float
    hard_valid: float
    easy_success: float
    easy_valid: float
    kl_forward: float
    """D(pi_SFT || pi), nats a sequence."""
    kl_reverse: float
    """D(pi || pi_SFT), nats a sequence."""


class Scores(NamedTuple):
    """How well scores tell right drafts from wrong ones, on the hard set."""

    auc_log_prob: float
    """Of the draft's log-probability alone."""
    auc: float
    """Of the fitted scorer."""
    ece: float
    """Of the fitted scorer."""


class Examiner:
    """Judges edge agents on the frozen sets, always the same.

    Args:
        settings: how many requests of each.
        reference: the supervised start, from which drift is measured.
    """

    def __init__(self, settings: EvaluationSettings, reference: ToolNet) -> None:
        self._hard, self._easy = frozen_hard(settings.hard), frozen_easy(settings.easy)
        self._prompts = prompt_tensor([i.prompt for i in frozen_hard(settings.kl)])
        self._reference = reference
        # What the reference says never changes: drawn once.
        self._said = reference.generate(self._prompts, _noise())

    def report(self, net: ToolNet) -> Report:
        """Judge an agent."""
        hard, easy = grade(net, self._hard), grade(net, self._easy)
        own = net.generate(self._prompts, _noise())
        return Report(
            hard.success,
            hard.valid,
            easy.success,
            easy.valid,
            sequence_kl(self._reference, net, self._prompts, self._said),
            sequence_kl(net, self._reference, self._prompts, own),
        )

    def score(self, net: ToolNet, scorer: Scorer) -> Scores:
        """Judge a scorer of an agent's drafts by which of them are right."""
        draft = answer(net, self._hard)
        calls = zip(draft.calls(), self._hard, strict=True)
        is_right = [call == item.answer for call, item in calls]
        features = features_of(draft)
        chance = scorer.score(features)
        return Scores(
            auc(features[:, 0], is_right),
            auc(chance, is_right),
            calibration_error(chance, is_right),
        )

    def by_difficulty(self, net: ToolNet) -> tuple[float | None, ...]:
        """Success on the hard set in bins of difficulty."""
        return grade(net, self._hard).by_difficulty


def answer(net: ToolNet, items: Sequence[Item]) -> Draft:
    """Greedy answers to requests, in chunks."""
    parts = prompt_tensor([i.prompt for i in items]).split(CHUNK)
    return reduce(Draft.then, map(net.generate, parts))


def grade(net: ToolNet, items: Sequence[Item]) -> Grade:
    """Success and validity of an edge agent's greedy answers."""
    return grade_calls(answer(net, items).calls(), items)


def grade_calls(calls: Sequence[Call | None], items: Sequence[Item]) -> Grade:
    """Success and validity of anyone's answers.

    Args:
        calls: what the validator made of each answer; None where it refused.
        items: the requests, at least one.
    """
    right = [call == item.answer for call, item in zip(calls, items, strict=True)]
    bins: list[list[bool]] = [[] for _ in range(len(DIFFICULTY_EDGES) + 1)]
    for is_right, item in zip(right, items, strict=True):
        bins[sum(item.difficulty >= edge for edge in DIFFICULTY_EDGES)].append(is_right)
    return Grade(
        sum(right) / len(right),
        sum(call is not None for call in calls) / len(calls),
        tuple(sum(b) / len(b) if b else None for b in bins),
    )


@torch.no_grad()
def sequence_kl(p: ToolNet, q: ToolNet, prompt: Tensor, draft: Draft) -> float:
    """D(p || q) of whole answers, nats: sums over the vocabulary on prefixes that p has sampled.

    Args:
        p: the policy that sampled.
        q: the other.
        prompt: (rows, 34).
        draft: of p on these prompts.
    """
    token_kl = objective.kl(p(prompt, draft.token), q(prompt, draft.token))
    return float((token_kl * draft.is_said).sum(1).mean())


def _noise() -> torch.Generator:
    return torch_generator(FROZEN_SEED, "kl")
