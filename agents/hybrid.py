"""Actions that are a choice and some numbers in [0, 1], parts of which count at a time.

The choice is categorical among what is allowed. Each number is logit-normal, a Gaussian through a
sigmoid: u = sigmoid(z), z ~ N(centre, std). Of the families on [0, 1] it is the one whose samples
are a closed function of a uniform number that is handed in (Beta's inverse distribution function
is not in torch, and rejection takes any number of them), and whose place and width are parameters
of their own (Kumaraswamy's has to grow one exponentially in the other to narrow at a place). To PPO
it is the plain Gaussian: ratios and divergences do not know through which map a number is read.

The best number is the median, sigmoid(centre). Unlike mode and mean it is the same decision in
whatever unit, or on whatever logarithmic scale, the environment reads it.

A part that the environment does not read now has neither probability nor entropy, so that it
gives no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import softplus

from sixgym.agents.team.choices import Choice, choose_among
from sixgym.envs.core.errors import PolicyError

REGION_MASK, COMPONENT_MASK = "region_mask", "component_mask"
"""Parts of an observation that tell what is allowed (n,), and what counts (1 + k,)."""

LIMIT = 10.0
"""Largest size of a logit: beyond, a flat action in float32 would not tell it any more."""
CENTRES = 5.0
"""Largest size of a centre; a median between 0.7 % and 99.3 %."""
LOG_STD_RANGE = (-3.0, 0.5 * math.log(2.0))
"""Bounds of the log deviation; a logit-normal has one mode for sure up to a deviation of sqrt 2."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(6)


class Numbers(NamedTuple):
    """Some independent numbers in [0, 1]; make one with `numbers_of`."""

    centre: Tensor
    """(..., k) logits of the medians."""
    log_std: Tensor
    """Log deviation of the logits, of a shape that spreads over the centres."""

    def pick(self, uniform: Tensor, deterministic: bool) -> Tensor:
        """(..., k) in (0, 1): a sample, or the medians.

        Args:
            uniform: (..., k) in [0, 1].
            deterministic: the medians.
        """
        if deterministic:
            return self.centre.sigmoid()
        normal: Tensor = torch.special.ndtri(uniform.clamp(1e-7, 1.0 - 1e-7))
        return (self.centre + self.log_std.exp() * normal).clamp(-LIMIT, LIMIT).sigmoid()

    def log_prob(self, u: Tensor) -> Tensor:
        """(..., k) log-densities of numbers (..., k)."""
        logit = u.logit(eps=1.0 / (1.0 + math.exp(LIMIT)))
        distance = (logit - self.centre) * (-self.log_std).exp()
        gauss = -0.5 * distance**2 - self.log_std - 0.5 * math.log(2.0 * math.pi)
        return gauss + _spread(logit)

    def entropy(self) -> Tensor:
        """(..., k) in nats, that of the uniform distribution being 0.

        By Gauss-Hermite quadrature; within 3e-4 for every deviation that is allowed.
        """
        at, std = self.centre.unsqueeze(-1), self.log_std.exp().unsqueeze(-1)
        nodes, weights = (torch.as_tensor(x).to(self.centre) for x in (_NODES, _WEIGHTS))
        stretch = (_spread(at + std * nodes) * weights).sum(-1) / weights.sum()
        return 0.5 * math.log(2.0 * math.pi * math.e) + self.log_std - stretch


class Hybrid(NamedTuple):
    """A choice and some numbers; make one with `hybrid_of`."""

    choice: Choice
    """(..., n)."""
    numbers: Numbers
    """(..., k)."""
    mask: Tensor
    """(..., 1 + k), 1 where a part counts: the choice first."""

    def pick(self, uniform: Tensor, deterministic: bool) -> tuple[Tensor, Tensor]:
        """Choice (...) int64 and numbers (..., k): a sample, or the best.

        Args:
            uniform: (..., 1 + k) in [0, 1).
            deterministic: the best choice (ties by the first uniform number) and the medians.
        """
        chosen = self.choice.pick(uniform[..., 0], deterministic)
        return chosen, self.numbers.pick(uniform[..., 1:], deterministic)

    def log_prob(self, chosen: Tensor, u: Tensor) -> Tensor:
        """(...) of the parts that count."""
        parts = [self.choice.log_prob(chosen).unsqueeze(-1), self.numbers.log_prob(u)]
        return (torch.cat(parts, -1) * self.mask).sum(-1)

    def entropy(self, of_numbers: float = 1.0) -> Tensor:
        """(...) of the parts that count.

        Args:
            of_numbers: weight of the numbers' entropies beside the choice's, for a bonus.
        """
        parts = [self.choice.entropy().unsqueeze(-1), of_numbers * self.numbers.entropy()]
        return (torch.cat(parts, -1) * self.mask).sum(-1)


