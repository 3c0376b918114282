"""The table of baselines of ``sixgym/EventOffloadExit-v0``.

The reward prices energy, so a policy here maximises f - lambda e. A pair of thresholds common to
all exits is a special case of what the agent may do, and so is a pair for every exit, the form of
the optimal rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.event_offload.design import Cells, Design, design_of
from sixgym.baselines.event_offload.per_exit import EventModel, solve_exits
from sixgym.baselines.event_offload.policies import SNR_UNIT_DB
from sixgym.baselines.policy import Baseline, Kind, Sees
from sixgym.envs.event_offload.exit_system import (
    CONTINUE,
    EXIT_FEATURES,
    HEAD,
    LOGIT_SCALE,
    OFFLOAD,
)
from sixgym.envs.event_offload.lookup import prune
from sixgym.envs.event_offload.score_models import MODELS, GaussianLLR, separation
from sixgym.envs.event_offload.tables import terminal

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ID = "sixgym/EventOffloadExit-v0"

SCORE, SNR = 0, 3
"""Items of the observation after the one-hot exit."""
_LEAST_GAIN = 1e-3
"""A block adds at least this to d: the dynamic programme wants every exit to tell something."""
_NEWTON_STEPS = 30


class ExitThresholds:
    """Thresholds for every exit and cell of SNR: head below, offload above, else go on.

    Args:
        cells: of SNR.
        low: (cells, exits) in logits of the score.
        high: (cells, exits) in logits of the score.
        name: what it is called.
    """

    def __init__(self, cells: Cells, low: Floats, high: Floats, name: str) -> None:
        self.name = name
        self._cells, self._low, self._high = cells, low, high

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[Ints, None]:
        """(rows,) actions; see `sixgym.envs.core.rollout.Policy`.

        What is not allowed is not asked for: an event is closed as head instead.
        """
        seen = np.asarray(observation, dtype=np.float64)
        exits = seen.shape[1] - EXIT_FEATURES
        exit = seen[:, :exits].argmax(1)
        score = seen[:, exits + SCORE] * LOGIT_SCALE
        cell = self._cells.of(seen[:, exits + SNR] * SNR_UNIT_DB)
        action = np.where(score > self._high[cell, exit], OFFLOAD, CONTINUE)
        action = np.where(score < self._low[cell, exit], HEAD, action)
        action = np.where((exit == exits - 1) & (action == CONTINUE), HEAD, action)
        if action_masks is not None:
            # Where nothing can be sent, going on would only cost.
            sends = action_masks[:, OFFLOAD]
            possible = np.take_along_axis(action_masks, action[:, None], 1)[:, 0]
            action = np.where(possible & (sends | (action == HEAD)), action, HEAD)
        return action.astype(np.int64), None


def logit(share: Floats) -> Floats:
    """ln(p / (1 - p)); infinite at 0 and 1."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(share) - np.log1p(-share))


def _everywhere(design: Design, low: Floats, high: Floats, name: str) -> Policy:
    """The same pair at all exits, (cells,) each."""
    exits = design.pool.num_exits
    return ExitThresholds(
        design.cells,
        np.repeat(logit(low)[:, None], exits, 1),
        np.repeat(logit(high)[:, None], exits, 1),
        name,
    )


def price_of(design: Design) -> float:
    """Lambda, the price of energy in the reward, 1/J."""
    return float(getattr(design.params, "energy_price", 0.0))


def _lookup(design: Design, name: str) -> Policy:
    points = design.points
    worth = design.value(points) - price_of(design) * design.energy(points, design.cells.mean_j)
    best = worth.argmax(1)
    low, high = points.low[best].astype(np.float64), points.high[best].astype(np.float64)
    return _everywhere(design, low, high, name)


def _budgeted(design: Design, name: str) -> Policy:
    pairs = design.per_cell(prune(design.table.at(design.prevalence), design.objective))
    return _everywhere(design, pairs[:, 0], pairs[:, 1], name)


def _terminal(design: Design, name: str) -> Policy:
    points = terminal(design.pool, design.prevalence, design.split, design.params.server_mode)
    worth = design.value(points) - price_of(design) * design.energy(points, design.cells.mean_j)
    theta = logit(points.high[worth.argmax(1)].astype(np.float64))
    exits = design.pool.num_exits
    low = np.full((len(theta), exits), -np.inf)
    high = np.full((len(theta), exits), np.inf)
    low[:, -1] = high[:, -1] = theta
    return ExitThresholds(design.cells, low, high, name)


def _always(*, offload: bool) -> Callable[[Design, str], Policy]:
    level = 0.0 if offload else 1.0

    def make(design: Design, name: str) -> Policy:
        same = np.full(len(design.cells.edge_db), level)
        return _everywhere(design, same, same, name)

    return make


# --------------------------------------------------------------------------------- per-exit optimum


