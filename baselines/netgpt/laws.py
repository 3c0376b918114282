"""The laws of the score: learnt with noise, learnt without, and the difficulty itself (3.4)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, expit, log_ndtr, logit

from sixgym.baselines.netgpt.law import Below, ScoreLaw, legendre
from sixgym.baselines.netgpt.model import Model

Floats = NDArray[np.float64]

LEAST_NOISE = 0.1
"""Below it the quadrature is too coarse; then a law without noise stands in. [our choice: 3.4]"""


class NoisyLaw(ScoreLaw):
    """Scores with logit a (kappa_rm - d) + b_rm + sigma_s noise, (12): by quadrature.

    [derived: 3.4 (d)]

    Args:
        model: the constants.
        skill: kappa; None: ``model.skill0``.
        skill_rm: kappa when the scorer was refitted; None: ``skill``.
        bias: b_rm of the scorer.

    Raises:
        ValueError: ``score_noise`` is too small for the quadrature.
    """

    def __init__(
        self,
        model: Model,
        skill: float | None = None,
        skill_rm: float | None = None,
        bias: float = 0.0,
    ) -> None:
        super().__init__(model, skill)
        if model.score_noise < LEAST_NOISE:
            raise ValueError(f"score_noise={model.score_noise}: allowed here: >= {LEAST_NOISE}")
        self.skill_rm = self.skill if skill_rm is None else float(skill_rm)
        self.bias = bias

    @cached_property
    def _nodes(self) -> tuple[Floats, Floats, Floats, Floats]:
        """(NODES,) each: mean of the logit, probability mass, edge's and cloud's success."""
        d, weight = legendre()
        m = self.model
        centre = m.edge_slope * (self.skill_rm - d) + self.bias
        mass = weight * self.difficulty_density(d)
        return centre, mass, m.edge_success_at(d, self.skill), m.cloud_success_at(d)

    def below(self, tau: Floats) -> Below:
        """Normal distribution functions, averaged over the difficulty."""
        centre, mass, edge, cloud = self._nodes
        gap = (logit(tau)[..., None] - centre) / self.model.score_noise
        weight = mass * np.exp(log_ndtr(gap))
        return Below(weight.sum(-1), weight @ edge, weight @ cloud)

    def _posterior(self, score: Floats) -> Floats:
        """(..., NODES) probabilities of the difficulties.

        The largest exponent is subtracted, lest all of them underflow.
        """
        centre, mass, _, _ = self._nodes
        gap = (logit(score)[..., None] - centre) / self.model.score_noise
        exponent = -0.5 * gap * gap
        weight = mass * np.exp(exponent - exponent.max(-1, keepdims=True))
        return np.asarray(weight / weight.sum(-1, keepdims=True))

    def successes(self, score: Floats) -> tuple[Floats, Floats]:
        """Posterior means."""
        _, _, edge, cloud = self._nodes
        chance = self._posterior(score)
        return chance @ edge, chance @ cloud

    def edge_by_skill(self, score: Floats, skills: Floats) -> Floats:
        """Posterior means; the posterior does not depend on the skill."""
        d, _ = legendre()
        return self._posterior(score) @ self.model.edge_success_at(d[:, None], skills)

    def chance_easier(self, score: Floats, difficulty: float) -> Floats:
        """Posterior probability; in steps of the nodes."""
        d, _ = legendre()
        return np.asarray(self._posterior(score) @ (d <= difficulty))


class SharpLaw(ScoreLaw):
    """Base of scores without noise, falling in d: offloaded is whoever is harder than d*(tau)."""

    @abstractmethod
    def difficulty(self, score: Floats) -> Floats:
        """The difficulty that has this score; beyond [0, 1] outside the support."""

    def below(self, tau: Floats) -> Below:
        """Gauss-Legendre on [d*, 1]."""
        m = self.model
        cut = np.clip(self.difficulty(tau), 0.0, 1.0)
        node, weight = legendre()
        d = cut[..., None] + (1.0 - cut[..., None]) * node
        mass = weight * (1.0 - cut[..., None]) * self.difficulty_density(d)
        edge = (mass * m.edge_success_at(d, self.skill)).sum(-1)
        share = 1.0 - betainc(m.difficulty_a, m.difficulty_b, cut)
        return Below(np.asarray(share), edge, (mass * m.cloud_success_at(d)).sum(-1))

    def successes(self, score: Floats) -> tuple[Floats, Floats]:
        """At the difficulty that has the score."""
        d = self.difficulty(score)
        return self.model.edge_success_at(d, self.skill), self.model.cloud_success_at(d)

    def edge_by_skill(self, score: Floats, skills: Floats) -> Floats:
        """At the difficulty that has the score."""
        return self.model.edge_success_at(self.difficulty(score)[:, None], skills)

    def chance_easier(self, score: Floats, difficulty: float) -> Floats:
        """0 or 1."""
        return (self.difficulty(score) <= difficulty).astype(np.float64)


class ExactLaw(SharpLaw):
    """Scores with logit a (kappa_rm - d) + b_rm: calibrated if fresh, stale if not.

    [derived: 3.4 (a), (b)]

    Args:
        model: the constants; its noise is not looked at.
        skill: kappa; None: ``model.skill0``.
        skill_rm: kappa when the scorer was refitted; None: ``skill``.
        bias: b_rm of the scorer.
    """

    def __init__(
        self,
        model: Model,
        skill: float | None = None,
        skill_rm: float | None = None,
        bias: float = 0.0,
    ) -> None:
        super().__init__(model, skill)
        self.skill_rm = self.skill if skill_rm is None else float(skill_rm)
        self.bias = bias
        ends = expit(model.edge_slope * (self.skill_rm - np.array([1.0, 0.0])) + bias)
        self.low, self.high = float(ends[0]), float(ends[1])

    def difficulty(self, score: Floats) -> Floats:
        """kappa_rm - (logit s - b_rm) / a."""
        return np.asarray(self.skill_rm - (logit(score) - self.bias) / self.model.edge_slope)


class DifficultyLaw(SharpLaw):
    """Scores 1 - d whatever the skill; there is no gate.

    [derived: 3.4 (c)]

    Args:
        model: the constants.
        skill: kappa; None: ``model.skill0``.
    """

    def __init__(self, model: Model, skill: float | None = None) -> None:
        super().__init__(replace(model, schema_gate=False), skill)

    def difficulty(self, score: Floats) -> Floats:
        """1 - s."""
        return 1.0 - np.asarray(score, dtype=np.float64)


def score_law(
    model: Model,
    skill: float | None = None,
    skill_rm: float | None = None,
    bias: float = 0.0,
) -> NoisyLaw | ExactLaw:
    """The law of the learnt score: by quadrature, or without noise where there is next to none."""
    kind = NoisyLaw if model.score_noise >= LEAST_NOISE else ExactLaw
    return kind(model, skill, skill_rm, bias)
