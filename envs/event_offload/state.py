"""The state of a batch of rows of `sixgym/EventOffload-v0`.

Few tensors on purpose: at one row a step costs a few microseconds for every tensor that goes in and
out of it. The properties give the parts by name.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from sixgym.envs.event_offload.scores import Split

(
    SNR,
    HELD,
    SPLIT,
    BURST,
    ENERGY,
    SLOT,
    SENT,
    DEPTH,
    CONFIRMED,
    SPENT,
    MEDIAN,
    HIGH_SCORE,
    TOP_SCORE,
    LOW,
    UPPER,
    FIT,
    LAST_SNR,
) = range(17)
"""Columns of `State.vitals`; `SENT` to `TOP_SCORE` are items 5 to 11 of the observation."""
NUM_VITALS = 17
SPLITS: tuple[Split, ...] = ("calib", "test", "all")
"""Parts of the traces in the order of the column `SPLIT`."""


class State(NamedTuple):
    """State of a batch of rows."""

    fading: Tensor
    """(rows, 2) complex Rayleigh gain h of this slot, re and im, E|h|^2 = 1."""
    vitals: Tensor
    """(rows, 17) numbers of each row, see the properties."""
    events: Tensor
    """(rows, M) int64 rows of the event bank that arrived in the last slot; -1 before the first
    slot, and always in the mode of expectations."""

    @property
    def snr(self) -> Tensor:
        """(rows,) received SNR gamma of this slot, linear."""
        return self.vitals[:, SNR]

    @property
    def held_snr(self) -> Tensor:
        """(rows,) SNR that an option of the reset holds for the episode; -1 where it fades."""
        return self.vitals[:, HELD]

    @property
    def split(self) -> Tensor:
        """(rows,) part of the traces, an index of `SPLITS`."""
        return self.vitals[:, SPLIT]

    @property
    def in_burst(self) -> Tensor:
        """(rows,) 1 in the burst state of the labels' chain, hidden from the agent; else 0."""
        return self.vitals[:, BURST]

    @property
    def energy_j(self) -> Tensor:
        """(rows,) energy spent in this episode, J."""
        return self.vitals[:, ENERGY]

    @property
    def slot(self) -> Tensor:
        """(rows,) slot of the episode, 0 first."""
        return self.vitals[:, SLOT]

    @property
    def confirmed(self) -> Tensor:
        """(rows,) moving average of the share of events that the server called tail."""
        return self.vitals[:, CONFIRMED]

    @property
    def pair(self) -> Tensor:
        """(rows, 2) lower and upper threshold of the last slot."""
        return self.vitals[:, LOW : UPPER + 1]

    @property
    def fit(self) -> Tensor:
        """(rows,) offloads that the last slot had room for (capacity, battery)."""
        return self.vitals[:, FIT]

    @property
    def last_snr(self) -> Tensor:
        """(rows,) SNR of the last slot, linear; 0 before the first."""
        return self.vitals[:, LAST_SNR]
