"""Plans of an assignment: what every agent does, exactly, and what that makes of the regions.

The table says when each region is best refreshed and near which way and price; here every agent's
plan for that time is found to full precision, and the time is corrected until the region has its
information. Times, energies and information are those of the shared cycle.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.plans import (
    Choice,
    Start,
    choose,
    log_price_of,
    search,
)
from sixgym.baselines.twin_mobility.problem import IDLE, Ingredients, Pairs, Problem, pairs
from sixgym.baselines.twin_mobility.regions import BIG, Refresh
from sixgym.baselines.twin_mobility.tables import Table
from sixgym.envs.twin_mobility import geometry, link, twin
from sixgym.envs.twin_mobility.base_params import TwinBaseParams
from sixgym.envs.twin_mobility.cycle import cycle

ZOOMS, ZOOM_POINTS, VISITS = 2, 13, 8
"""Rounds of refining the way, ways tried in each, and prices tried for each way."""
CORRECTIONS = 4
"""Newton steps of the time of a refresh."""
LAST_RESORTS = 8
LAST_RESORT_S = 0.02
"""Where the steps end short of what a region needs, its time grows by this, doubled each time."""
SURPLUS = 1e-9
"""Share by which the planned information exceeds the requirement: rounding."""


class Plan(NamedTuple):
    """What all agents do, and what becomes of the regions; zeros for agents without region."""

    region: Tensor
    """(S, N) int64; -1 for none, also for agents that could not deliver in time."""
    speed_mps: Tensor
    """(S, N) v; v_min for agents without region, as are the other least values."""
    sensing_s: Tensor
    """(S, N) tau."""
    cpu_flops: Tensor
    """(S, N) f."""
    compression: Tensor
    """(S, N) eta."""
    fraction: Tensor
    """(S, N) share of the way to the base station, xi_x."""
    power_w: Tensor
    """(S, N) P."""
    bandwidth_hz: Tensor
    """(S, N) b."""
    price: Tensor
    """(S, N) s/J that a joule more would save; 0 where the energy is not all spent."""
    stage_s: Tensor
    """(S, N, 5) time of each stage."""
    duration_s: Tensor
    """(S, N) T_n; less than the sum of the stages where processing and the way overlap, which
    plans do not count on."""
    stage_j: Tensor
    """(S, N, 5) energy of each stage."""
    info: Tensor
    """(S, N) nat."""
    sent_bits: Tensor
    """(S, N) bit."""
    snr_hz: Tensor
    """(S, N) P h / n0 where it transmits, Hz."""
    refresh_s: Tensor
    """(S, R) T_r, when the last member delivers."""
    region_info: Tensor
    """(S, R) nat, with what committed agents deliver by then."""
    deviation: Tensor
    """(S, R) D_r."""
    is_served: Tensor
    """(S, R) bool, whether the requirement is met."""

    @property
    def energy_j(self) -> Tensor:
        """(S, N) E_n."""
        return self.stage_j.sum(-1)

    @property
    def gamma(self) -> Tensor:
        """(S,) the largest deviation."""
        return self.deviation.amax(-1)

    @property
    def is_feasible(self) -> Tensor:
        """(S,) bool, whether every region gets its information."""
        return self.is_served.all(-1)


def draw_w(power_w: Tensor, params: TwinBaseParams) -> Tensor:
    """Power that transmitting with a power draws, W."""
    standing = params.circuit_power_w + params.standing_power_w
    return power_w / params.pa_efficiency + standing


def realise(
    problem: Problem,
    assignment: Tensor,
    bandwidth_hz: Tensor,
    table: Table,
    refresh: Refresh,
    params: TwinBaseParams,
    free: Ingredients,
) -> Plan:
    """Exact plans of an assignment.

    Args:
        problem: the rows.
        assignment: (S, N) int64, -1 for no region.
        bandwidth_hz: (S, N) Hz, the table's.
        table: of the agents.
        refresh: of the regions with these groups, (S, R), as of the table.
        params: of the system.
        free: which resources may be chosen.
    """
    region = assignment.clamp_min(0)
    member = _member(assignment, problem)
    each = pairs(problem, bandwidth_hz, params).of(region)
    due = refresh.time_s
    time = due.gather(-1, region)
    fraction, price = _zoom(each, time, region, table, params, free)
    for k in range(CORRECTIONS):
        choice = choose(each, fraction, price, time, params, free)
        due = due + _correction(problem, choice, member, due, refresh, may_fall=k < 2)
        time = due.gather(-1, region)
        start = _steady(fraction, price, 20.0)
        _, fraction, price = search(each, start, time, params, free, VISITS)
    for k in range(LAST_RESORTS):
        choice = choose(each, fraction, price, time, params, free)
        lacking = refresh.is_possible & (_told(problem, choice, member, due) < problem.theta)
        if not bool(lacking.any()):
            break
        due = due + torch.where(lacking, LAST_RESORT_S * 2.0**k, 0.0)
        time = due.gather(-1, region)
        start = _steady(fraction, price, 20.0)
        _, fraction, price = search(each, start, time, params, free, VISITS)
    choice = choose(each, fraction, price, time, params, free)
    return _plan(problem, assignment, each, fraction, price, choice, due, refresh, params)


def _member(assignment: Tensor, problem: Problem) -> Tensor:
    """(S, N, R) 1 where an agent is in a region's group."""
    region = torch.arange(problem.num_regions, device=assignment.device)
    return (assignment.unsqueeze(-1) == region).to(problem.theta.dtype)


