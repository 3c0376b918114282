"""Direct links and traffic from recordings, and direct links from Sionna.

One row of a file is one slot [our choice]. For the channel (``channel="trace:PATH"``) a file is of
one of these forms, the first that it begins to have; users count from 0:

=========================================== ========================================================
columns                                     meaning
=========================================== ========================================================
``direct_re_0 [1]``, ..., ``direct_im_0``   complex coefficient of each user's direct link
``direct_gain_0 [dB]``, ...                 its power only
``direct_re [1]``, ``direct_im [1]``        one series, which all users read at places of their own
``direct_gain [dB]``                        the same, power only
=========================================== ========================================================

With several antennas the columns have a second number, ``direct_re_0_1`` for user 0 and antenna 1.
Coefficients are relative to the direct link's mean amplitude, which distance and blockage give:
a mean power of 1 (0 dB) keeps the path loss. Where only the power is recorded, the phase is that of
the model's own fading, a Gauss-Markov step from the last coefficient [our choice].

For traffic (``arrivals="trace:PATH"``): ``arrivals_0 [bits]``, ... of each user, or one series
``arrivals [bits]`` that all users read at places of their own. The reward and the first held volume
are scaled by the recording's mean.

An episode begins at a row that its seed picks, and after the last row comes the first.

Sionna (``channel="sionna:KIND"``) gives direct links of unit mean power at the carrier frequency.
Only the direct link is replaced [our choice]: the two hops over the surface need a channel of
every element, with the geometry of the surface, which neither a tapped delay line nor a drop
without surfaces has; so they keep the Rician model, and see the same random draws as without.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.envs.backend.playback import Playback
from sixgym.envs.backend.sionna_channel import coefficients, doppler_of
from sixgym.envs.backend.trace_formats import TraceError
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.core.sources import sionna_kind
from sixgym.envs.ris_noma.params import RisNomaBaseParams
from sixgym.envs.ris_noma.recordings import arrival_table, direct_table

LEAST_POWER = 1e-24
"""Keeps the phase of a link without power defined."""


class DirectSource:
    """The direct links of a recording, played to a batch of rows.

    Args:
        params: ``channel`` is not ``"model"``.
        dtype: of the links.
        device: where they are.

    Raises:
        ParamsError: the file does not fit, or Sionna is not installed.
    """

    def __init__(self, params: RisNomaBaseParams, dtype: torch.dtype, device: torch.device) -> None:
        self._links = params.num_users * params.num_antennas
        places, self._has_phase = 1, True
        kind = sionna_kind(params.channel)
        if kind is None:
            form, series = direct_table(params)
            places = form.places
            self._has_phase = form.columns[0].name.startswith("direct_re")
            table = torch.from_numpy(series.copy())[None]
        else:
            table = _made(params, kind)
        self._each = places > 1
        self._playback = Playback(table, places, dtype=dtype, device=device)

    def put_in(self, links: Tensor, scatter: Tensor, key: Tensor, slot: Tensor) -> Tensor:
        """Links with their direct part replaced.

        Args:
            links: (rows, 2, links) drawn by the model.
            scatter: (rows, links) amplitudes; of a direct link without line of sight all of it.
            key: (rows,) int64 of the episodes.
            slot: (rows,) slot of the episode, 0 first.
        """
        count = self._links
        direct, others = links[..., :count], links[..., count:]
        heard = self._playback.at(key, slot)
        if self._has_phase:
            # (rows, 1, 2 links), or of each link its own two parts.
            parts = heard.mT if self._each else heard.unflatten(-1, (2, count)).squeeze(1)
        else:
            power = direct.square().sum(1, keepdim=True).clamp_min(LEAST_POWER)
            parts = direct * (heard.reshape(-1, 1, count) / power).sqrt()
        return torch.cat([parts * scatter[:, :count].unsqueeze(1), others], -1)


class ArrivalSource:
    """The traffic of a recording, played to a batch of rows.

    Args:
        params: ``arrivals`` is not ``"model"``.
        dtype: of the bits.
        device: where they are.

    Raises:
        ParamsError: the file does not fit.
    """

    def __init__(self, params: RisNomaBaseParams, dtype: torch.dtype, device: torch.device) -> None:
        form, series = arrival_table(params)
        self._users = params.num_users
        table = torch.from_numpy(series.copy())[None]
        self._playback = Playback(table, form.places, dtype=dtype, device=device)

    def at(self, key: Tensor, slot: Tensor) -> Tensor:
        """(rows, users) bits that arrive in a slot; arguments as `DirectSource.put_in`."""
        return self._playback.at(key, slot).reshape(-1, self._users)


def _made(params: RisNomaBaseParams, kind: str) -> Tensor:
    """(recordings, slots, 2 links): all real parts, then all imaginary ones."""
    doppler = doppler_of(params.fading_correlation, params.slot_s)
    try:
        h = coefficients(
            kind,
            params.num_users,
            params.num_antennas,
            doppler,
            params.slot_s,
            params.carrier_hz,
        )
    except TraceError as error:
        raise ParamsError(f"channel={params.channel!r}: {error}") from None
    return torch.cat([h.real, h.imag], -1)
