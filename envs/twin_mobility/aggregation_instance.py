"""The option ``instance`` of a reset: explicit discs, places and payloads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams
from sixgym.envs.twin_mobility.aggregation_state import AggregationState

RESET_OPTIONS = ("instance",)
MOST_BITS = 1e12


class Scenario(NamedTuple):
    """What a mission starts from."""

    disc_xy: Tensor
    """(rows, N, 2) m."""
    radius: Tensor
    """(rows, N) m."""
    pos: Tensor
    """(rows, N, 2) m."""
    payload: Tensor
    """(rows, N) bit."""


def scenario_of(
    params: AgentAggregationParams, state: AggregationState, options: Mapping[str, Any]
) -> Scenario:
    """The scenario of first states, with what is given in place of what was drawn.

    Args:
        params: the map and the number of agents.
        state: what was drawn.
        options: of the reset; with an ``instance`` of some of disc_xy (N, 2) m, radius (N,) m, pos
            (N, 2) m and payload (N,) bit, each for all rows, or with a leading axis of rows. Agents
            whose place is not given move with their discs.

    Raises:
        OptionsError: a name is unknown, or an array has the wrong shape or a value out of range.
    """
    instance = options.get("instance", {})
    names = ", ".join(Scenario._fields)
    if not isinstance(instance, Mapping):
        raise OptionsError(f"instance={instance!r}: allowed: a dictionary of {names}")
    unknown = [name for name in instance if name not in Scenario._fields]
    if unknown:
        raise OptionsError(f"instance: unknown {unknown[0]!r}; allowed: {names}")
    drawn = Scenario(state.centre, state.radius, state.position, state.payload_bit)
    given = {k: _read(k, value, getattr(drawn, k)) for k, value in instance.items()}
    made = drawn._replace(**given)
    if "pos" not in given:
        share = (drawn.pos - drawn.disc_xy) / drawn.radius.unsqueeze(-1)
        made = made._replace(pos=made.disc_xy + share * made.radius.unsqueeze(-1))
    _check(params, made)
    return made


def _read(name: str, value: Any, like: Tensor) -> Tensor:
    """One array, (rows, N, ...)."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise OptionsError(f"instance.{name}={value!r}: allowed: numbers") from None
    whole = tuple(like.shape)
    if array.shape not in (whole, whole[1:]):
        raise OptionsError(f"instance.{name}: shape {array.shape}; allowed: {whole[1:]} or {whole}")
    if not np.isfinite(array).all():
        raise OptionsError(f"instance.{name}: allowed: finite numbers")
    return torch.from_numpy(array).to(like).expand(whole).clone()


def _check(params: AgentAggregationParams, made: Scenario) -> None:
    """Discs must lie on the raster, agents in their discs, and payloads be positive."""
    low, high = -params.margin_m, params.area_m + params.margin_m
    radius = made.radius.unsqueeze(-1)
    fits = (made.disc_xy - radius >= low) & (made.disc_xy + radius <= high) & (radius > 0.0)
    if not bool(fits.all()):
        raise OptionsError(
            f"instance: disc_xy and radius: allowed: discs within [{low:g}, {high:g}] m"
        )
    off = (made.pos - made.disc_xy).square().sum(-1).sqrt()
    if not bool((off <= made.radius * (1.0 + 1e-5)).all()):
        raise OptionsError("instance.pos: allowed: within the discs")
    if not bool(((made.payload >= 1.0) & (made.payload <= MOST_BITS)).all()):
        raise OptionsError(f"instance.payload: allowed: from 1 to {MOST_BITS:g}")
