"""Several devices and one server: proportional fairness (dossier 3.7).

Device n is described by its response V_n(r): the best utility whose load (offloads of a window) is
at most r, a step function of the integers. The joint problem, max sum rho_n ln V_n(r_n) with
sum r_n <= W, is a multiple-choice knapsack, solved exactly by dynamic programming. The two-stage
design of FREDI splits W first by water-filling and then lets every device choose thresholds.
[related: FREDI]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sixgym.envs.event_offload.allocation import fair_units, knapsack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_AO_ROUNDS = 20
_AO_STEP = 1e-6


class Response(NamedTuple):
    """What a device makes of r offloads."""

    utility: Floats
    """(most + 1,) V(r) for r = 0 .. most."""
    point: Ints
    """(most + 1,) the operating point that reaches it."""
    load: Ints
    """(most + 1,) offloads that it really uses, at most r."""


def response(utility: Floats, load: Ints, most: int) -> Response:
    """The response of a device with some operating points.

    Args:
        utility: (points,) of each.
        load: (points,) offloads of each in a window.
        most: events of the window.

    Raises:
        ValueError: no point is without load.
    """
    order = np.lexsort((load, -utility))
    best = np.full(most + 1, -np.inf)
    point = np.full(most + 1, -1, dtype=np.int64)
    for k in order[::-1]:  # the best point of each load is written last
        if load[k] <= most:
            best[load[k]], point[load[k]] = utility[k], k
    if point[0] < 0:
        raise ValueError("load: no operating point sends nothing; one is needed for r = 0")
    for r in range(1, most + 1):
        if best[r] <= best[r - 1]:
            best[r], point[r] = best[r - 1], point[r - 1]
    return Response(best, point, load[point].astype(np.int64))


def fair_value(utilities: Floats, weight: Floats) -> float:
    """The proportional-fair objective, sum rho_n ln U_n; minus infinity where one has nothing."""
    with np.errstate(divide="ignore"):
        return float(weight @ np.log(utilities))


def fair_split(capacity: Ints, weight: Floats, total: int) -> Ints:
    """(devices,) whole units by water-filling: min(cap_n, rho_n nu) with sum W, rounded.

    Args:
        capacity: (devices,) caps.
        weight: (devices,) rho, positive.
        total: W.
    """
    cap = torch.from_numpy(np.asarray(capacity, dtype=np.int64))
    return fair_units(torch.from_numpy(weight), cap, torch.tensor(total)).numpy()


def _pack(worth: Sequence[Floats], total: int) -> Ints:
    """(devices,) the exact split that maximises the sum of the worths of each device's units."""
    most = max(len(gain) for gain in worth)
    table = np.full((len(worth), most), -np.inf)
    for n, gain in enumerate(worth):
        table[n, : len(gain)] = gain
    return knapsack(torch.from_numpy(table), total).units.numpy()


def exact_fair(responses: Sequence[Response], weight: Floats, total: int) -> Ints:
    """(devices,) the split that maximises sum rho_n ln V_n(r_n)."""
    with np.errstate(divide="ignore"):
        worth = [w * np.log(r.utility) for r, w in zip(responses, weight, strict=True)]
    # A device without utility is minus infinity; a floor keeps sums finite and comparable.
    return _pack([np.maximum(gain, -1e3) for gain in worth], total)


def exact_sum(responses: Sequence[Response], total: int) -> Ints:
    """(devices,) the split that maximises sum V_n(r_n)."""
    return _pack([r.utility for r in responses], total)


def two_stage(responses: Sequence[Response], weight: Floats, total: int) -> Ints:
    """(devices,) FREDI's first stage: water-filling with the caps |Phi_n|, in whole units."""
    capacity = np.array([len(r.utility) - 1 for r in responses])
    return fair_split(capacity, weight, total)


def utilities(responses: Sequence[Response], units: Ints) -> Floats:
    """(devices,) V_n(r_n)."""
    pairs = zip(responses, units, strict=True)
    return np.array([r.utility[min(int(u), len(r.utility) - 1)] for r, u in pairs])


def fredi_bound(responses: Sequence[Response], weight: Floats, units: Ints) -> float:
    """What two-stage can lose at most: sum rho_n ln(kbar_n / kappa_n(R_n)) [related: FREDI Thm 1].

    kappa_n(r) = V_n(r) |Phi_n| / r, and kbar_n the largest utility per offload of the device.

    Args:
        responses: of the devices.
        weight: rho.
        units: R, the split of the first stage, positive.
    """
    loss = 0.0
    for r, w, units_n in zip(responses, weight, units, strict=True):
        used = r.load > 0
        steepest = float((r.utility[used] / r.load[used]).max())
        loss += w * np.log(steepest * units_n / r.utility[units_n])
    return float(loss)


def alternate(responses: Sequence[Response], weight: Floats, total: int) -> Ints:
    """(devices,) alternating optimisation, the stand-in for arXiv:2507.15145 [our choice].

    Thresholds by the response given R, then R by water-filling with the loads, rounded up to each
    device's next useful breakpoint, as caps; until the objective gains less than 1e-6.

    Args:
        responses: of the devices.
        weight: rho.
        total: W.
    """
    units = two_stage(responses, weight, total)
    best, value = units, fair_value(utilities(responses, units), weight)
    for _ in range(_AO_ROUNDS):
        caps = np.array([_next_step(r, int(u)) for r, u in zip(responses, units, strict=True)])
        units = fair_split(caps, weight, total)
        found = fair_value(utilities(responses, units), weight)
        if found <= value + _AO_STEP:
            break
        best, value = units, found
    return best


def _next_step(device: Response, units: int) -> int:
    """The next number of units at which the device gains anything; the present load at the end."""
    here = device.utility[units]
    better = np.flatnonzero(device.utility > here)
    return int(better[0] if len(better) else device.load[units])
