"""Where a system's channel or traffic comes from: its own model, a recording, or Sionna.

A parameter names the source: ``model``; ``trace:PATH``, a file as in
`sixgym.envs.backend.traces`; ``sionna:KIND``, a channel of TR 38.901 as in
`sixgym.envs.backend.sionna_channel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.backend.trace_formats import TraceError
from sixgym.envs.backend.traces import Column, TraceFile, open_trace
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.core.params import Params

MODEL = "model"
TRACE, SIONNA = "trace:", "sionna:"


class Form(NamedTuple):
    """A set of columns that together are what a system wants."""

    columns: tuple[Column, ...]
    places: int = 1
    """Places of the file that an episode reads at, see `sixgym.envs.backend.playback.Playback`."""


def check_source(value: str, *, sionna: bool = False) -> str:
    """A source's name, for a validator of parameters.

    Args:
        value: what was given.
        sionna: whether Sionna may be named.

    Raises:
        ValueError: it is none.
    """
    if value == MODEL or (value.startswith(TRACE) and value != TRACE):
        return value
    # Here, since parameters are made where torch is not wanted.
    from sixgym.envs.backend.sionna_channel import KINDS

    kinds = [f"{SIONNA}{kind}" for kind in KINDS] if sionna else []
    if value in kinds:
        return value
    allowed = ", ".join(["model", "trace:PATH", *kinds])
    raise ValueError(f"no source; there are {allowed}")


def trace_path(value: str) -> str | None:
    """The path in ``trace:PATH``; None of other sources."""
    return value.removeprefix(TRACE) if value.startswith(TRACE) else None


def sionna_kind(value: str) -> str | None:
    """The kind in ``sionna:KIND``; None of other sources."""
    return value.removeprefix(SIONNA) if value.startswith(SIONNA) else None


def check_carrier(value: str, carrier_hz: float) -> None:
    """For a validator: TR 38.901 holds for some carriers only.

    Raises:
        ValueError: the carrier is none of them.
    """
    if sionna_kind(value) is None:
        return
    from sixgym.envs.backend.sionna_channel import CARRIER_RANGE_HZ

    low, high = CARRIER_RANGE_HZ
    if not low <= carrier_hz <= high:
        raise ValueError(
            f"channel={value!r}: made for carrier_hz from {low:g} to {high:g}; it is {carrier_hz:g}"
        )


def trace_of(params: Params, field: str, path: str) -> TraceFile:
    """The file that a parameter names.

    Args:
        params: of the system.
        field: the parameter.
        path: of the file.

    Raises:
        ParamsError: it is no trace file, or has changed since the parameters were made.
    """
    try:
        trace = open_trace(path)
    except TraceError as error:
        raise ParamsError(f"{field}: {error}") from None
    if params.digests.get(path, trace.digest) != trace.digest:
        raise ParamsError(
            f"{field}: {path}: changed since the parameters were made; make them anew"
        )
    return trace


def take_form(
    trace: TraceFile, field: str, forms: Sequence[Form]
) -> tuple[int, NDArray[np.float64]]:
    """The series of the first form that a file begins to have.

    Args:
        trace: the file.
        field: the parameter that names it.
        forms: the alternatives, the preferred first.

    Returns:
        Which form, and its series (slots, columns) in SI units.

    Raises:
        ParamsError: the file has none, or the form's columns are not as they should be.
    """
    for number, form in enumerate(forms):
        if any(column.name in trace.names for column in form.columns):
            try:
                return number, trace.take(form.columns)
            except TraceError as error:
                raise ParamsError(f"{field}: {error}") from None
    wanted = " or ".join(
        ", ".join(c.name for c in f.columns[:2]) + (", ..." if len(f.columns) > 2 else "")
        for f in forms
    )
    have = ", ".join(trace.names[:20]) or "none"
    raise ParamsError(f"{field}: {trace.path}: the columns are {have}; allowed: {wanted}")
