"""Parametric models of the confidence scores, with their closed forms.

Each is given to the systems as a deterministic pool of events. No file, no data: for tests, for
theory, and where a ladder of exits of given quality is wanted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sixgym.envs.backend.rng import DrawTable, episode_key
from sixgym.envs.event_offload.scores import EventPool

Floats = NDArray[np.float64]

CLIP = 1e-6
"""Scores stay inside [CLIP, 1 - CLIP], as those of the shipped traces."""
POOL_SEED = 20260915
"""Seed of every pool: a pool is data, not randomness of the world."""
NUM_CLASSES = 2
TAIL_ACCURACY = 0.952
"""P(server names the sub-class right | tail): digits38's [derived from the traces]."""
HEAD_ACCURACY = 0.983
"""P(server answers head | head): digits38's [derived from the traces]."""
ANSWER, RUNNER_UP = 0.8, 0.15
"""Server probabilities of its first and second class; the rest share what is left [our choice:
the model has answers only, the numbers keep their order]."""

_NORMAL = NormalDist()


class ScoreModel(Protocol):
    """What can fill a pool."""

    def pool(self, events: int) -> EventPool:
        """A deterministic pool of ``events`` tail and as many head events."""


def separation(auroc: float) -> float:
    """Distance of two unit normals with that AUROC: d = sqrt(2) Phi^-1(AUROC) [standard]."""
    return math.sqrt(2.0) * _NORMAL.inv_cdf(auroc)


def auroc(separation: float) -> float:
    """The inverse of `separation`: Phi(d / sqrt 2) [standard]."""
    return _NORMAL.cdf(separation / math.sqrt(2.0))


@dataclass(frozen=True)
class GaussianLLR:
    """Cumulative log-likelihood ratio with independent normal increments [our choice: nested].

    L_n | z ~ N(+-d_n^2/2, d_n^2), Corr(L_i, L_j | z) = d_i/d_j, C_n = sigmoid(L_n): the posterior
    of a balanced prior. The default separations are those of digits38's exits.
    """

    separations: tuple[float, ...] = (0.739, 1.513, 2.169, 2.546)
    """d_n, positive and increasing."""

    def tpr(self, exit_index: int, threshold: float) -> float:
        """P(L_n > t | tail) = Phi((d^2/2 - t)/d) at exit ``exit_index`` (from 0), t a LLR."""
        d = self.separations[exit_index]
        return _NORMAL.cdf((d * d / 2.0 - threshold) / d)

    def fpr(self, exit_index: int, threshold: float) -> float:
        """P(L_n > t | head) = Phi((-d^2/2 - t)/d)."""
        d = self.separations[exit_index]
        return _NORMAL.cdf((-d * d / 2.0 - threshold) / d)

    def scores(self, events: int) -> tuple[Floats, Floats]:
        """Scores (events, N) of tail and of head events."""
        variance = np.diff(np.square(self.separations), prepend=0.0)
        out = []
        for name, sign in (("tail", 1.0), ("head", -1.0)):
            step = _draw(f"gaussian_{name}", "normal", events, len(variance))
            llr = np.cumsum(sign * variance / 2.0 + np.sqrt(variance) * step, axis=1)
            out.append(_sigmoid(llr))
        return out[0], out[1]

    def pool(self, events: int) -> EventPool:
        """A deterministic pool of ``events`` tail and as many head events."""
        return _pool("gaussian", *self.scores(events))


@dataclass(frozen=True)
class LogitNormal:
    """Normal logits with an AR correlation over the exits; fitted to digits38, not calibrated.

    logit C_n | z ~ N(mu, s^2); the correlation of exits i < j is the product of the adjacent ones
    between them.
    """

    tail_mean: tuple[float, ...] = (0.119, 0.636, 1.541, 3.344)
    tail_std: tuple[float, ...] = (0.289, 0.886, 1.580, 2.567)
    tail_correlation: tuple[float, ...] = (0.58, 0.67, 0.61)
    """Of adjacent exits, N - 1 numbers."""
    head_mean: tuple[float, ...] = (-0.062, -0.741, -1.763, -4.385)
    head_std: tuple[float, ...] = (0.321, 1.082, 1.710, 3.370)
    head_correlation: tuple[float, ...] = (0.41, 0.78, 0.63)

    def tpr(self, exit_index: int, threshold: float) -> float:
        """P(logit C_n > t | tail) = Phi((mu - t)/s)."""
        mean, std = self.tail_mean[exit_index], self.tail_std[exit_index]
        return _NORMAL.cdf((mean - threshold) / std)

    def fpr(self, exit_index: int, threshold: float) -> float:
        """P(logit C_n > t | head) = Phi((mu - t)/s)."""
        mean, std = self.head_mean[exit_index], self.head_std[exit_index]
        return _NORMAL.cdf((mean - threshold) / std)

    def scores(self, events: int) -> tuple[Floats, Floats]:
        """Scores (events, N) of tail and of head events."""
        groups = (
            ("tail", self.tail_mean, self.tail_std, self.tail_correlation),
            ("head", self.head_mean, self.head_std, self.head_correlation),
        )
        out = []
        for name, mean, std, correlation in groups:
            new = _draw(f"logit_normal_{name}", "normal", events, len(mean))
            unit = np.empty_like(new)
            unit[:, 0] = new[:, 0]
            for n, rho in enumerate(correlation, start=1):
                unit[:, n] = rho * unit[:, n - 1] + math.sqrt(1.0 - rho * rho) * new[:, n]
            out.append(_sigmoid(np.array(mean) + np.array(std) * unit))
        return out[0], out[1]

    def pool(self, events: int) -> EventPool:
        """A deterministic pool of ``events`` tail and as many head events."""
        return _pool("logit_normal", *self.scores(events))


