"""Channels of TR 38.901 made by Sionna 2, as recordings to be played.

Sionna is an optional library (``pip install 'sixgym[sionna]'``) and slow to import, so it is loaded
when a channel is asked for. What it makes once, from a fixed seed, is a table (recordings, slots,
links) that `sixgym.envs.backend.playback.Playback` plays like a measured trace.

The coefficients are small-scale fading of unit mean power: path loss and shadowing belong to the
environment. Tapped delay lines ``tdl-a`` to ``tdl-e`` have the classical Doppler spectrum on every
tap [standard: TR 38.901 7.7.2]; all links are independent. ``umi-drop`` is the system level: each
recording is one drop of the terminals in a sector of the urban-microcell street canyon, outdoors,
each with its own line-of-sight state, clusters and direction of motion; antennas of the base
station stand half a wavelength apart, and terminals in one drop have correlated large-scale
parameters [standard: TR 38.901 7.5].
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sixgym.envs.backend.fading import jakes_correlation, wavelength
from sixgym.envs.backend.trace_formats import TraceError

TDL_KINDS = ("tdl-a", "tdl-b", "tdl-c", "tdl-d", "tdl-e")
DROP = "umi-drop"
KINDS = (*TDL_KINDS, DROP)
"""Names of the channels."""
RECORDINGS = 16
"""Recordings in a table. [our choice]"""
SLOTS = 512
"""Slots of a recording. [our choice]"""
SEED = 38901
"""Of every table: all who play one hear the same. [our choice]"""
DELAY_SPREAD_S = 100e-9
"""Root mean square delay spread of the tapped delay lines ("nominal" in TR 38.901 table 7.7.3-1);
matters where a band is averaged over. [standard]"""
FREQUENCIES = 32
"""Points over which the gain of a band is averaged. [our choice]"""
CARRIER_RANGE_HZ = (0.5e9, 100e9)
"""Where TR 38.901 holds. [standard]"""
_CHUNK = 32
"""Series of a tapped delay line that are made at once: about 0.2 GB."""


def doppler_of(correlation: float, lag_s: float) -> float:
    """The least Doppler shift f_D with ``J0(2 pi f_D lag) = correlation``, Hz, by bisection.

    Args:
        correlation: in [0, 1]; 1 is no motion, 0 gives 0.3827 / lag.
        lag_s: s, > 0.

    Raises:
        ValueError: a value is out of its range.
    """
    if not 0.0 <= correlation <= 1.0 or not lag_s > 0.0:
        raise ValueError(f"correlation={correlation}, lag_s={lag_s}: allowed: [0, 1] and > 0")
    low, high = 0.0, 0.5 / lag_s  # J0(pi) < 0, and J0 falls up to there
    for _ in range(60):
        middle = 0.5 * (low + high)
        if float(jakes_correlation(middle, lag_s)) >= correlation:
            low = middle
        else:
            high = middle
    return low


@lru_cache(maxsize=8)
def coefficients(
    kind: str,
    users: int,
    antennas: int,
    doppler_hz: float,
    slot_s: float,
    carrier_hz: float,
    *,
    recordings: int = RECORDINGS,
    slots: int = SLOTS,
) -> Tensor:
    """Complex coefficients at the carrier frequency, the whole table scaled to unit mean power.

    Args:
        kind: one of `KINDS`.
        users: terminals, each sending with one antenna.
        antennas: of the receiver.
        doppler_hz: largest Doppler shift of every terminal.
        slot_s: time between slots, s.
        carrier_hz: carrier frequency; see `CARRIER_RANGE_HZ`.
        recordings: how many are made.
        slots: length of each.

    Returns:
        (recordings, slots, users x antennas) complex64; shared, not to be written to.

    Raises:
        TraceError: Sionna is not installed.
    """
    parts = _parts(kind, users, antennas, doppler_hz, slot_s, carrier_hz, recordings, slots)
    whole = torch.cat([h.sum(2) for h, _ in parts])
    return _unit_mean(whole, recordings)


@lru_cache(maxsize=8)
def band_gains(
    kind: str,
    users: int,
    doppler_hz: float,
    slot_s: float,
    carrier_hz: float,
    bandwidth_hz: float,
    *,
    recordings: int = RECORDINGS,
    slots: int = SLOTS,
) -> Tensor:
    """Power gains ``|H(f)|^2`` averaged over a band, the whole table scaled to unit mean.

    Arguments as `coefficients`, with the bandwidth in Hz; one receive antenna.

    Returns:
        (recordings, slots, users) float32; shared, not to be written to.

    Raises:
        TraceError: Sionna is not installed.
    """
    place = (torch.arange(FREQUENCIES, dtype=torch.float64) + 0.5) / FREQUENCIES - 0.5
    gains = []
    for h, delay_s in _parts(kind, users, 1, doppler_hz, slot_s, carrier_hz, recordings, slots):
        turns = delay_s.double().unsqueeze(1) * (bandwidth_hz * place).unsqueeze(-1)
        phase = -2.0 * math.pi * (turns - turns.floor())
        shift = torch.polar(torch.ones_like(phase), phase).to(
            h.dtype
        )  # (series, frequencies, paths)
        gains.append(torch.bmm(shift, h.mT).abs().square().mean(1))
    whole = torch.cat(gains)
    return _unit_mean(whole, recordings)


def _unit_mean(series: Tensor, recordings: int) -> Tensor:
    """(recordings, slots, links) of (recordings x links, slots), of unit mean power."""
    power = series.abs().square() if series.is_complex() else series
    mean = power.double().mean()
    scaled = series / (mean.sqrt() if series.is_complex() else mean).to(power.dtype)
    links = series.shape[0] // recordings
    return scaled.reshape(recordings, links, -1).transpose(1, 2).contiguous()


def _parts(
    kind: str,
    users: int,
    antennas: int,
    doppler_hz: float,
    slot_s: float,
    carrier_hz: float,
    recordings: int,
    slots: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Paths of some links after the other, recording by recording, user by user.

    Yields:
        Coefficients (links, slots, paths) complex64, and delays (links, paths) in s.
    """
    speed = doppler_hz * wavelength(carrier_hz)
    with _seeded():
        if kind == DROP:
            yield from _drops(users, antennas, speed, slot_s, carrier_hz, recordings, slots)
        else:
            series = recordings * users * antennas
            yield from _delay_lines(kind, series, speed, slot_s, carrier_hz, slots)


