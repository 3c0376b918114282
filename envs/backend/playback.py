"""Playing recorded series to a batch of episodes: each starts at a place of its own.

The place comes from the episode's key alone (row seed and number of the episode), so a row hears
the same recording in any batch, and two policies with one seed hear the same one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.backend.rng import mix64, stream_table

STREAM = "recording"
"""Name of the stream of random words that the places come from. There is one, so that recordings of
equal length (channel and traffic of one measurement) are played from the same place."""
_POSITIVE = 2**63 - 1


class Playback:
    """A table of recordings on the device.

    An episode picks one recording and a slot in it, both uniformly, and goes on from there; after a
    recording's last slot comes its first [our choice: no slot is played more often than another].

    Args:
        table: (recordings, slots, series) numbers.
        places: how many places an episode reads at, each chosen independently: 1 keeps what was
            recorded together; more let one series stand for several links.
        dtype: of what is played.
        device: where it is played.
    """

    def __init__(
        self,
        table: NDArray[np.floating] | Tensor,
        places: int = 1,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        whole = torch.as_tensor(np.array(table) if isinstance(table, np.ndarray) else table)
        self.recordings, self.slots, self.series = whole.shape
        self._flat = whole.reshape(-1, self.series).to(device, dtype).contiguous()
        self._words = stream_table(STREAM, places, device)

    def start(self, key: Tensor) -> Tensor:
        """(rows, places) int64 row of the table (recordings one after another) of slot 0.

        Args:
            key: (rows,) int64 of the episodes, see `sixgym.envs.backend.rng.episode_key`.
        """
        words = mix64(key.unsqueeze(-1) ^ self._words).bitwise_and(_POSITIVE)
        return words % (self.recordings * self.slots)

    def at(self, key: Tensor, slot: Tensor) -> Tensor:
        """What is heard in a slot of each episode.

        Args:
            key: (rows,) int64 of the episodes.
            slot: (rows,) slot of the episode, 0 first; any dtype.

        Returns:
            (rows, places, series).
        """
        first = self.start(key)
        offset = first % self.slots
        now = (offset + slot.to(torch.int64).unsqueeze(-1)) % self.slots
        index = first - offset + now
        return self._flat.index_select(0, index.flatten()).reshape(*index.shape, self.series)
