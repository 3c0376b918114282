"""What differs from device to device: events, budgets, places, servers, attainable utilities."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.backend.pathloss import dbm_to_watt
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.event_offload.bank import EventBank, Mix
from sixgym.envs.event_offload.expectation import DESIGN, TOLERANCE, cell_of, table_of
from sixgym.envs.event_offload.multi_params import EventOffloadMultiParams
from sixgym.envs.event_offload.scores import (
    EventPool,
    load_pool,
    named_pool,
    perfect_detector,
)
from sixgym.envs.event_offload.state import SPLITS
from sixgym.envs.event_offload.trace_files import read_traces

LEAST_DISTANCE_M = 1.0
"""Devices of the triangle stand no nearer to a server. [our choice]"""


def device_pools(params: EventOffloadMultiParams) -> list[EventPool]:
    """The pool of every device; devices in turn share theirs.

    Raises:
        ParamsError: a name or a file is wrong, or the pools differ in their number of exits.
    """
    names = params.device_scores
    if not names:
        pools = [load_pool(params)]
    else:
        pools = [
            read_traces(name, params.mac_profile)
            if name.endswith(".npz")
            else named_pool(name, params.mac_profile, params.pool_events)
            for name in names
        ]
    if params.detector == "perfect":
        pools = [perfect_detector(pool, params.server_mode) for pool in pools]
    exits = {pool.num_exits for pool in pools}
    if len(exits) > 1:
        raise ParamsError(
            f"device_scores={names!r}: pools of {sorted(exits)} exits; allowed: equally many"
        )
    return [pools[n % len(pools)] for n in range(params.num_devices)]


class DeviceBank:
    """The events of all devices as one bank; device n draws from its own pool.

    Args:
        pools: of the devices.
        params: of the system.
        dtype: of the traits.
        device: of all tensors.
    """

    def __init__(
        self,
        pools: list[EventPool],
        params: EventOffloadMultiParams,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        own: list[tuple[float, ...]] = [(float(pi),) for pi in params.prevalences]
        if params.labels == "bursty":
            own = [(params.calm_prevalence, params.burst_prevalence)] * params.num_devices
        keys = list(zip(pools, own, strict=True))
        kinds = {
            key: EventBank(
                key[0], key[1], server_mode=params.server_mode, dtype=dtype, device=device
            )
            for key in dict.fromkeys(keys)
        }
        banks = list(kinds.values())
        sizes = [len(bank.label) for bank in banks]
        first = dict(zip(kinds, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
        self.conf = torch.cat([bank.conf for bank in banks])
        """(n, N) float32 tail confidences."""
        self.traits = torch.cat([bank.traits for bank in banks])
        """(n, 5) zeros and ones, see `sixgym.envs.event_offload.bank`."""
        # Columns first, as in `EventBank.look_up`.
        self._table = torch.cat([self.conf.T, self.traits.T.float()]).contiguous()
        self._exits = self.conf.shape[1]
        self.macs = torch.stack([kinds[key].macs for key in keys])
        """(devices, N) cumulative multiply-accumulates."""
        self.full_macs = self.macs[:, -1]
        """(devices,) of a full pass."""
        self.num_classes = torch.tensor([pool.num_classes for pool in pools], device=device)
        """(devices,) tail sub-classes K."""
        self._states = len(own[0])
        # (devices x parts x states, ...): how a device draws in a part and a state of its labels.
        mixes = [kinds[key].mixes for key in keys]
        self._mixes = torch.cat(mixes)
        self._starts = torch.cat([kinds[key].starts + first[key] for key in keys])
        self._device = torch.arange(params.num_devices, device=device)
        self._first = self._device * len(mixes[0])

    def draw(self, uniform: Tensor, split: Tensor, state: Tensor) -> Tensor:
        """(rows, devices, M) int64 rows of the bank.

        Args:
            uniform: (rows, devices, M) in (0, 1).
            split: (rows, devices) part of the traces, an index of `SPLITS`.
            state: (rows, devices) state of the labels, 0 or 1; 0 if there is only one.
        """
        place = split.to(torch.int64) * self._states + state.to(torch.int64) + self._first
        slopes, starts = self._mixes[place], self._starts[place]
        mix = Mix(*slopes.split(1, -1), *starts.split(1, -1))
        return EventBank.draw(uniform, mix)

    def look_up(self, events: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and traits of events, (N, rows, devices, M) float32 and (5, rows, devices, M).

        Args:
            events: (rows, devices, M) int64 rows of the bank.
        """
        flat = self._table.index_select(1, events.reshape(-1))
        columns = flat.reshape(-1, *events.shape)
        return columns[: self._exits], columns[self._exits :].to(self.traits.dtype)

    def macs_at(self, exit: Tensor) -> Tensor:
        """(rows, devices, M) cumulative multiply-accumulates at exits (int64, 0-based)."""
        place = exit + (self._device * self._exits).unsqueeze(-1)
        return self.macs.flatten().index_select(0, place.reshape(-1)).reshape(exit.shape)


