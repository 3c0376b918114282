"""The option ``instance`` of a reset: explicit places, agents and regions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.twin_mobility.base_params import MOST_FIDELITY, TwinBaseParams

RESET_OPTIONS = ("instance",)


class _Entry(NamedTuple):
    """One array of an instance: its axes, its least and its largest value."""

    axes: tuple[str, ...]
    low: float
    high: float


def read_instance(
    options: Mapping[str, Any], rows: int, params: TwinBaseParams, like: Tensor
) -> dict[str, Tensor]:
    """The arrays of the option ``instance``.

    Args:
        options: of the reset; with an ``instance`` of some of pos (N, 2) m, reg_xy (R, 2) m, kappa
            (N,) or (N, R) nat/s, f_max (N,) FLOP/s, drift (R,) 1/s, f_min (R,) required fidelity,
            batt (N,) J, aoi0 (R,) s; each for all rows, or with a leading axis of rows.
        rows: how many rows are reset.
        params: the map and the numbers of agents and regions.
        like: dtype and device of the result.

    Returns:
        What was given, (rows, ...) each; kappa as (rows, N, R).

    Raises:
        OptionsError: a name is unknown, or an array has the wrong shape or a value out of range.
    """
    instance = options.get("instance", {})
    entries = _entries(params)
    if not isinstance(instance, Mapping):
        raise OptionsError(f"instance={instance!r}: allowed: a dictionary of {', '.join(entries)}")
    unknown = [name for name in instance if name not in entries]
    if unknown:
        raise OptionsError(f"instance: unknown {unknown[0]!r}; allowed: {', '.join(entries)}")
    sizes = {"agents": params.num_agents, "regions": params.num_regions, "plane": 2}
    found = {}
    for name, value in instance.items():
        entry = entries[name]
        shape = tuple(sizes[axis] for axis in entry.axes)
        if name == "kappa" and np.shape(value)[-1:] == (params.num_agents,):
            value = np.repeat(np.asarray(value)[..., None], params.num_regions, -1)
        found[name] = torch.from_numpy(_read(name, value, entry, shape, rows)).to(like)
    return found


def _entries(params: TwinBaseParams) -> dict[str, _Entry]:
    agents, regions, plane = ("agents",), ("regions",), "plane"
    return {
        "pos": _Entry((*agents, plane), 0.0, params.area_m),
        "reg_xy": _Entry((*regions, plane), 0.0, params.area_m),
        "kappa": _Entry((*agents, *regions), 1e-6, 1e3),
        "f_max": _Entry(agents, params.cpu_min_flops, 1e18),
        "drift": _Entry(regions, 0.0, 1e3),
        "f_min": _Entry(regions, 0.0, MOST_FIDELITY),
        "batt": _Entry(agents, math.ulp(0.0), 1e12),
        "aoi0": _Entry(regions, 0.0, 1e6),
    }


def _read(
    name: str, value: Any, entry: _Entry, shape: tuple[int, ...], rows: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One array as (rows, *shape) float64."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise OptionsError(f"instance.{name}={value!r}: allowed: numbers") from None
    if array.shape not in (shape, (rows, *shape)):
        raise OptionsError(
            f"instance.{name}: shape {array.shape}; allowed: {shape} or {(rows, *shape)}"
        )
    if not ((array >= entry.low) & (array <= entry.high)).all():
        bad = array[~((array >= entry.low) & (array <= entry.high))][0]
        raise OptionsError(
            f"instance.{name}: {bad.item()!r}; allowed: from {entry.low:g} to {entry.high:g}"
        )
    return np.broadcast_to(array, (rows, *shape)).copy()
