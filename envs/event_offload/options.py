"""Options of ``reset`` that the systems share: a held SNR, a part of the traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.event_offload.state import HELD, SNR, SPLIT, SPLITS

SNR_DB_RANGE = (-60.0, 60.0)
"""Allowed values of the option ``gamma_db``."""
RESET_OPTIONS = ("gamma_db", "split")


def apply_options(vitals: Tensor, options: Mapping[str, Any]) -> Tensor:
    """First vitals under options of the reset.

    Args:
        vitals: (rows, ..., columns) as `State.vitals` has them; not changed.
        options: ``gamma_db``, an SNR held instead of fading; ``split``, "calib", "test" or "all";
            each one value, or one for each row.

    Returns:
        Vitals with the columns `SNR`, `HELD` and `SPLIT` set.

    Raises:
        OptionsError: ``gamma_db`` is not in [-60, 60], or there is no such split.
    """
    vitals = vitals.clone()
    rows = vitals.shape[0]
    over_rows = (-1, *[1] * (vitals.dim() - 2))
    if "gamma_db" in options:
        snr = torch.from_numpy(10.0 ** (_levels(options["gamma_db"], rows) / 10.0)).to(vitals)
        vitals[..., SNR] = vitals[..., HELD] = snr.reshape(over_rows)
    if "split" in options:
        given = options["split"]
        names = [given] * rows if np.ndim(given) == 0 else list(given)
        if len(names) != rows or any(n not in SPLITS for n in names):
            allowed = ", ".join(map(repr, SPLITS))
            raise OptionsError(f"split={given!r}: allowed: {allowed}, or one for each row")
        part = torch.tensor([float(SPLITS.index(n)) for n in names]).to(vitals)
        vitals[..., SPLIT] = part.reshape(over_rows)
    return vitals


def _levels(given: Any, rows: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(rows,) float64 SNRs in dB."""
    try:
        level = np.broadcast_to(np.asarray(given, np.float64), (rows,))
    except (TypeError, ValueError):
        level = np.full(1, np.nan)
    low, high = SNR_DB_RANGE
    if not ((level >= low) & (level <= high)).all():
        raise OptionsError(
            f"gamma_db={given!r}: allowed: a number from {low} to {high}, or one for each row"
        )
    return level