def fitted_ratio(score: Floats, tail: NDArray[np.bool_]) -> tuple[float, float]:
    """Offset a and slope b of the log-likelihood ratio a + b logit C: logistic regression.

    Args:
        score: (events,) logits of one exit.
        tail: (events,) bool.
    """
    weight = np.where(tail, 0.5 / tail.sum(), 0.5 / (~tail).sum())
    x = np.stack([np.ones_like(score), score], 1)
    beta = np.array([0.0, 1.0])
    for _ in range(_NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ beta, -40.0, 40.0)))
        slope = x.T @ (weight * (tail - p)) - 1e-6 * beta
        curve = (x * (weight * p * (1.0 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        beta = beta + step
        if float(np.abs(step).max()) < 1e-9:
            break
    return float(beta[0]), float(max(beta[1], 1e-3))


def _auroc(score: Floats, tail: NDArray[np.bool_]) -> float:
    """P(a tail's score is above a head's), ties half [standard]."""
    heads = np.sort(score[~tail])
    below = np.searchsorted(heads, score[tail], "left")
    upto = np.searchsorted(heads, score[tail], "right")
    return float((below + upto).mean() / 2.0 / len(heads))


def event_model(design: Design) -> tuple[EventModel, Floats, Floats]:
    """The Gaussian model of an event, and how logits of scores become likelihood ratios.

    Of the scores ``gaussian`` it is the truth; to others it is fitted on the calibration split:
    d_n by the exit's AUROC, the ratio by logistic regression.

    Args:
        design: of the system.

    Returns:
        The model (with infinite E_off), and (exits,) offsets and slopes of the ratio.
    """
    p, pool = design.params, design.pool
    part = pool.part(design.split)
    tail, exits = pool.tail[part], pool.num_exits
    model = MODELS.get(p.scores)
    if p.traces is None and p.detector == "trained" and isinstance(model, GaussianLLR):
        distance, offset, slope = np.array(model.separations), np.zeros(exits), np.ones(exits)
    else:
        scores = logit(pool.conf[part].astype(np.float64))
        fits = [fitted_ratio(scores[:, n], tail) for n in range(exits)]
        offset, slope = np.array([f[0] for f in fits]), np.array([f[1] for f in fits])
        level = [min(max(_auroc(scores[:, n], tail), 0.51), 1.0 - 1e-6) for n in range(exits)]
        distance = np.maximum.accumulate([separation(a) for a in level])
        distance = distance + _LEAST_GAIN * np.arange(exits)
    named = 1.0 if design.objective == "tpr" else float(pool.ok(p.server_mode)[part][tail].mean())
    blocks = np.diff(pool.macs, prepend=0.0) * p.energy_per_mac_j
    event = EventModel(distance, design.prevalence, named, price_of(design), blocks, np.inf)
    return event, offset, slope


def _dp(design: Design, name: str) -> Policy:
    event, offset, slope = event_model(design)
    plans = [solve_exits(event._replace(offload_energy=float(e))) for e in design.cells.mean_j]
    low = (np.stack([p.low for p in plans]) - offset) / slope
    high = (np.stack([p.high for p in plans]) - offset) / slope
    return ExitThresholds(design.cells, low, high, name)


# -------------------------------------------------------------------------------------------- table


def _entry(
    name: str,
    kind: Kind,
    description: str,
    make: Callable[[Design, str], Policy],
    sees: Sees = "observation",
    **params: Any,
) -> Baseline:
    def build(system: System[Any, Any]) -> Policy:
        return make(design_of(system), name)

    return Baseline(name, build, sees, kind, description, None, params)


_TABLE = (
    _entry(
        "lookup",
        "reference",
        "The pair common to all exits that is worth most at each SNR, f - lambda e.",
        _lookup,
    ),
    _entry(
        "dp_exit",
        "reference",
        "A pair for every exit by dynamic programming: the optimum for the Gaussian scores (but "
        "for capacity), on others of the Gaussian model fitted to them.",
        _dp,
    ),
    _entry(
        "lookup_budget",
        "heuristic",
        "The common pair of EventOffload-v0's table: the best within the budget of each slot.",
        _budgeted,
    ),
    _entry(
        "terminal",
        "heuristic",
        "The whole network for every event, then one threshold for each SNR.",
        _terminal,
    ),
    _entry(
        "always_exit", "heuristic", "Closes every event at exit 1 as head.", _always(offload=False)
    ),
    _entry(
        "always_offload",
        "heuristic",
        "Offloads every event at exit 1 while there is room.",
        _always(offload=True),
    ),
    _entry(
        "genie",
        "bound",
        "Knows each event and the server's answer: offloads what pays, computing nothing.",
        _lookup,
        "oracle",
        detector="perfect",
        energy_per_mac_j=0.0,
    ),
)

BASELINES: dict[str, Baseline] = {entry.name: entry for entry in _TABLE}
"""Baselines of `sixgym/EventOffloadExit-v0`."""
