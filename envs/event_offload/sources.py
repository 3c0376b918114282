"""The uplink's fading power from a recording or from Sionna, instead of the Rayleigh model.

One row of a file is one slot [our choice]. A file is of one of these forms, the first that it
begins to have:

================================ ===================================================================
columns                          meaning
================================ ===================================================================
``gain [dB]``                    power over its long-term mean, so 0 dB (or 1) is ``mean_snr_db``;
                                 several devices read it at places of their own
``snr [dB]``                     received SNR itself, whatever ``mean_snr_db`` is; one device only
``gain_0 [dB]``, ``gain_1``, ... as ``gain``, of each of several devices, recorded together
================================ ===================================================================

The unit may be ``dB`` or ``1``. An episode begins at a row that its seed picks, and after the last
row comes the first. Sionna's channel is a table of the same kind: the power averaged over the
bandwidth [our choice: one SNR stands for the band], of unit mean; the SNR in decibels follows.

Only what fades is replaced. Policies that plan over the law of the fading (the designs of
`sixgym.baselines.event_offload`) go on assuming Rayleigh.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.backend.playback import Playback
from sixgym.envs.backend.sionna_channel import band_gains, doppler_of
from sixgym.envs.backend.trace_formats import TraceError
from sixgym.envs.backend.traces import Column
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.core.sources import Form, sionna_kind, take_form, trace_of, trace_path
from sixgym.envs.event_offload.params import EventOffloadBaseParams

CARRIER_HZ = 3.5e9
"""Of Sionna's channels; this system has no carrier of its own. [our choice]"""
LEAST_GAIN, MOST_GAIN = 1e-12, 1e9
"""Allowed gains and SNRs, linear; smaller ones are taken as the least."""


class GainSource:
    """The fading power that a parameter names, played to a batch of rows.

    Args:
        params: ``channel`` is not ``"model"``.
        devices: how many uplinks there are; None: one device, whose columns have no number.
        dtype: of the gains.
        device: where they are.

    Raises:
        ParamsError: the file does not fit, or Sionna is not installed.
    """

    def __init__(
        self,
        params: EventOffloadBaseParams,
        devices: int | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._devices = devices or 1
        path = trace_path(params.channel)
        places = 1
        if path is None:
            table = _made(params, self._devices)
        else:
            forms = _of_one() if devices is None else _of_devices(devices)
            form, series = take_form(trace_of(params, "channel", path), "channel", forms)
            places = forms[form].places
            if forms[form].columns[0].name == "snr":
                series = series / params.mean_snr
            table = torch.from_numpy(np.maximum(series, LEAST_GAIN)[None])
        self._playback = Playback(table, places, dtype=dtype, device=device)

    def at(self, key: Tensor, slot: Tensor) -> Tensor:
        """(rows, devices) gains of a slot.

        Args:
            key: (rows,) int64 of the episodes.
            slot: (rows,) slot of the episode, 0 first.
        """
        return self._playback.at(key, slot).reshape(-1, self._devices)


def as_fading(gain: Tensor) -> Tensor:
    """A complex gain of a power: (rows, 2, ...) of (rows, ...), without a phase."""
    return torch.stack([gain.sqrt(), torch.zeros_like(gain)], 1)


def _column(name: str) -> Column:
    return Column(name, "ratio", 0.0, MOST_GAIN)


def _of_one() -> list[Form]:
    return [Form((_column("gain"),)), Form((_column("snr"),))]


def _of_devices(devices: int) -> list[Form]:
    each = tuple(_column(f"gain_{n}") for n in range(devices))
    return [Form((_column("gain"),), devices), Form(each)]


def _made(params: EventOffloadBaseParams, devices: int) -> Tensor:
    kind = sionna_kind(params.channel)
    assert kind is not None
    doppler = doppler_of(params.fading_correlation, params.slot_s)
    try:
        return band_gains(
            kind, devices, doppler, params.slot_s, CARRIER_HZ, params.bandwidth_hz
        ).clamp_min(LEAST_GAIN)
    except TraceError as error:
        raise ParamsError(f"channel={params.channel!r}: {error}") from None