@dataclass(frozen=True)
class BetaScores:
    """C_n | tail ~ Beta(k_n + 1, k_n), head ~ Beta(k_n, k_n + 1), independent over the exits.

    The likelihood ratio is C/(1 - C), so scores are calibrated for a balanced prior. Smaller k
    tells more; k = 1 has tail survival 1 - b^2, head survival (1 - b)^2 and AUROC 5/6.
    """

    shapes: tuple[float, ...] = (4.0, 2.0, 1.0, 0.5)
    """k_n >= 1/2; the default ladder has AUROCs .69, .76, .83 and .91 [our choice]."""

    def scores(self, events: int) -> tuple[Floats, Floats]:
        """Scores (events, N) of tail and of head events."""
        tail = np.stack([self._draw(f"beta_tail_{n}", k, events) for n, k in self._exits()], 1)
        head = np.stack([self._draw(f"beta_head_{n}", k, events) for n, k in self._exits()], 1)
        return tail, 1.0 - head

    def _exits(self) -> list[tuple[int, float]]:
        return list(enumerate(self.shapes))

    @staticmethod
    def _draw(name: str, shape: float, events: int) -> Floats:
        """Beta(k + 1, k) by tabulated inversion of its distribution function."""
        u = _draw(name, "uniform", events, 1)[:, 0]
        return _beta_quantile(shape, u)

    def pool(self, events: int) -> EventPool:
        """A deterministic pool of ``events`` tail and as many head events."""
        return _pool("beta", *self.scores(events))


def _beta_quantile(shape: float, u: Floats) -> Floats:
    """Quantiles of Beta(k + 1, k): trapezoidal distribution function, linear inversion.

    With x = sin^2(theta) the density is bounded at both ends for k >= 1/2, so 100,001 points give
    the quantiles to about 1e-9.
    """
    theta = np.linspace(0.0, math.pi / 2.0, 100_001)
    density = np.sin(theta) ** (2.0 * shape + 1.0) * np.cos(theta) ** (2.0 * shape - 1.0)
    cdf = np.concatenate(([0.0], np.cumsum(density[1:] + density[:-1])))
    return np.asarray(np.sin(np.interp(u * cdf[-1], cdf, theta)) ** 2)


def _draw(stream: str, kind: str, events: int, width: int) -> Floats:
    """(events, width) float64 draws of a named stream: one row an event."""
    table = DrawTable({f"event_pool_{stream}": (kind, (width,))}, dtype=torch.float64)  # type: ignore[dict-item]
    seed = torch.full((events,), POOL_SEED, dtype=torch.int64)
    drawn = table.draw(episode_key(seed, torch.zeros_like(seed)), torch.arange(events))
    return np.asarray(drawn[f"event_pool_{stream}"].numpy())


def _sigmoid(logit: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def _pool(name: str, tail: Floats, head: Floats) -> EventPool:
    """Scores with sub-classes, server answers and splits.

    A wrong server names a tail "head" (16 of the 17 errors on digits38 are that) and a head
    "tail 1"; the sub-classes are equally likely [our choice].
    """
    events = len(tail)
    u = _draw(f"{name}_server", "uniform", events, 4)
    y_tail = 1 + np.minimum((u[:, 0] * NUM_CLASSES).astype(np.int64), NUM_CLASSES - 1)
    y = np.concatenate((y_tail, np.zeros(events, np.int64)))
    answer_tail = np.where(u[:, 1] < TAIL_ACCURACY, y_tail, 0)
    answer_head = np.where(u[:, 2] < HEAD_ACCURACY, 0, 1)
    answer = np.concatenate((answer_tail, answer_head))
    # The second class is any other, so that without "head" a missed tail is a guess.
    shift = 1 + (np.concatenate((u[:, 3], u[::-1, 3])) * NUM_CLASSES).astype(np.int64)
    second = (answer + np.minimum(shift, NUM_CLASSES)) % (NUM_CLASSES + 1)
    rows = np.arange(2 * events)
    rest = (1.0 - ANSWER - RUNNER_UP) / (NUM_CLASSES - 1)
    server = np.full((2 * events, NUM_CLASSES + 1), rest, np.float32)
    server[rows, answer], server[rows, second] = ANSWER, RUNNER_UP
    conf = np.clip(np.concatenate((tail, head)).astype(np.float32), CLIP, 1.0 - CLIP)
    split = np.concatenate((np.arange(events) % 2, np.arange(events) % 2)).astype(np.int8)
    macs = np.arange(1, conf.shape[1] + 1, dtype=np.float64)
    pool = EventPool(conf, server, y.astype(np.int8), split, macs, {"name": name, "K": NUM_CLASSES})
    for array in (pool.conf, pool.server, pool.y, pool.split):
        array.flags.writeable = False
    return pool


MODELS: dict[str, ScoreModel] = {
    "gaussian": GaussianLLR(),
    "logit_normal": LogitNormal(),
    "beta": BetaScores(),
}
"""The synthetic values of the parameter ``scores``."""