def numbers_of(raw: Tensor, log_std: Tensor) -> Numbers:
    """Numbers from a network's outputs: these, bent softly into the bounds.

    Args:
        raw: (..., k) centres, any real numbers.
        log_std: (k,) or (..., k), any real numbers.
    """
    low, high = LOG_STD_RANGE
    return Numbers(_bent(raw, -CENTRES, CENTRES), _bent(log_std, low, high))


def hybrid_of(
    logits: Tensor, raw: Tensor, log_std: Tensor, allowed: Tensor, component_mask: Tensor
) -> Hybrid:
    """The distribution of a network's outputs.

    Args:
        logits: (..., n).
        raw: (..., k), see `numbers_of`.
        log_std: likewise.
        allowed: (..., n), above a half where a choice is allowed; where none is, the first is.
        component_mask: (..., 1 + k), 1 where a part counts.
    """
    choice = choose_among(logits, or_first(allowed > 0.5))
    return Hybrid(choice, numbers_of(raw, log_std), component_mask)


def hybrid_sizes(observation: gym.Space[Any], action: gym.Space[Any]) -> tuple[int, int]:
    """How many choices and numbers an agent has whose masks are in its observation.

    Raises:
        PolicyError: there are no masks, or the action is no flat one of their sizes.
    """
    parts = dict(observation.items()) if isinstance(observation, spaces.Dict) else {}
    if not {REGION_MASK, COMPONENT_MASK} <= parts.keys():
        raise PolicyError(
            f"observation {observation}: allowed for a HybridPolicy: a Dict with {REGION_MASK} and "
            f"{COMPONENT_MASK}"
        )
    n = int(np.prod(parts[REGION_MASK].shape or ()))
    k = int(np.prod(parts[COMPONENT_MASK].shape or ())) - 1
    is_unit = isinstance(action, spaces.Box) and bool(
        action.shape == (n + k,) and (action.low == -1).all() and (action.high == 1).all()
    )
    if not is_unit:
        raise PolicyError(f"action {action}: allowed for a HybridPolicy: Box(-1, 1, ({n + k},))")
    return n, k


def or_first(allowed: Tensor) -> Tensor:
    """(..., n) bool, the first allowed where nothing was."""
    nothing = ~allowed.any(-1, keepdim=True)
    return torch.cat([allowed[..., :1] | nothing, allowed[..., 1:]], -1)


def flat_action(chosen: Tensor, u: Tensor, n: int) -> Tensor:
    """(..., n + k) in [-1, 1]: 1 at the choice, -1 at the others, and 2 u - 1.

    Args:
        chosen: (...) int64.
        u: (..., k) in [0, 1].
        n: choices that there are.
    """
    places = torch.arange(n, device=chosen.device)
    marks = torch.where(chosen.unsqueeze(-1) == places, 1.0, -1.0).to(u)
    return torch.cat([marks, 2.0 * u - 1.0], -1)


def of_flat(action: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The reverse of `flat_action`: the first of the largest is the choice."""
    return action[..., :n].argmax(-1), 0.5 * (action[..., n:] + 1.0)


def prior_logits(medians: Sequence[float]) -> Tensor:
    """(k,) outputs of a network that `numbers_of` gives these medians, as far as its bounds let it.

    Args:
        medians: (k,) in [0, 1].
    """
    wanted = torch.tensor(medians, dtype=torch.float64).logit(eps=1e-6)
    share = (wanted / CENTRES).clamp(-0.9, 0.9)  # where tanh still has a slope
    return (CENTRES * share.atanh()).to(torch.float32)


def _bent(x: Tensor, low: float, high: float) -> Tensor:
    """Within the bounds, the middle left alone; cut off, it could not come back by its gradient."""
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    return middle + half * torch.tanh((x - middle) / half)


def _spread(logit: Tensor) -> Tensor:
    """-log u (1 - u): how much longer a piece of the logit's axis is than that of u's."""
    return softplus(logit) + softplus(-logit)
