"""The split of the band that lowers the largest deviation, everything else of the plans kept.

For a target deviation every agent has a time left to transmit in, hence a rate and a least
bandwidth (`min_bandwidth`); the least target for which these fit the band is found by bisection.
[derived; the same device as Yang et al. 2021, arXiv 1911.02417: related]
"""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.baselines.twin_mobility.problem import IDLE, Problem
from sixgym.baselines.twin_mobility.realise import Plan, draw_w
from sixgym.envs.twin_mobility.base_params import TwinBaseParams
from sixgym.envs.twin_mobility.cycle import fidelity
from sixgym.envs.twin_mobility.sharing import min_bandwidth

LEAST_HZ = 1e3
"""Least bandwidth of an agent, Hz. [ours]"""
BISECTIONS = 60


def latest_time(target: Tensor, info: Tensor, problem: Problem, params: TwinBaseParams) -> Tensor:
    """Time by which regions have to be refreshed for a largest deviation, (S, R) s.

    The deviation solved for the time at given information; at most negative where the target is
    missed even at once, infinite where time does not count.

    Args:
        target: (S,) Gamma.
        info: (S, R) nat.
        problem: the rows.
        params: mode and weight of the deviation.
    """
    gamma = target.unsqueeze(-1)
    if params.deviation == "ratio":
        age = gamma * fidelity(info) / problem.drift
        return age - problem.age_s
    unseen = params.omega * torch.exp(-info)
    if params.deviation == "additive":
        return (gamma - unseen) / problem.drift - problem.age_s
    decay = 2.0 * params.ou_rate_per_s
    most = problem.drift / decay
    # D runs from the unseen part at age 0 to its limit at infinity, monotonically
    share = ((most - gamma) / (most - unseen)).clamp_min(0.0)
    age = torch.where(gamma >= torch.maximum(most, unseen), torch.inf, -share.log() / decay)
    return age - problem.age_s


def split_band(
    problem: Problem, plan: Plan, total_hz: Tensor, params: TwinBaseParams, exact: bool = False
) -> Tensor:
    """Bandwidths (S, N) for the least largest deviation with the plans' other resources.

    Args:
        problem: the rows.
        plan: of all agents, with feasible regions.
        total_hz: (S,) Hz for those with a region.
        params: of the system.

    Returns:
        Hz, their sum over agents with a region ``total_hz`` (but for `LEAST_HZ`); others keep what
        they have. Unchanged where the plan does not show that its own deviation fits the band.
    """
    works = plan.region != IDLE
    region = plan.region.clamp_min(0)
    before_s, before_j = plan.stage_s[..., :4].sum(-1), plan.stage_j[..., :4].sum(-1)
    send_w = draw_w(plan.power_w, params)
    left_j = problem.energy_j - before_j

    def least(target: Tensor) -> Tensor:
        by_time = latest_time(target, plan.region_info, problem, params).gather(-1, region)
        if exact:
            left = torch.minimum(by_time - before_s, left_j / send_w)
        else:
            left = (by_time - before_s + plan.price * left_j) / (1.0 + plan.price * send_w)
        rate = plan.sent_bits / left.clamp_min(1e-9)
        need = min_bandwidth(rate, plan.snr_hz, params.se_max)
        return torch.where(works, torch.where(left > 0.0, need, torch.inf), 0.0)

    high = plan.deviation.amax(-1)
    has_agents = torch.zeros_like(plan.deviation).scatter_add(
        -1, region, works.to(plan.deviation.dtype)
    )
    # regions that no agent serves keep their deviation
    low = torch.where(has_agents > 0.0, 0.0, plan.deviation).amax(-1)
    # the present plan fits, but for rounding
    start = high * (1.0 + 1e-9)
    fits = least(start).sum(-1) <= total_hz * (1.0 + 1e-6)
    high = start
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        is_enough = least(middle).sum(-1) <= total_hz
        low, high = torch.where(is_enough, low, middle), torch.where(is_enough, middle, high)
    need = least(high)
    usable = fits & torch.isfinite(need).all(-1)
    scaled = share_out(torch.where(usable.unsqueeze(-1), need, 1.0), works, total_hz, params)
    return torch.where(usable.unsqueeze(-1) & works, scaled, plan.bandwidth_hz)


def share_out(weight: Tensor, works: Tensor, total_hz: Tensor, params: TwinBaseParams) -> Tensor:
    """Bandwidth in proportion to weights, (S, N) Hz, 0 for those without a region.

    No share is below `LEAST_HZ`, nor below ``request_min`` of the largest, which is the least that
    agents can ask for.

    Args:
        weight: (S, N) > 0.
        works: (S, N) bool, who shares.
        total_hz: (S,) Hz.
        params: of the system.
    """
    asked = torch.where(works, weight, 0.0)
    asked = torch.maximum(asked, params.request_min * asked.amax(-1, keepdim=True))
    asked = torch.where(works, asked, 0.0)
    total = asked.sum(-1, keepdim=True).clamp_min(torch.finfo(asked.dtype).tiny)
    band = total_hz.unsqueeze(-1) * asked / total
    return torch.where(works, band.clamp_min(LEAST_HZ), 0.0)
