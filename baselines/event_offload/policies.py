"""Policies of ``sixgym/EventOffload-v0``: all act by a pair of thresholds a slot.

They read the observation as it stands in the environment (SNR, outage, battery, time, confirmed
tails) and have tables made beforehand on the calibration split; see
`sixgym.baselines.event_offload.design`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.event_offload.battery import BatteryPlan, Staircase
from sixgym.baselines.event_offload.design import Cells
from sixgym.baselines.generic import RandomPolicy, rows_of
from sixgym.envs.event_offload.lookup import NO_OFFLOAD, LookupTable

if TYPE_CHECKING:
    from sixgym.envs.core.vector_view import SixgymVectorEnv

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]

SNR, UP, BATTERY, TIME_LEFT, CONFIRMED = 0, 1, 3, 4, 7
"""Items of the observation."""
SNR_UNIT_DB = 30.0
"""Of item ``SNR``."""


def snr_db_of(observation: Any) -> Floats:
    """(rows,) the observed SNR in dB, clipped to +-30."""
    return np.asarray(observation[:, SNR], dtype=np.float64) * SNR_UNIT_DB


def is_up(observation: Any) -> NDArray[np.bool_]:
    """(rows,) whether anything can be sent."""
    return np.asarray(observation[:, UP]) > 0.5


def no_offload_in_outage(observation: Any, pairs: Floats) -> Singles:
    """The pairs, (1, 1) in outage, as actions."""
    chosen = np.where(is_up(observation)[:, None], pairs, np.array(NO_OFFLOAD))
    return chosen.astype(np.float32)


class SnrTable:
    """The paper's form of a policy: a pair for every SNR, looked up.

    Args:
        table: with the pairs.
        name: what it is called.
    """

    def __init__(self, table: LookupTable, name: str) -> None:
        self.name = name
        self._table = table

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Singles, None]:
        """(rows, 2) thresholds; see `sixgym.envs.core.rollout.Policy`."""
        pairs = self._table.pair(10.0 ** (snr_db_of(observation) / 10.0))
        return no_offload_in_outage(observation, pairs.astype(np.float64)), None


class CellTable:
    """A pair for every cell of SNR, or one of two pairs by a coin.

    Args:
        cells: of SNR.
        pairs: (cells, 2) thresholds.
        name: what it is called.
        others: (cells, 2) those of the other side of the coin; None: there is no coin.
        chance: (cells,) of the others.
    """

    def __init__(
        self,
        cells: Cells,
        pairs: Floats,
        name: str,
        *,
        others: Floats | None = None,
        chance: Floats | None = None,
    ) -> None:
        self.name = name
        self._cells, self._pairs = cells, pairs
        self._others = pairs if others is None else others
        self._chance = np.zeros(len(pairs)) if chance is None else chance
        # A coin for each row and slot, the same in any batch.
        self._coin = RandomPolicy(gym.spaces.Box(0.0, 1.0, (1,), np.float64))

    def attach(self, env: SixgymVectorEnv) -> None:
        """Toss the coin by the rows' seeds and steps from now on."""
        self._coin.attach(env)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Singles, None]:
        """(rows, 2) thresholds; see `sixgym.envs.core.rollout.Policy`."""
        cell = self._cells.of(snr_db_of(observation))
        pairs = self._pairs[cell]
        if self._chance.any():
            toss = self._coin.predict(observation)[0][:, 0] < self._chance[cell]
            pairs = np.where(toss[:, None], self._others[cell], pairs)
        return no_offload_in_outage(observation, pairs), None


class FixedPair:
    """The same pair always.

    Args:
        low: lower threshold.
        high: upper threshold.
        name: what it is called.
    """

    def __init__(self, low: float, high: float, name: str) -> None:
        self.name = name
        self._pair = np.array([low, high], dtype=np.float32)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Singles, None]:
        """(rows, 2) thresholds; see `sixgym.envs.core.rollout.Policy`."""
        return np.repeat(self._pair[None], rows_of(observation), axis=0), None


class BatteryPolicy:
    """Spends a battery by the value to go: argmax f + V_{t+1}(what is left).

    Args:
        cells: of SNR.
        stairs: what each amount of energy buys in each cell, rounded up to levels.
        plan: the value to go.
        pairs: (points, 2) thresholds of the operating points.
        slots: T, that the observed time is a share of.
        name: what it is called.
    """

    def __init__(
        self,
        cells: Cells,
        stairs: Staircase,
        plan: BatteryPlan,
        pairs: Floats,
        slots: int,
        name: str,
    ) -> None:
        self.name = name
        self._cells, self._stairs, self._plan, self._pairs = cells, stairs, plan, pairs
        self._slots = slots

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Singles, None]:
        """(rows, 2) thresholds; see `sixgym.envs.core.rollout.Policy`."""
        seen = np.asarray(observation, dtype=np.float64)
        cell = self._cells.of(snr_db_of(observation))
        to_go = self._plan.to_go
        left = np.floor(seen[:, BATTERY] * (to_go.shape[1] - 1) + 1e-3).astype(np.int64)
        slot = np.rint((1.0 - seen[:, TIME_LEFT]) * self._slots).astype(np.int64)
        after = left[:, None] - self._stairs.levels[cell]
        later = to_go[np.minimum(slot + 1, self._slots)[:, None], np.maximum(after, 0)]
        worth = np.where(after >= 0, self._stairs.value[cell] + later, -np.inf)
        best = worth.argmax(1)
        pairs = self._pairs[self._stairs.point[cell, best]]
        # What cannot be afforded at all is at least not begun.
        pairs = np.where(np.isfinite(worth.max(1))[:, None], pairs, np.array(NO_OFFLOAD))
        return no_offload_in_outage(observation, pairs), None
