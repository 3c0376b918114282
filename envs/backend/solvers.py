"""Batched numerical solvers: roots, minima, Lambert W, water-filling, projections, permutations.

Every solver runs a fixed number of steps over the whole batch, so it has no data-dependent stop and
can be compiled; the docstrings say what accuracy the number of steps buys.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MAX_PERMUTED = 8
"""Most items whose permutations are tabled: 8! = 40320 rows."""

_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class Minimum(NamedTuple):
    """A minimum found by search.

    Attributes:
        point: (...) where.
        value: (...) how low.
    """

    point: Tensor
    value: Tensor


def bisect(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, steps: int) -> Tensor:
    """Root of a monotone function in [low, high] by bisection.

    The interval shrinks by ``2^-steps``. Where the function has no sign change the end at which it
    is nearer to 0 is approached, which is the constrained optimum if it is a derivative.
    [standard]

    Args:
        function: elementwise, rising or falling, (...) to (...); the direction may differ by row.
        low: (...) left ends.
        high: (...) right ends, >= low.
        steps: halvings, >= 1; 30 give 1e-9 of the interval.

    Returns:
        (...) the middle of the last interval.

    Raises:
        ValueError: if ``steps`` is less than 1.
    """
    _check_steps(steps)
    falls = function(high) < function(low)
    width = high - low
    for k in range(1, steps + 1):
        half = width * 0.5**k
        root_is_right = (function(low + half) < 0) != falls
        low = _boundary(torch.where(root_is_right, low + half, low))
    return low + width * 0.5 ** (steps + 1)


def golden_section(
    function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, steps: int
) -> Minimum:
    """Minimum of a unimodal function in [low, high], one evaluation a step.

    The interval shrinks by ``0.618^steps``. A minimum is flat, so it is found to about the square
    root of the precision: 1e-8 in float64, 3e-4 in float32, relative. [standard: Kiefer 1953]

    Args:
        function: elementwise, unimodal, (...) to (...).
        low: (...) left ends.
        high: (...) right ends, >= low.
        steps: reductions, >= 1; 40 give 4e-9 of the interval.

    Returns:
        The better inner point of the last interval, and the value there.

    Raises:
        ValueError: if ``steps`` is less than 1.
    """
    _check_steps(steps)
    width = high - low
    inner, outer = 1.0 - _GOLDEN, _GOLDEN
    value_left, value_right = function(low + inner * width), function(low + outer * width)
    for k in range(1, steps + 1):
        keep_left = value_left < value_right
        low = _boundary(torch.where(keep_left, low, low + width * (inner * _GOLDEN ** (k - 1))))
        shrunk = width * _GOLDEN**k
        value_new = function(low + torch.where(keep_left, inner * shrunk, outer * shrunk))
        value_left, value_right = (
            _boundary(torch.where(keep_left, value_new, value_right)),
            _boundary(torch.where(keep_left, value_left, value_new)),
        )
    left_is_better = value_left < value_right
    shrunk = width * _GOLDEN**steps
    point = low + torch.where(left_is_better, inner * shrunk, outer * shrunk)
    return Minimum(point, torch.minimum(value_left, value_right))


def lambert_w0(x: Tensor) -> Tensor:
    """Principal branch of Lambert W: ``w exp(w) = x`` with w >= -1.

    Three steps of Halley's method; next to -1/e, where the tangent is vertical, a series.
    [standard: Corless et al. 1996]

    Args:
        x: any shape, >= -1/e; NaN below.

    Returns:
        Shape of ``x``; relative error below 2e-14 in float64 and 1e-6 in float32.
    """
    root = _branch_root(x)
    near = _branch_series(root)
    small = torch.log1p(x.clamp_min(-0.3))
    away = small * (1.0 - torch.log1p(small.clamp_min(-0.3)) / (2.0 + small))
    w = torch.where(x < -0.2, near, away)
    for _ in range(3):
        grown = torch.exp(-w) * x
        error = w - grown
        # the guard matters only at w = -1 itself, where the error is 0 already
        ahead = (w + 1.0).clamp_min(torch.finfo(x.dtype).tiny)
        w = w - error / (ahead - (w + 2.0) * error / (2.0 * ahead))
    w = torch.where(root < _series_radius(x), near, w)
    w = torch.where(x == math.inf, x, w)
    return torch.where(x < _branch_point(x), math.nan, w)


def lambert_wm1(x: Tensor) -> Tensor:
    """Lower branch of Lambert W: ``w exp(w) = x`` with w <= -1.

    Four Newton steps on ``w + ln(-w) = ln(-x)``, which cannot underflow; next to -1/e, where the
    tangent is vertical, a series. [standard: Iacono & Boyd 2017 use this form]

    Args:
        x: any shape, in [-1/e, 0); -inf at 0, NaN outside.

    Returns:
        Shape of ``x``; relative error below 1e-14 in float64 and 1e-6 in float32.
    """
    root = _branch_root(x)
    near = _branch_series(-root)
    tiny = torch.finfo(x.dtype).tiny
    log_x = torch.log((-x).clamp_min(tiny)).clamp_max(-1.0)
    gap = torch.log(-log_x)
    w = torch.where(x < -0.25, near, log_x - gap + gap / log_x)
    for _ in range(4):
        w = w.clamp_max(-1.0 - 1e-3 * _series_radius(x))
        w = w - (w + torch.log(-w) - log_x) * w / (w + 1.0)
    w = torch.where(root < _series_radius(x), near, w)
    w = torch.where(x == 0, -math.inf, w)
    return torch.where((x < _branch_point(x)) | (x > 0), math.nan, w)


def water_filling(gain: Tensor, budget: Tensor | float) -> Tensor:
    """Powers that maximise ``sum log(1 + g_i p_i)`` with ``sum p_i = budget``, exactly.

    ``p_i = max(0, level - 1/g_i)``; the level follows from sorting. [standard: Cover & Thomas 9.4]

    Args:
        gain: (..., channels) gain over noise, 1/W, >= 0; at least one positive per row.
        budget: total power, W, >= 0; a float or (...).

    Returns:
        (..., channels) W; 0 on channels of gain 0 (on all of them if there is no other).

    Raises:
        ValueError: if a float ``budget`` is negative.
    """
    if isinstance(budget, Tensor):
        total = budget.unsqueeze(-1)
    else:
        if not budget >= 0.0:
            raise ValueError(f"budget = {budget}, must be >= 0")
        total = torch.full_like(gain[..., :1], budget)
    floor = gain.reciprocal()
    ordered = floor.sort(-1).values
    ranks = torch.arange(1, gain.shape[-1] + 1, dtype=gain.dtype, device=gain.device)
    levels = (total + ordered.cumsum(-1)) / ranks
    # the budget cannot reach a floor above the level; ties at budget 0 keep the best channel
    wet = (levels > ordered).sum(-1, keepdim=True).clamp_min(1)
    level = levels.gather(-1, wet - 1)
    return torch.where(gain > 0, (level - floor).clamp_min(0.0), 0.0)


def project_box(x: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """Nearest point of ``low <= x <= high``, elementwise."""
    return torch.minimum(
        torch.maximum(x, torch.as_tensor(low, dtype=x.dtype, device=x.device)),
        torch.as_tensor(high, dtype=x.dtype, device=x.device),
    )


def project_simplex(x: Tensor, total: float = 1.0) -> Tensor:
    """Nearest point with ``x >= 0`` and ``sum x = total`` on the last axis.

    [standard: Held, Wolfe & Crowder 1974; Duchi et al. 2008]

    Args:
        x: (..., n).
        total: the sum, > 0.

    Raises:
        ValueError: if ``total`` is not positive.
    """
    if not total > 0.0:
        raise ValueError(f"total = {total}, must be > 0")
    ordered = x.sort(-1, descending=True).values
    ranks = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    shifts = (ordered.cumsum(-1) - total) / ranks
    active = (ordered > shifts).sum(-1, keepdim=True).clamp_min(1)
    return (x - shifts.gather(-1, active - 1)).clamp_min(0.0)


def projected_gradient(
    gradient: Callable[[Tensor], Tensor],
    project: Callable[[Tensor], Tensor],
    start: Tensor,
    step: Tensor | float,
    steps: int,
) -> Tensor:
    """Minimise by ``x <- project(x - step gradient(x))``.

    With a convex function whose gradient is L-Lipschitz and ``step <= 1/L`` the value falls at
    every step, to within ``|x0 - x*|^2 / (2 step n)`` of the least after n. [standard: Beck 2017]

    Args:
        gradient: (..., n) to (..., n).
        project: (..., n) to (..., n), the nearest feasible point.
        start: (..., n).
        step: step length, > 0; a float or a shape that broadcasts.
        steps: how many, >= 1.

    Raises:
        ValueError: if ``steps`` is less than 1 or a float ``step`` is not positive.
    """
    _check_steps(steps)
    if not isinstance(step, Tensor) and not step > 0.0:
        raise ValueError(f"step = {step}, must be > 0")
    x = project(start)
    for _ in range(steps):
        x = _boundary(project(x - step * gradient(x)))
    return x


def all_permutations(num_items: int, device: torch.device | str = "cpu") -> Tensor:
    """Table of all permutations in lexicographic order; build it once and keep it.

    Args:
        num_items: K, 0 to 8.
        device: where the table lives.

    Returns:
        (K!, K) int64; the first row is the identity.

    Raises:
        ValueError: if ``num_items`` is outside 0 to 8.
    """
    if not 0 <= num_items <= MAX_PERMUTED:
        raise ValueError(f"num_items = {num_items}, must be from 0 to {MAX_PERMUTED}")
    rows = list(itertools.permutations(range(num_items)))
    return torch.tensor(rows, dtype=torch.int64, device=device).reshape(len(rows), num_items)


def best_permutation(cost: Tensor, table: Tensor) -> Tensor:
    """Permutation of least cost; the first in the table where several are least.

    Args:
        cost: (..., permutations) cost of every row of the table.
        table: (permutations, items) int64, from :func:`all_permutations`.

    Returns:
        (..., items) int64.

    Raises:
        ValueError: if the two disagree on the number of permutations.
    """
    if cost.shape[-1] != table.shape[0]:
        raise ValueError(f"cost: last axis is {cost.shape[-1]}, must be {table.shape[0]}")
    return table[cost.argmin(-1)]


def _boundary(x: Tensor) -> Tensor:
    """The same tensor, as a view that the compiler stores instead of looking through.

    Without it the generated code of a loop recomputes all earlier steps wherever a result is used
    twice, and compiling time grows fourfold a step.
    """
    return x.as_strided(x.shape, x.stride())


def _branch_point(x: Tensor) -> float:
    """-1/e, or the next float of the dtype below it, so that -1/e as written is in the domain."""
    return -math.exp(-1.0) - torch.finfo(x.dtype).eps / 4.0


def _branch_root(x: Tensor) -> Tensor:
    """Distance from the branch point, ``sqrt(2 (1 + e x))``, found without cancellation."""
    # 1/e = high + low with high a float32, so that x + high is exact near the branch point
    high, low = 0.367879450321197509765625, -9.1497551881701012298e-9
    return torch.sqrt((2.0 * math.e * ((x + high) + low)).clamp_min(0.0))


def _series_radius(x: Tensor) -> float:
    """Root below which the series at the branch point beats an iteration."""
    return 1e-2 if x.dtype == torch.float64 else 1e-1


def _branch_series(p: Tensor) -> Tensor:
    """Puiseux series of W at -1/e in the signed root p, to p^8."""
    coefficients = (
        -1.0,
        1.0,
        -1.0 / 3.0,
        11.0 / 72.0,
        -43.0 / 540.0,
        769.0 / 17280.0,
        -221.0 / 8505.0,
        680863.0 / 43545600.0,
        -1963.0 / 204120.0,
    )
    value = torch.full_like(p, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * p + coefficient
    return value


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps = {steps}, must be >= 1")
