"""The table of most information by agent, region and time, which groups are judged by.

Over ways towards the base station and prices of energy the time T(mu) and the information of
spending all energy are curves; for each time of the grid the best way is where their interpolation
peaks, and a few real plans around it are tried. [ours]
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.plans import (
    MOST_PRICE,
    Start,
    certificate,
    choose,
    lines,
    log_price_of,
    search,
)
from sixgym.baselines.twin_mobility.problem import ALL, Ingredients, Pairs, Problem, pairs
from sixgym.baselines.twin_mobility.stages import resources, speed_limit_price
from sixgym.envs.twin_mobility.base_params import TwinBaseParams

WAY_STEP = 0.1
"""Change of the fraction that weighs as much as a factor e of the price."""
CELLS = 2**19
"""Most entries of a working tensor: some megabytes, which stay in the cache."""


class Grid(NamedTuple):
    """Where the information is tabled; times are exact multiples of the step."""

    fractions: int = 11
    """Ways towards the base station, even in [0, 1]; refined between them."""
    prices: int = 32
    """Prices of energy; refined between them."""
    step_s: float = 1.0
    times: int = 180
    visits: int = 4
    """Prices that are tried for each time."""

    def time_s(self, like: Tensor) -> Tensor:
        """(T,) the times."""
        return self.step_s * torch.arange(1, self.times + 1, dtype=like.dtype, device=like.device)

    def price(self, like: Tensor, params: TwinBaseParams) -> Tensor:
        """(M,) s/J, rising: 0, from 1e-3 to 30 evenly in the logarithm, and a very large one.

        The price where the best speed leaves its upper bound is among them: there T(mu) has a kink.
        """
        inner = torch.logspace(-3.0, 1.5, self.prices - 3, dtype=like.dtype, device=like.device)
        kink = speed_limit_price(params)
        ends = inner.new_tensor([0.0, kink, MOST_PRICE])
        return torch.cat([ends, inner]).sort().values


GRID = Grid()
"""The default."""
FINE = Grid(fractions=41, prices=60, visits=8)
"""Some four times as dear; for checks."""


class Table(NamedTuple):
    """Most information of every agent about every region by the times of a grid."""

    info: Tensor
    """(S, N, R, T) nat; 0 where nothing can be delivered."""
    fraction: Tensor
    """(S, N, R, T) share of the way to the base station."""
    price: Tensor
    """(S, N, R, T) s/J of energy."""
    time_s: Tensor
    """(T,) s."""


def tabulate(
    problem: Problem,
    bandwidth_hz: Tensor,
    params: TwinBaseParams,
    free: Ingredients = ALL,
    grid: Grid = GRID,
) -> Table:
    """The table I*[n, r, T].

    Args:
        problem: the rows.
        bandwidth_hz: (S, N) Hz of each agent, or (S, N, R).
        params: of the system.
        free: which resources may be chosen.
        grid: where it is tabled.
    """
    all_pairs = pairs(problem, bandwidth_hz, params)
    each = problem.num_agents * problem.num_regions * grid.fractions * grid.times
    size = max(1, CELLS // each)
    parts = [
        _tabulate(Pairs(*(item[k : k + size] for item in all_pairs)), params, free, grid)
        for k in range(0, problem.num_rows, size)
    ]
    info, fraction, price = (torch.cat(items) for items in zip(*parts, strict=True))
    return Table(info, fraction, price, grid.time_s(info))


def certify(
    problem: Problem,
    bandwidth_hz: Tensor,
    table: Table,
    params: TwinBaseParams,
    free: Ingredients = ALL,
    grid: Grid = GRID,
) -> Tensor:
    """What no plan can tell more than with a way of the grid or the table's, (S, N, R, T) nat.

    Args:
        problem: the rows.
        bandwidth_hz: as the table's.
        table: which is bounded.
        params: of the system.
        free: which resources may be chosen.
        grid: of the ways and prices.
    """
    each = pairs(problem, bandwidth_hz, params).unsqueeze(1)
    prices = grid.price(table.info, params)

    def bound(fraction: Tensor) -> Tensor:
        least = certificate(each, fraction, table.price, table.time_s, params, free)
        for price in prices.unbind():
            least = torch.minimum(
                least, certificate(each, fraction, price, table.time_s, params, free)
            )
        return least

    most = bound(table.fraction)
    count = grid.fractions if free.approach else 1
    for k in range(count):
        most = torch.maximum(most, bound(table.info.new_tensor(k / max(1, grid.fractions - 1))))
    return most


class _Curves(NamedTuple):
    """What spending all energy takes and tells, over ways X and prices M; (..., X, M)."""

    reach_s: Tensor
    """Time T(mu)."""
    info: Tensor
    """nat by then."""
    fixed_s: Tensor
    rate: Tensor
    """nat/s of time by which earlier times tell less at this price."""


class _Guess(NamedTuple):
    """What the curves say of each time of the grid, (..., X, T)."""

    info: Tensor
    """nat, about."""
    log_price: Tensor
    """Logarithm of the price at which all energy is spent by the time, about."""
    slope_s: Tensor
    """Growth of T(mu) with it, s; 0 before the first and after the last price."""
    above: Tensor
    """Index of the first price that takes longer, int64."""


def _tabulate(
    some: Pairs, params: TwinBaseParams, free: Ingredients, grid: Grid
) -> tuple[Tensor, Tensor, Tensor]:
    """Information, fraction and price, each (rows, N, R, T)."""
    time, price = grid.time_s(some.way_m), grid.price(some.way_m, params)
    count = grid.fractions if free.approach else 1
    fractions = torch.linspace(0.0, 1.0, grid.fractions, dtype=time.dtype, device=time.device)
    wide, ways = some.unsqueeze(2), fractions[:count, None]
    curves = _curves(wide, ways, price, params, free)
    guess = _guess(curves, price, time)
    if params.raw_mode == "fixed" and params.compression_loss > 0.0:
        # with raw data of a fixed size the best compression at price 0 depends on the time
        exact = choose(wide, ways, torch.zeros_like(time), time, params, free).info
        guess = guess._replace(info=torch.where(guess.above > 0, guess.info, exact))
    start = _start(curves, guess, fractions[:count])
    return search(some.unsqueeze(1), start, time, params, free, grid.visits)


def _curves(
    some: Pairs, fraction: Tensor, price: Tensor, params: TwinBaseParams, free: Ingredients
) -> _Curves:
    used = resources(some, fraction, price, params, free)
    line = lines(some, used, price, None, params, free)
    # negative where the energy does not suffice; T(mu) goes on smoothly
    sensing = (some.energy_j - line.fixed_j) / line.slope_j
    reach = line.fixed_s + line.slope_s * sensing
    shape = reach.shape
    return _Curves(
        reach.cummax(-1).values,
        (line.gain * sensing).expand(shape).contiguous(),
        line.fixed_s.expand(shape).contiguous(),
        (line.gain / line.slope_s).expand(shape).contiguous(),
    )


def _guess(curves: _Curves, price: Tensor, time_s: Tensor) -> _Guess:
    """Interpolates between prices; before the time of the first one only the time binds."""
    last = curves.reach_s.shape[-1] - 1
    times = time_s.expand(*curves.reach_s.shape[:-1], -1).contiguous()
    index = torch.searchsorted(curves.reach_s, times, right=True)
    low, high = (index - 1).clamp_min(0), index.clamp_max(last)
    reach_low, reach_high = curves.reach_s.gather(-1, low), curves.reach_s.gather(-1, high)
    info_low, info_high = curves.info.gather(-1, low), curves.info.gather(-1, high)
    by_time = curves.rate.gather(-1, high) * (times - curves.fixed_s.gather(-1, high))
    is_between = (index > 0) & (index <= last)
    gap = reach_high - reach_low
    share = torch.where(is_between, (times - reach_low) / gap, 1.0)
    log_price = log_price_of(price)
    log_low, log_high = log_price[low], log_price[high]
    return _Guess(
        torch.where(index > 0, info_low + share * (info_high - info_low), by_time).clamp_min(0.0),
        log_low + share * (log_high - log_low),
        torch.where(is_between, gap / (log_high - log_low), 0.0),
        index,
    )


def _start(curves: _Curves, guess: _Guess, fraction: Tensor) -> Start:
    """Where the information over fractions peaks, by a parabola, (..., T).

    From there to the time T: the line along which T grows fastest for the information it costs.
    Mostly the price changes; where all speeds are at their limits T hardly depends on the price,
    and the way has to.
    """
    top, best = guess.info.max(-2)
    last, gap = fraction.numel() - 1, fraction[-1] / max(1, fraction.numel() - 1)

    def at(item: Tensor, index: Tensor) -> Tensor:
        return item.gather(-2, index.clamp(0, last).unsqueeze(-2)).squeeze(-2)

    index = at(guess.above, best)
    log_price, slope = at(guess.log_price, best), at(guess.slope_s, best)
    is_slack = index == 0
    before, after = at(guess.info, best - 1), at(guess.info, best + 1)
    bend = before - 2.0 * top + after
    is_inner = (best > 0) & (best < last) & (bend < 0.0) & (before > 0.0) & (after > 0.0)
    offset = (0.5 * (before - after) / bend.clamp_max(-1e-30)).clamp(-0.5, 0.5)
    offset = torch.where(is_inner, offset, 0.0)
    beside = at(guess.log_price, best + offset.sign().to(best.dtype))
    count = curves.reach_s.shape[-1]
    node = index.clamp_max(count - 1)
    flat = curves.reach_s.flatten(-2)
    right, left = (best + 1).clamp_max(last), (best - 1).clamp_min(0)
    rise = flat.gather(-1, right * count + node) - flat.gather(-1, left * count + node)
    # a step of 1 is one in the logarithm of the price, or WAY_STEP in the fraction
    along = WAY_STEP * rise / (gap * (right - left)).clamp_min(1e-30)
    along = torch.where(is_inner, along, 0.0)
    size = torch.hypot(slope, along)
    scale = size.clamp_min(1e-30)
    return Start(
        fraction[best] + offset * gap,
        log_price + offset.abs() * (beside - log_price),
        WAY_STEP * along / scale,
        slope / scale,
        torch.where(index == count, torch.inf, size),
        is_slack,
    )
