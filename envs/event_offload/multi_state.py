"""The state of a batch of rows of `sixgym/EventOffloadMulti-v0`."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from sixgym.envs.event_offload.state import (
    BURST,
    ENERGY,
    LAST_SNR,
    LOW,
    NUM_VITALS,
    SLOT,
    SNR,
    SPLIT,
    UPPER,
)

BAND, UNITS, MEAN_UTILITY, SUM_UTILITY, MEAN_SNR, SERVER, LAST_UTILITY = range(
    NUM_VITALS, NUM_VITALS + 7
)
"""Columns of `MultiState.vitals` after those of `State.vitals`, which mean the same of a device."""
NUM_DEVICE_VITALS = NUM_VITALS + 7


class MultiState(NamedTuple):
    """State of a batch of rows; the axis of devices is the axis of agents."""

    fading: Tensor
    """(rows, 2, devices) complex gain of each device to its server, re and im, E|h|^2 = 1."""
    vitals: Tensor
    """(rows, devices, 24) numbers of each device, see the properties and `State`."""
    position_m: Tensor
    """(rows, devices, 2) where the devices stand; (rows, 0, 2) where mean SNRs are given."""

    @property
    def snr(self) -> Tensor:
        """(rows, devices) received SNR of this slot, linear; does not depend on the bandwidth."""
        return self.vitals[..., SNR]

    @property
    def split(self) -> Tensor:
        """(rows, devices) part of the traces, an index of `SPLITS`."""
        return self.vitals[..., SPLIT]

    @property
    def in_burst(self) -> Tensor:
        """(rows, devices) 1 in the burst state of a device's own labels, else 0."""
        return self.vitals[..., BURST]

    @property
    def energy_j(self) -> Tensor:
        """(rows, devices) energy spent in this episode, J."""
        return self.vitals[..., ENERGY]

    @property
    def slot(self) -> Tensor:
        """(rows,) slot of the episode, 0 first."""
        return self.vitals[:, 0, SLOT]

    @property
    def pair(self) -> Tensor:
        """(rows, devices, 2) lower and upper thresholds of the last slot."""
        return self.vitals[..., LOW : UPPER + 1]

    @property
    def last_snr(self) -> Tensor:
        """(rows, devices) SNR of the last slot, linear; 0 before the first."""
        return self.vitals[..., LAST_SNR]

    @property
    def band(self) -> Tensor:
        """(rows, devices) share of its server's bandwidth, in this slot (of the last if bid)."""
        return self.vitals[..., BAND]

    @property
    def units(self) -> Tensor:
        """(rows, devices) events of its that the server processes, as `band`."""
        return self.vitals[..., UNITS]

    @property
    def mean_utility(self) -> Tensor:
        """(rows, devices) running mean of the utility, at first 1/2."""
        return self.vitals[..., MEAN_UTILITY]

    @property
    def sum_utility(self) -> Tensor:
        """(rows, devices) sum of the utility over the episode."""
        return self.vitals[..., SUM_UTILITY]

    @property
    def last_utility(self) -> Tensor:
        """(rows, devices) utility of the last slot."""
        return self.vitals[..., LAST_UTILITY]

    @property
    def mean_snr(self) -> Tensor:
        """(rows, devices) mean SNR to the device's server, linear."""
        return self.vitals[..., MEAN_SNR]

    @property
    def server(self) -> Tensor:
        """(rows, devices) index of the device's server, a float tensor."""
        return self.vitals[..., SERVER]
