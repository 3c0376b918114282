"""The columns of RIS-NOMA's trace files; without torch, since parameters look into them.

`sixgym.envs.ris_noma.sources` says what they mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.backend.traces import Column
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.core.sources import Form, take_form, trace_of, trace_path

if TYPE_CHECKING:
    from sixgym.envs.ris_noma.params import RisNomaBaseParams

MOST_AMPLITUDE = 1e3
"""Largest recorded amplitude; gains are at most its square."""
MOST_BITS = 1e9
"""Largest recorded arrival, as of ``max_task_bits``."""


def direct_table(params: RisNomaBaseParams) -> tuple[Form, NDArray[np.float64]]:
    """What a file holds of the direct links, and in which form.

    Returns:
        The form, and (slots, columns): all real parts, then all imaginary ones; or gains.

    Raises:
        ParamsError: the file does not fit.
    """
    users, antennas = params.num_users, params.num_antennas
    links = [f"_{k}" for k in range(users)]
    if antennas > 1:
        links = [f"_{k}_{m}" for k in range(users) for m in range(antennas)]
    forms = [
        Form((*_parts("direct_re", links), *_parts("direct_im", links))),
        Form(tuple(_gain(f"direct_gain{link}") for link in links)),
        Form((*_parts("direct_re", [""]), *_parts("direct_im", [""])), len(links)),
        Form((_gain("direct_gain"),), len(links)),
    ]
    return _taken(params, "channel", params.channel, forms)


def arrival_table(params: RisNomaBaseParams) -> tuple[Form, NDArray[np.float64]]:
    """What a file holds of the traffic.

    Returns:
        The form, and (slots, columns) bits: one column a user, or one that all users read.

    Raises:
        ParamsError: the file does not fit, or nothing ever arrives.
    """
    users = params.num_users
    forms = [
        Form(tuple(_bits(f"arrivals_{k}") for k in range(users))),
        Form((_bits("arrivals"),), users),
    ]
    form, table = _taken(params, "arrivals", params.arrivals, forms)
    if not table.any():
        raise ParamsError("arrivals: all are 0; allowed: at least one above 0")
    return form, table


def _taken(
    params: RisNomaBaseParams, field: str, value: str, forms: list[Form]
) -> tuple[Form, NDArray[np.float64]]:
    path = trace_path(value)
    assert path is not None
    number, table = take_form(trace_of(params, field, path), field, forms)
    return forms[number], table


def _parts(name: str, links: list[str]) -> list[Column]:
    limits = -MOST_AMPLITUDE, MOST_AMPLITUDE
    return [Column(f"{name}{link}", "ratio", *limits, decibels=False) for link in links]


def _gain(name: str) -> Column:
    return Column(name, "ratio", 0.0, MOST_AMPLITUDE**2)


def _bits(name: str) -> Column:
    return Column(name, "data", 0.0, MOST_BITS)