def _delay_lines(
    kind: str, series: int, speed: float, slot_s: float, carrier_hz: float, slots: int
) -> Iterator[tuple[Tensor, Tensor]]:
    from sionna.phy.channel.tr38901 import TDL

    letter = kind.removeprefix("tdl-").upper()
    line = TDL(
        letter,
        DELAY_SPREAD_S,
        carrier_hz,
        min_speed=speed,
        max_speed=speed,
        precision="single",
        device="cpu",
    )
    for first in range(0, series, _CHUNK):
        h, delay_s = line(min(_CHUNK, series - first), slots, 1.0 / slot_s)
        yield h[:, 0, 0, 0, 0].mT, delay_s[:, 0, 0]


def _drops(
    users: int,
    antennas: int,
    speed: float,
    slot_s: float,
    carrier_hz: float,
    recordings: int,
    slots: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    from sionna.phy.channel import gen_single_sector_topology
    from sionna.phy.channel.tr38901 import PanelArray, UMi

    def array(columns: int) -> Any:
        return PanelArray(
            num_rows_per_panel=1,
            num_cols_per_panel=columns,
            polarization="single",
            polarization_type="V",
            antenna_pattern="omni",
            carrier_frequency=carrier_hz,
            precision="single",
            device="cpu",
        )

    channel = UMi(
        carrier_hz,
        "low",
        array(1),
        array(antennas),
        "uplink",
        enable_pathloss=False,
        enable_shadow_fading=False,
        precision="single",
        device="cpu",
    )
    for _ in range(recordings):
        where, base, turned, base_turned, velocity, indoors = gen_single_sector_topology(
            1,
            users,
            "umi",
            indoor_probability=0.0,
            min_ut_velocity=speed,
            max_ut_velocity=speed,
            precision="single",
            device="cpu",
        )
        # Upright: a terminal turned at random would lose power to the other polarisation.
        upright = torch.zeros_like(turned)
        channel.set_topology(where, base, upright, base_turned, velocity, indoors)
        h, delay_s = channel(slots, 1.0 / slot_s)
        links = h[0, 0, :, :, 0].transpose(0, 1).flatten(0, 1)  # user by user
        yield links.mT, delay_s[0, 0].repeat_interleave(antennas, 0)


@contextmanager
def _seeded() -> Iterator[None]:
    """Sionna's generator at `SEED`, afterwards where it was.

    On import Sionna reseeds torch's own generators at random, which would make the training around
    it unrepeatable: they too are put back.
    """
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        try:
            from sionna.phy import config
        except ImportError:
            raise TraceError(
                "needs Sionna, which is not installed: pip install 'sixgym[sionna]'"
            ) from None
        generator = config.torch_rng("cpu")
        before = generator.get_state()
        generator.manual_seed(SEED)
        try:
            yield
        finally:
            generator.set_state(before)
