"""Exact minimisers of the composite objective for one prompt with finitely many answers.

With advantages A fixed, p the supervised start and o the policy before:

``-sum u A + beta sum u ln(u/o) + lambda sum p ln(p/u)`` over the simplex, strictly convex [derived:
dossier 4.6]. All tensors are (..., answers); float64 is meant.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sixgym.envs.backend.solvers import bisect, lambert_w0

BISECTIONS, NEWTON_STEPS = 24, 6
"""Halvings of the interval of the multiplier, and steps from there to the last bits of float64."""


def minimiser(
    advantage: Tensor, old: Tensor, prior: Tensor, kl_old: float, kl_sft: float
) -> Tensor:
    """(32) ``u = lambda p / (beta W(lambda p / beta exp(-c / beta)))`` with the right multiplier.

    ``c = A + beta ln o - beta - nu``; the multiplier nu is found by bisection so that u sums to 1.
    Without anchor it is a step of mirror descent, ``u ~ o exp(A / beta)``; without trust region it
    is `fixed_point`.

    Args:
        advantage: A, (..., answers).
        old: o, positive, sums to 1.
        prior: p, positive, sums to 1.
        kl_old: beta >= 0.
        kl_sft: lambda >= 0; not both 0.

    Returns:
        (..., answers) probabilities u.

    Raises:
        ValueError: both weights are 0, or one is negative.
    """
    if min(kl_old, kl_sft) < 0.0 or kl_old + kl_sft == 0.0:
        raise ValueError(f"kl_old={kl_old}, kl_sft={kl_sft}: allowed: >= 0 and not both 0")
    if kl_sft == 0.0:
        return (old.log() + advantage / kl_old).softmax(-1)
    if kl_old == 0.0:
        return fixed_point(advantage, prior, kl_sft)

    def policy(multiplier: Tensor) -> tuple[Tensor, Tensor]:
        c = advantage + kl_old * old.log() - kl_old - multiplier[..., None]
        log_w = _log_lambert((kl_sft * prior / kl_old).log() - c / kl_old)
        u = kl_sft / kl_old * prior * (-log_w).exp()
        return u, -u / (kl_old + kl_sft * prior / u)

    # Stationarity times u, summed: nu = sum u A - beta + lambda - beta D(u || o).
    low = advantage.amin(-1) - kl_old + kl_sft + kl_old * old.log().amin(-1)
    high = advantage.amax(-1) - kl_old + kl_sft
    return _normalised(policy, low, high)


def fixed_point(advantage: Tensor, prior: Tensor, kl_sft: float) -> Tensor:
    """(33) ``u = lambda p / (nu - A)``: where repeated steps of (32) end, whatever beta.

    Bounded drift: u/p >= lambda / (A_max - A_min + lambda), so D(p || u) is at most
    `drift_bound`. Schema preservation: u/p rises with A, so answers of the lowest advantage never
    get more likely than they were.

    Args:
        advantage: A, (..., answers).
        prior: p, positive, sums to 1.
        kl_sft: lambda > 0.
    """
    best = advantage.amax(-1)

    def policy(multiplier: Tensor) -> tuple[Tensor, Tensor]:
        gap = multiplier[..., None] - advantage
        return kl_sft * prior / gap, -kl_sft * prior / gap.square()

    # The best answers' share alone is at most 1, so nu is that far above their advantage.
    share = torch.where(advantage == best[..., None], prior, 0.0).amax(-1)
    return _normalised(policy, best + kl_sft * share, best + kl_sft)


def drift_bound(advantage: Tensor, kl_sft: float) -> Tensor:
    """ln(1 + (A_max - A_min) / lambda), nats: the most that D(p || u) of (33) can be."""
    return torch.log1p((advantage.amax(-1) - advantage.amin(-1)) / kl_sft)


def _normalised(
    policy: Callable[[Tensor], tuple[Tensor, Tensor]], low: Tensor, high: Tensor
) -> Tensor:
    """The policy at the multiplier at which it sums to 1; its sum is convex and falls with it.

    Args:
        policy: (...) multiplier to (..., answers) probabilities and their derivatives by it.
        low: (...) at most the multiplier sought.
        high: (...) at least that.
    """
    nu = bisect(lambda m: policy(m)[0].sum(-1) - 1.0, low, high, BISECTIONS)
    for _ in range(NEWTON_STEPS):
        u, slope = policy(nu)
        nu = nu - (u.sum(-1) - 1.0) / slope.sum(-1)
    u = policy(nu)[0]
    return u / u.sum(-1, keepdim=True)


def _log_lambert(log_x: Tensor) -> Tensor:
    """Logarithm of W(exp(log_x)), without the exponential where it would overflow.

    W solves w + ln w = log_x, by Newton's method from log_x - ln log_x; each step squares
    the error. [standard: Corless et al. 1996]
    """
    small = lambert_w0(log_x.clamp_max(1.0).exp())
    z = log_x.clamp_min(1.0)
    w = z - z.log().clamp_min(0.0)
    for _ in range(6):
        w = w * (1.0 + z - w.log()) / (1.0 + w)
    # W(x) = x to first order, so its logarithm is log_x where x underflows.
    tiny = torch.where(log_x < -40.0, log_x, small.clamp_min(torch.finfo(z.dtype).tiny).log())
    return torch.where(log_x > 1.0, w.log(), tiny)
