"""The table of baselines of ``sixgym/EventOffloadMulti-v0``.

One controller plays all devices, but every device decides by its own observation: its channel, and
the units of uplink and server that it was given. What is compared is how the shared part is split
(the parameter ``alloc``) and how thresholds answer to it. The exact proportionally fair split is
none of the environment's; it is evaluated in `sixgym.baselines.event_offload.windows`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.event_offload.design import Cells, Design, cells_of, served_share
from sixgym.baselines.event_offload.policies import SNR, SNR_UNIT_DB, UP
from sixgym.baselines.policy import Baseline, Kind, Sees
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.event_offload.devices import device_pools
from sixgym.envs.event_offload.lookup import NO_OFFLOAD, Objective, prune
from sixgym.envs.event_offload.multi import GROUP
from sixgym.envs.event_offload.multi_params import EventOffloadMultiParams
from sixgym.envs.event_offload.observation import NUM_FEATURES
from sixgym.envs.event_offload.scores import EventPool
from sixgym.envs.event_offload.tables import OperatingPoints, tabulate

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ID = "sixgym/EventOffloadMulti-v0"

UNITS = NUM_FEATURES + 1
"""Item of a device's observation: its units of the server, as a share of W_j."""
DEVICE_FEATURES = NUM_FEATURES + 4
EVEN_BID = 0.5


class Answers(NamedTuple):
    """The pair of each device for a cell of SNR and a number of units."""

    cells: Cells
    pairs: Floats
    """(devices, cells, M + 1, 2)."""


Worth = Callable[[OperatingPoints, Floats, int, int], Floats]
"""Value of points given their utility, the units, and the events of a slot: (points,); minus
infinity forbids."""


def expected_served(points: OperatingPoints, utility: Floats, units: int, events: int) -> Floats:
    """(points,) the utility times the share of requests for which the units suffice."""
    return utility * served_share(points.p_off, units, events)


def load_within(points: OperatingPoints, utility: Floats, units: int, events: int) -> Floats:
    """(points,) the utility where the mean load is at most the units [related: FREDI, stage B]."""
    return np.where(points.p_off * events <= units * (1.0 + 1e-9), utility, -np.inf)


def whatever(points: OperatingPoints, utility: Floats, units: int, events: int) -> Floats:
    """(points,) the utility, whatever the units."""
    return utility


class DeviceTables:
    """Answers every device by its own table.

    Args:
        system: of the game.
        answers: of all devices.
        name: what it is called.
    """

    def __init__(self, system: System[Any, Any], answers: Answers, name: str) -> None:
        self.name = name
        params = _params_of(system)
        self._answers = answers
        self._devices, self._capacity = params.num_devices, params.server_events
        self._bids = params.alloc == "bid"
        self._is_flat = isinstance(system.action_space, gym.spaces.Box)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, None]:
        """Actions of all devices; see `sixgym.envs.core.rollout.Policy`."""
        seen = by_device(observation, self._devices)
        cells, pairs = self._answers
        cell = cells.of(seen[..., SNR] * SNR_UNIT_DB)
        units = np.rint(seen[..., UNITS] * self._capacity).astype(np.int64)
        units = np.minimum(units, pairs.shape[2] - 1)
        chosen = pairs[np.arange(self._devices), cell, units]
        chosen = np.where((seen[..., UP] > 0.5)[..., None], chosen, np.array(NO_OFFLOAD))
        if self._bids:
            chosen = np.concatenate([chosen, np.full_like(chosen[..., :1], EVEN_BID)], -1)
        action = chosen.astype(np.float32)
        if self._is_flat:
            return action.reshape(len(action), -1), None
        return {GROUP: action}, None


def by_device(observation: Any, devices: int) -> Floats:
    """(rows, devices, 16) of the controller's observation, flat or in parts."""
    if isinstance(observation, Mapping):
        return np.asarray(observation[GROUP], dtype=np.float64)
    seen = np.asarray(observation, dtype=np.float64)[:, : devices * DEVICE_FEATURES]
    return seen.reshape(len(seen), devices, DEVICE_FEATURES)


def _params_of(system: System[Any, Any]) -> EventOffloadMultiParams:
    if not isinstance(system.params, EventOffloadMultiParams):
        raise PolicyError(f"{type(system).__name__}: allowed: the system of {ID}")
    return system.params