def _steady(fraction: Tensor, price: Tensor, slope_s: float) -> Start:
    """A search over prices only."""
    zero, one = torch.zeros_like(fraction), torch.ones_like(fraction)
    return Start(fraction, log_price_of(price), zero, one, slope_s * one, zero > 0.0)


def _zoom(
    each: Pairs, time: Tensor, region: Tensor, table: Table, params: TwinBaseParams,
    free: Ingredients,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Way and price of each agent for its time, (S, N), around the table's at the next time."""
    step = float(table.time_s[1] - table.time_s[0]) if table.time_s.numel() > 1 else 1.0
    last = table.time_s.numel() - 1
    index = (time / step - 1.0).ceil().long().clamp(0, last)
    where = region[..., None, None]

    def at(item: Tensor) -> Tensor:
        own = item.gather(2, where.expand(-1, -1, 1, last + 1)).squeeze(2)
        return own.gather(-1, index.unsqueeze(-1)).squeeze(-1)

    fraction, price = at(table.fraction), at(table.price)
    if not free.approach:
        _, fraction, price = search(
            each, _steady(fraction, price, 20.0), time, params, free, VISITS
        )
        return fraction, price
    width, wide = 0.06, each.unsqueeze(1)
    offsets = torch.linspace(-1.0, 1.0, ZOOM_POINTS, dtype=time.dtype, device=time.device)
    for _ in range(ZOOMS):
        ways = (fraction.unsqueeze(-1) + width * offsets).clamp(0.0, 1.0)
        prices = price.unsqueeze(-1).expand_as(ways)
        start = _steady(ways, prices, 20.0)
        info, ways, prices = search(wide, start, time.unsqueeze(-1), params, free, VISITS)
        best = info.argmax(-1, keepdim=True)
        fraction, price = ways.gather(-1, best).squeeze(-1), prices.gather(-1, best).squeeze(-1)
        width = 2.0 * width / (ZOOM_POINTS - 1)
    return fraction, price


def _committed(problem: Problem, due: Tensor) -> tuple[Tensor, Tensor]:
    """Information of committed agents by (S, R) times, and when the last of them delivers."""
    if problem.step_region is None:
        return torch.zeros_like(due), torch.zeros_like(due)
    assert problem.step_time_s is not None
    assert problem.step_info is not None
    counts = _member(problem.step_region, problem)
    by_then = counts * (problem.step_time_s.unsqueeze(-1) <= due.unsqueeze(1) * (1.0 + 1e-9))
    info = (by_then * problem.step_info.unsqueeze(-1)).sum(1)
    return info, (by_then * problem.step_time_s.unsqueeze(-1)).amax(1)


def _told(problem: Problem, choice: Choice, member: Tensor, due: Tensor) -> Tensor:
    """(S, R) nats that each region gets by its time."""
    return (member * choice.info.unsqueeze(-1)).sum(1) + _committed(problem, due)[0]


def _correction(
    problem: Problem,
    choice: Choice,
    member: Tensor,
    due: Tensor,
    refresh: Refresh,
    *,
    may_fall: bool,
) -> Tensor:
    """(S, R) s by which a refresh has to come later to meet the requirement, or may come sooner."""
    info = _told(problem, choice, member, due)
    delivers = (choice.info > 0.0).unsqueeze(-1)
    growth = (member * delivers * choice.growth.unsqueeze(-1)).sum(1)
    lack = problem.theta * (1.0 + SURPLUS) - info
    shift = (lack / growth.clamp_min(1e-30)).clamp(-1.0, 1.0)
    is_tight = refresh.info <= problem.theta * (1.0 + 1e-6)
    moves = refresh.is_possible & (growth > 0.0) & ((lack > 0.0) | (is_tight & may_fall))
    return torch.where(moves, shift, 0.0)


def _plan(
    problem: Problem,
    assignment: Tensor,
    each: Pairs,
    fraction: Tensor,
    price: Tensor,
    choice: Choice,
    due: Tensor,
    refresh: Refresh,
    params: TwinBaseParams,
) -> Plan:
    """Collect everything; the cycle is computed anew by the shared functions."""
    used = choice.used
    away = geometry.approach_m(each.ground_m, fraction, params.approach_limit_m)
    drawn = each.raw_bits if params.raw_mode == "fixed" else None
    run = cycle(
        params,
        move_m=each.way_m,
        approach_m=away,
        speed_mps=used.speed,
        sensing_s=choice.sensing_s,
        cpu_flops=used.cpu,
        compression=choice.ratio,
        power_w=used.power,
        rate_bps=used.rate,
        kappa=each.kappa,
        drawn_bits=drawn,
    )
    is_possible = refresh.is_possible.gather(-1, assignment.clamp_min(0))
    works = (assignment != IDLE) & (choice.info > 0.0) & is_possible
    region = torch.where(works, assignment, IDLE)
    info = torch.where(works, run.information, 0.0)
    stage_s = torch.where(works.unsqueeze(-1), run.time_s, 0.0)
    duration = torch.where(works, run.duration_s(overlap=params.overlap_proc_move), 0.0)
    member = _member(region, problem)
    extra, last = _committed(problem, due)
    total = (member * info.unsqueeze(-1)).sum(1) + extra
    delivered = (member * duration.unsqueeze(-1)).amax(1)
    when = torch.maximum(delivered, last)
    when = torch.where(refresh.is_possible & (when > 0.0), when, due)
    served = refresh.is_possible & (total >= problem.theta * (1.0 - SURPLUS))
    value = twin.deviation(problem.drift, problem.age_s + when, total, params)
    soft = torch.where(refresh.is_possible, BIG, refresh.deviation)
    slant = geometry.slant_distance(each.ground_m - away, params.bs_height_m)
    gain = link.gain(slant, params.gain_1m, params.path_loss_exponent) * each.gain_factor
    least = params.compression_min

    def own(item: Tensor, rest: float) -> Tensor:
        return torch.where(works, item, rest)

    return Plan(
        region,
        own(used.speed, params.speed_min_mps),
        own(choice.sensing_s, params.sensing_min_s),
        own(used.cpu, params.cpu_min_flops),
        own(choice.ratio, least),
        own(fraction, 0.0),
        own(used.power, params.power_min_w),
        each.bandwidth_hz,
        own(price, 0.0),
        stage_s,
        duration,
        torch.where(works.unsqueeze(-1), run.energy_j, 0.0),
        info,
        own(run.sent_bits, 0.0),
        used.power * gain / params.noise_w_per_hz,
        when,
        total,
        torch.where(served, value, soft),
        served,
    )