class DeviceBudget:
    """Whether the pairs of all devices keep the budget of a slot; as `Budget`, device by device.

    Args:
        pools: of the devices.
        params: of the system.
        dtype: of the tables.
        device: of the tables.
    """

    def __init__(
        self,
        pools: list[EventPool],
        params: EventOffloadMultiParams,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        flat = []
        for pool, pi in zip(pools, params.prevalences.tolist(), strict=True):
            for split in SPLITS:
                table = table_of(pool, DESIGN[split], params)
                local = params.energy_per_mac_j * table.mac(pi)
                flat.append(np.stack([local, table.p_off(pi)], -1).reshape(-1, 2))
        self._table = torch.from_numpy(np.nan_to_num(np.concatenate(flat))).to(device, dtype)
        self._size = params.grid_points
        self._first = torch.arange(params.num_devices, device=device) * len(SPLITS)
        self._limit = params.budget_j * (1.0 + TOLERANCE)
        self._most = params.max_offload_share + TOLERANCE

    def is_kept(
        self, split: Tensor, low: Tensor, high: Tensor, offload_j: Tensor, is_up: Tensor
    ) -> Tensor:
        """(rows, devices) bool; arguments (rows, devices), see `Budget.is_kept`."""
        table = self._first + split.to(torch.int64)
        cell = cell_of(low, high, self._size) + table * self._size**2
        local, share = self._table[cell].unbind(-1)
        energy = local + torch.where(is_up, share * offload_j, 0.0)
        return (energy <= self._limit) & (share <= self._most)


def attainable_utility(
    pools: list[EventPool], params: EventOffloadMultiParams
) -> NDArray[np.float64]:
    """V_n(r): the best expected utility of a device whose expected offloads of a slot are <= r.

    From the tables that a designer knows; a step function that does not fall [related: FREDI,
    stage B, there for the events of a window].

    Returns:
        (devices, M + 1) of r = 0..M.
    """
    rows = []
    for pool, pi in zip(pools, params.prevalences.tolist(), strict=True):
        points = table_of(pool, DESIGN[params.split], params).at(pi)
        utility = points.tpr if params.utility == "tpr" else points.f_acc
        load = np.ceil(np.round(params.num_events * points.p_off, 9)).astype(np.int64)
        best = np.zeros(params.num_events + 1)
        np.maximum.at(best, load, utility)
        rows.append(np.maximum.accumulate(best))
    return np.stack(rows)


# --------------------------------------------------------------------------------- where they are


def triangle_corners(params: EventOffloadMultiParams) -> NDArray[np.float64]:
    """(3, 2) places of the servers, m."""
    side = params.triangle_side_m
    return np.array([[0.0, 0.0], [side, 0.0], [side / 2, side * math.sqrt(3.0) / 2]])


def stand_in_triangle(uniform: Tensor, corners: Tensor) -> Tensor:
    """Points uniform in a triangle: the unit square folded along its diagonal [standard].

    Args:
        uniform: (..., 2) in (0, 1).
        corners: (3, 2).

    Returns:
        (..., 2).
    """
    fold = uniform.sum(-1, keepdim=True) > 1.0
    share = torch.where(fold, 1.0 - uniform, uniform)
    sides = corners[1:] - corners[0]
    return corners[0] + share @ sides


def triangle_snr(position: Tensor, corners: Tensor, params: EventOffloadMultiParams) -> Tensor:
    """(rows, devices, 3) mean SNR to each server: P d^-alpha / (N0 B) [related: FREDI].

    Args:
        position: (rows, devices, 2), m.
        corners: (3, 2), m.
        params: of the system.
    """
    offset = position.unsqueeze(-2) - corners
    distance = offset.square().sum(-1).sqrt().clamp_min(LEAST_DISTANCE_M)
    noise_w = dbm_to_watt(params.noise_dbm_per_hz) * params.bandwidth_hz
    return params.transmit_power_w / noise_w * distance.pow(-params.path_loss_exponent)


def associate(snr: Tensor, eligible: Tensor, weight: Tensor, *, balanced: bool) -> Tensor:
    """(rows, devices) int64 server of every device, see the parameter ``association``.

    Args:
        snr: (rows, devices, servers) mean SNR.
        eligible: (devices, servers) bool.
        weight: (devices,) rho.
        balanced: device by device to the server with the least weight; else by SNR alone.
    """
    candidates = torch.where(eligible, snr, -1.0)
    if not balanced:
        return candidates.argmax(-1)
    load = torch.zeros_like(snr[:, 0])
    chosen = []
    for n in range(snr.shape[1]):
        here = torch.where(eligible[n], load, torch.inf)
        least = here <= here.amin(-1, keepdim=True) * (1.0 + TOLERANCE)
        server = torch.where(least, candidates[:, n], -torch.inf).argmax(-1)
        load = load + weight[n] * torch.nn.functional.one_hot(server, snr.shape[-1])
        chosen.append(server)
    return torch.stack(chosen, 1)
