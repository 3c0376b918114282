"""The uplink: rate, time and energy of one offload, outage, capacity of a slot.

All functions are of the received SNR (linear), elementwise on tensors of any shape.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

_LN2 = math.log(2.0)
LONGEST_S = 1e30
"""Times on air are at most this, so that they and energies are finite at zero SNR."""


class Channel(NamedTuple):
    """What an SNR means for one offload; all of its shape."""

    is_up: Tensor
    """bool: an offload meets its deadline; False is outage."""
    airtime_s: Tensor
    """Tau, seconds on air."""
    offload_j: Tensor
    """E_off, joules."""


class LinkParams(Protocol):
    """The parameters that decide an uplink; see `EventOffloadBaseParams`."""

    @property
    def bandwidth_hz(self) -> float: ...  # noqa: D102

    @property
    def transmit_power_w(self) -> float: ...  # noqa: D102

    @property
    def payload_bits(self) -> float: ...  # noqa: D102

    @property
    def deadline_s(self) -> float: ...  # noqa: D102

    @property
    def slot_s(self) -> float: ...  # noqa: D102


class Link:
    """A block-fading uplink over which events are sent one after another.

    Args:
        params: bandwidth B, power P_tx, payload D, deadline t_r, slot length.
    """

    def __init__(self, params: LinkParams) -> None:
        self.bandwidth_hz = params.bandwidth_hz
        self.transmit_power_w = params.transmit_power_w
        self.payload_bits = params.payload_bits
        self.deadline_s = params.deadline_s
        self.slot_s = params.slot_s
        self._s_bandwidth = params.payload_bits * _LN2 / params.bandwidth_hz

    @property
    def min_snr(self) -> float:
        """gamma_min = 2^(D / (B t_r)) - 1: below it an offload misses its deadline (outage).

        [derived]; 0.274141 or -5.62 dB by default. Infinite if no SNR can meet the deadline.
        """
        return _expm1(self._s_bandwidth / self.deadline_s)

    def rate_bps(self, snr: Tensor) -> Tensor:
        """R = B log2(1 + gamma), bit/s [standard]."""
        return torch.log1p(snr) * (self.bandwidth_hz / _LN2)

    def airtime_s(self, snr: Tensor) -> Tensor:
        """Time tau = D / R, seconds on air of one offload [standard]; very large at zero SNR."""
        return (self._s_bandwidth / torch.log1p(snr)).clamp_max(LONGEST_S)

    def offload_energy_j(self, snr: Tensor) -> Tensor:
        """E_off = P_tx tau, joules of one offload [standard], also where it misses the deadline."""
        return self.transmit_power_w * self.airtime_s(snr)

    def is_up(self, snr: Tensor) -> Tensor:
        """Whether an offload meets its deadline (bool): not in outage."""
        return snr >= self.min_snr

    def capacity(self, snr: Tensor) -> Tensor:
        """K_max = floor(T_slot / tau) offloads fit in a slot, 0 in outage; a float tensor."""
        return self.room(self.channel(snr))

    def channel(self, snr: Tensor) -> Channel:
        """Outage, time and energy of one offload at once."""
        airtime = self.airtime_s(snr)
        return Channel(self.is_up(snr), airtime, self.transmit_power_w * airtime)

    def room(self, channel: Channel) -> Tensor:
        """As `capacity`, of a channel."""
        return torch.floor(self.slot_s / channel.airtime_s) * channel.is_up

    def outage_probability(self, mean_snr: float) -> float:
        """1 - exp(-gamma_min / gbar) under Rayleigh fading [standard]."""
        return -math.expm1(-self.min_snr / mean_snr)

    def feasible_snr(self, local_j: float, offload_share: float, budget_j: float) -> float:
        """gamma_f, the least SNR at which E_loc + P_off E_off <= xi.

        gamma_f = 2^(P_tx D P_off / (B (xi - E_loc))) - 1 [derived: a reconstruction of the paper's
        Lemma 1, which ties the SNR to whether offloading is viable].

        Args:
            local_j: E_loc, expected local energy of an event, J.
            offload_share: P_off in [0, 1].
            budget_j: xi, J.

        Returns:
            The SNR, linear; 0 where nothing is sent within the budget, infinity where no SNR
            suffices.
        """
        if local_j > budget_j:
            return math.inf
        if offload_share == 0.0:
            return 0.0
        if local_j == budget_j:
            return math.inf
        energy = self.transmit_power_w * self._s_bandwidth * offload_share
        return _expm1(energy / (budget_j - local_j))


def _expm1(value: float) -> float:
    """exp(x) - 1, infinite instead of an overflow."""
    return math.expm1(value) if value < 700.0 else math.inf
