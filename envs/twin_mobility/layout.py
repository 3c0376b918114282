"""Where regions and agents stand, and what is drawn for an episode."""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.twin_mobility.base_params import TwinBaseParams

CANDIDATES = 64
"""Places drawn for every region, of which the first that keeps its distance is taken."""
MARGIN, REGION_GAP, STATION_GAP = 0.1, 0.2, 0.15
"""Regions keep off the border, each other and the base station by these shares of the side."""
Streams = dict[str, tuple[Kind, tuple[int, ...]]]


def start_streams(params: TwinBaseParams) -> Streams:
    """The draws of an episode's beginning, agents or regions first."""
    n, r = params.num_agents, params.num_regions
    streams: Streams = {
        "layout": ("uniform", (r, CANDIDATES, 2)),
        "agents": ("uniform", (n, 2)),
        "kappa": ("uniform", (n,)),
        "cpu": ("uniform", (n,)),
        "drift": ("uniform", (r,)),
        "fidelity": ("uniform", (r,)),
        "ages": ("uniform", (r,)),
    }
    if params.raw_mode == "fixed":
        streams["raw"] = ("uniform", (n,))
    if params.modality == "random":
        streams["modality"] = ("uniform", (n, r))
    if params.shadowing_db > 0.0:
        streams["shadowing"] = ("normal", (n, r))
    return streams


def place_regions(uniform: Tensor, params: TwinBaseParams) -> Tensor:
    """Centres of the regions, one after the other.

    A region takes the first of its candidates that is far enough from the base station and from
    the regions before it; if none is, the one with the largest slack. [ours]

    Args:
        uniform: (rows, regions, candidates, 2).
        params: the map.

    Returns:
        (rows, regions, 2) m.
    """
    side = params.area_m
    candidates = side * (MARGIN + (1.0 - 2.0 * MARGIN) * uniform)
    station = torch.tensor(params.bs_xy_m).to(candidates)
    placed: list[Tensor] = []
    for own in candidates.unbind(1):  # (rows, candidates, 2)
        slack = _distance(own, station) / (STATION_GAP * side)
        for other in placed:
            gap = _distance(own, other.unsqueeze(1)) / (REGION_GAP * side)
            slack = torch.minimum(slack, gap)
        # A candidate that fits counts by how early it comes, above all that do not fit.
        order = torch.arange(CANDIDATES, 0, -1, device=own.device)
        choice = torch.where(slack >= 1.0, 1.0 + order, slack).argmax(1)
        placed.append(own.gather(1, choice[:, None, None].expand(-1, 1, 2)).squeeze(1))
    return torch.stack(placed, 1)


def _distance(points: Tensor, other: Tensor) -> Tensor:
    return (points - other).square().sum(-1).sqrt()


def spread(uniform: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Uniform draws over a range."""
    low, high = bounds
    return low + (high - low) * uniform


def draw_kappa(noise: Draws, params: TwinBaseParams) -> Tensor:
    """(rows, agents, regions) information rates, nat/s; with the modality, if it is random."""
    kappa = spread(noise["kappa"], params.kappa_range).unsqueeze(-1)
    if params.modality == "random":
        return torch.where(noise["modality"] < 0.5, 0.5 * kappa, kappa)
    return kappa.expand(-1, -1, params.num_regions).contiguous()


def draw_shadow(noise: Draws, params: TwinBaseParams) -> Tensor:
    """(rows, agents, regions) shadowing 10^(sigma N / 10); (rows, 0, regions) without."""
    if params.shadowing_db == 0.0:
        rows = noise["agents"].shape[0]
        return noise["agents"].new_zeros((rows, 0, params.num_regions))
    return 10.0 ** (0.1 * params.shadowing_db * noise["shadowing"])


def required_information(minimum_fidelity: Tensor) -> Tensor:
    """Theta = -ln(1 - F_min), nat."""
    return -torch.log1p(-minimum_fidelity)
