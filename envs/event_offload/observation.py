"""What the device sees: channel, budget, time and the last slot, no labels."""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.event_offload.link import Link
from sixgym.envs.event_offload.params import EventOffloadBaseParams
from sixgym.envs.event_offload.state import ENERGY, SENT, SLOT, SNR, TOP_SCORE

QUANTILES = (0.5, 0.9, 0.99)
"""Levels of the exit-1 scores: an indicator of bursts that needs no labels. [our choice]"""
EMA = 0.1
"""Weight of the newest slot in the average of the confirmed share. [our choice]"""
_DECADE = 1.0 / math.log(10.0)
NUM_FEATURES = 12
CHANNEL_FEATURES = 3
"""Of these, the first: what is known of the channel."""


def observation_space() -> spaces.Box:
    """``Box(12,)``: items 0 and 2 in [-1, 1], the others in [0, 1]."""
    low = np.zeros(NUM_FEATURES, np.float32)
    low[[0, 2]] = -1.0
    return spaces.Box(low, np.ones(NUM_FEATURES, np.float32), dtype=np.float32)


class Observer:
    """Turns the vitals of rows into observations.

    ==== ==========================================================================================
    item content
    ==== ==========================================================================================
    0    SNR in dB over 30, clipped to [-1, 1]
    1    1 where an offload meets its deadline, 0 in outage
    2    ``log10(E_off / xi) / 2``, clipped to [-1, 1]; 1 in outage
    3    battery left, of its start; without a battery the mean energy so far over xi, at most 1
    4    share of the episode left
    5    last slot: share of events offloaded
    6    last slot: mean of the MACs over those of a full pass
    7    moving average of the share of events that the server called tail (at first pi)
    8    last slot: energy over M xi, clipped to 2, halved
    9-11 last slot: 0.5, 0.9 and 0.99 quantiles of the exit-1 scores
    ==== ==========================================================================================

    Items 5, 6 and 8 to 11 are 0 at first. [our choice: all of it; FREDI and the paper have no
    agent]

    Args:
        params: of the system.
        link: the uplink.
        has_battery: whether item 3 is the battery.
    """

    def __init__(self, params: EventOffloadBaseParams, link: Link, *, has_battery: bool) -> None:
        self._link = link
        self._battery = has_battery
        self._horizon = params.horizon_slots
        self._slot_budget_j = params.num_events * params.budget_j
        self._log_budget = math.log(params.budget_j)
        self.space = observation_space()

    def __call__(self, vitals: Tensor) -> Tensor:
        """(rows, 12) float32 in the observation space, of (rows, vitals)."""
        link = self._link
        snr, slot, energy = vitals[:, SNR], vitals[:, SLOT], vitals[:, ENERGY]
        up = link.is_up(snr)
        price = link.offload_energy_j(snr).log() - self._log_budget
        price = torch.where(up, (price * (0.5 * _DECADE)).clamp(-1.0, 1.0), torch.ones_like(price))
        if self._battery:
            left = 1.0 - energy / (self._slot_budget_j * self._horizon)
        else:
            left = energy / (slot.clamp_min(1.0) * self._slot_budget_j)
        columns = [
            (snr.clamp_min(1e-6).log() * (10.0 * _DECADE / 30.0)).clamp(-1.0, 1.0),
            up.to(snr.dtype),
            price,
            left.clamp(0.0, 1.0),
            (1.0 - slot / self._horizon).clamp_min(0.0),
        ]
        seen = torch.cat([torch.stack(columns, 1), vitals[:, SENT : TOP_SCORE + 1]], 1)
        # Shares may exceed 1 by rounding.
        return seen.clamp_max(1.0).float()


class Quantiles:
    """Quantiles of the scores of a slot, linearly interpolated between order statistics.

    Args:
        num_events: scores in a slot.
        dtype: of the result.
        device: of the result.
    """

    def __init__(self, num_events: int, dtype: torch.dtype, device: torch.device) -> None:
        weight = torch.zeros((num_events, len(QUANTILES)), dtype=dtype)
        for k, level in enumerate(QUANTILES):
            place = level * (num_events - 1)
            below = min(int(place), num_events - 1)
            above = min(below + 1, num_events - 1)
            weight[below, k] += 1.0 - (place - below)
            weight[above, k] += place - below
        self._weight = weight.to(device)

    def __call__(self, score: Tensor) -> Tensor:
        """(rows, 3) of (rows, M) scores."""
        ordered = score.sort(-1).values.to(self._weight.dtype)
        return ordered @ self._weight
