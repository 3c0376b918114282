"""How uplinks and servers are shared among the devices in one slot."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.event_offload.allocation import (
    bid_shares,
    fair_units,
    knapsack,
    weight_shares,
)
from sixgym.envs.event_offload.link import Link
from sixgym.envs.event_offload.multi_params import EventOffloadMultiParams


class Shares(NamedTuple):
    """What every device gets of its server in a slot."""

    band: Tensor
    """(rows, devices) share of the bandwidth."""
    units: Tensor
    """(rows, devices) int64 events that the server will process, at most what the uplink can carry
    in the slot, R_n^cap."""


class Sharing:
    """The sharing rule of the parameter ``alloc``.

    Power is spread evenly over the bandwidth, so SNR and energy of an offload do not depend on the
    share; it bounds how many fit: min(M, floor(T_slot b_n log2(1 + gamma_n) / D)), 0 in outage,
    which is judged at the whole bandwidth [our choice: at a sixth of it a device at 4 dB would be
    out 73 % of the time].

    Args:
        params: of the system.
        link: an uplink with all of a server's bandwidth.
        attainable: (devices, M + 1) `attainable_utility`, for ``maxsum``; else None.
        dtype: of the shares.
        device: of all tensors.
    """

    def __init__(
        self,
        params: EventOffloadMultiParams,
        link: Link,
        attainable: Tensor | None,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._alloc = params.alloc
        self._link = link
        self._events = params.num_events
        self._capacity = params.server_events
        self._payloads = params.slot_s / params.payload_bits
        self._weight = torch.from_numpy(params.rho).to(device, dtype)
        self._servers = torch.arange(params.num_servers, device=device).unsqueeze(-1)
        self._attainable = attainable
        self._units = torch.arange(params.num_events + 1, device=device)

    def __call__(
        self, snr: Tensor, server: Tensor, works: Tensor, bid: Tensor | None = None
    ) -> Shares:
        """Share a slot.

        Args:
            snr: (rows, devices) linear.
            server: (rows, devices) int64 index.
            works: (rows, devices) bool, who takes part.
            bid: (rows, devices) for ``bid``; else None.
        """
        # (rows, servers, devices): every server shares among its own.
        member = (server.unsqueeze(1) == self._servers) & works.unsqueeze(1)
        weight = self._weight * member
        band = self._band(weight, member, bid)
        room = torch.floor(self._payloads * band * self._link.rate_bps(snr)).clamp_max(self._events)
        room = torch.where(self._link.is_up(snr), room, 0.0).to(torch.int64)
        cap = room.unsqueeze(1) * member
        return Shares(band, self._units_of(weight, member, cap).sum(1))

    def _band(self, weight: Tensor, member: Tensor, bid: Tensor | None) -> Tensor:
        """(rows, devices) share of the own server's bandwidth."""
        if self._alloc == "equal":
            shares = weight_shares(member.to(weight.dtype))
        elif self._alloc == "bid" and bid is not None:
            shares = bid_shares(bid.unsqueeze(1).expand_as(weight), member)
        else:
            shares = weight_shares(weight)
        return shares.sum(1)

    def _units_of(self, weight: Tensor, member: Tensor, cap: Tensor) -> Tensor:
        """(rows, servers, devices) int64 units, at most the cap."""
        total = torch.full_like(cap[..., 0], self._capacity)
        if self._alloc == "equal":
            each = total // member.sum(-1).clamp_min(1)
            return torch.minimum(cap, each.unsqueeze(-1))
        if self._alloc == "maxsum":
            assert self._attainable is not None
            within = self._units <= cap.unsqueeze(-1)
            value = torch.where(within, self._attainable, -math.inf)
            return knapsack(value, self._capacity).units
        return fair_units(weight, cap, total)