def objective_of(params: EventOffloadMultiParams) -> Objective:
    """What a device's utility counts, as a column of the tables."""
    return "tpr" if params.utility == "tpr" else "f_acc"


@lru_cache(maxsize=16)
def answers_of(params: EventOffloadMultiParams, worth: Worth) -> Answers:
    """The best pair of every device for each cell and number of units, within the slot's budget.

    Args:
        params: of the game.
        worth: of operating points.
    """
    design = Design(params)
    # Cells by SNR do not depend on a device; their probabilities do and are not used.
    cells = cells_of(design.link, params.mean_snr)
    known: dict[tuple[EventPool, float], Floats] = {}
    tables = []
    for pool, pi in zip(device_pools(params), params.prevalences.tolist(), strict=True):
        if (pool, pi) not in known:
            known[pool, pi] = _answers(params, design, cells, pool, pi, worth)
        tables.append(known[pool, pi])
    return Answers(cells, np.stack(tables))


def _answers(
    params: EventOffloadMultiParams,
    design: Design,
    cells: Cells,
    pool: EventPool,
    prevalence: float,
    worth: Worth,
) -> Floats:
    """(cells, M + 1, 2) pairs of one kind of device."""
    p, objective = params, objective_of(params)
    table = tabulate(pool, design.split, p.grid_points, p.final_rule, p.server_mode, p.semantics)
    points = design.allowed(prune(table.at(prevalence), objective))
    utility = points.tpr if objective == "tpr" else points.f_acc
    kept = design.energy(points, cells.worst_j) <= p.budget_j * (1.0 + 1e-12)
    pairs = np.ones((len(cells.edge_db), p.num_events + 1, 2))
    both = np.stack([points.low, points.high], 1).astype(np.float64)
    for units in range(p.num_events + 1):
        value = worth(points, utility, units, p.num_events)
        masked = np.where(kept, value, -np.inf)
        best = masked.argmax(1)
        found = np.isfinite(masked.max(1))[:, None]
        pairs[:, units] = np.where(found, both[best], np.array(NO_OFFLOAD))
    return pairs


def _devices(worth: Worth) -> Callable[[System[Any, Any], str], Policy]:
    def make(system: System[Any, Any], name: str) -> Policy:
        return DeviceTables(system, answers_of(_params_of(system), worth), name)

    return make


def _nothing(system: System[Any, Any], name: str) -> Policy:
    params = _params_of(system)
    cells = cells_of(Design(params).link, params.mean_snr)
    shape = (params.num_devices, len(cells.edge_db), 1, 2)
    return DeviceTables(system, Answers(cells, np.ones(shape)), name)


def _entry(
    name: str,
    kind: Kind,
    description: str,
    make: Callable[[System[Any, Any], str], Policy],
    sees: Sees = "observation",
    **params: Any,
) -> Baseline:
    return Baseline(name, lambda system: make(system, name), sees, kind, description, None, params)


_TABLE = (
    _entry(
        "pf",
        "reference",
        "Proportionally fair shares; every device serves as many tails as its units let it expect.",
        _devices(expected_served),
        alloc="pf",
    ),
    _entry(
        "two_stage",
        "heuristic",
        "Proportionally fair shares; every device keeps its mean load within its units (FREDI).",
        _devices(load_within),
        alloc="pf",
    ),
    _entry(
        "equal",
        "heuristic",
        "Equal shares of bandwidth and server; thresholds as pf.",
        _devices(expected_served),
        alloc="equal",
    ),
    _entry(
        "max_sum",
        "heuristic",
        "Server shares for the largest sum of utilities, whoever gets it; thresholds as pf.",
        _devices(expected_served),
        alloc="maxsum",
    ),
    _entry(
        "lookup",
        "heuristic",
        "Proportionally fair shares; every device by EventOffload-v0's table, blind to its share.",
        _devices(whatever),
        alloc="pf",
    ),
    _entry("no_offload", "heuristic", "All devices send nothing: the pair (1, 1).", _nothing),
    _entry(
        "genie",
        "bound",
        "Knows each event: offloads tails only, computing nothing; fair shares.",
        _devices(expected_served),
        "oracle",
        alloc="pf",
        detector="perfect",
        energy_per_mac_j=0.0,
    ),
)

BASELINES: dict[str, Baseline] = {entry.name: entry for entry in _TABLE}
"""Baselines of `sixgym/EventOffloadMulti-v0`."""
