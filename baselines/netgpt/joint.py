"""Policies that decide each request by what it gains, all requests of a slot together.

What request i gains is v_i = V (S_c - S_e) - omega_i (and the schema's part), with successes
replaced by what the policy knows of them. On a shared uplink the best set is found exactly, see
`batch_optimum`; else whoever gains is offloaded. A threshold policy can at best cut the sorted
scores at the right place, see `Cut`. [derived]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.netgpt.congestion import batch_optimum
from sixgym.baselines.netgpt.law import GATE
from sixgym.baselines.netgpt.rules import ThresholdPolicy
from sixgym.baselines.netgpt.view import Truth, View

if TYPE_CHECKING:
    from sixgym.envs.core.system import System

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Sides(NamedTuple):
    """What a policy expects of both agents; (rows, width)."""

    edge: Floats
    """Chance that the edge is right."""
    edge_valid: Floats
    """Chance that its draft is valid."""
    cloud: Floats
    """Chance that the cloud is right."""
    cloud_valid: Floats
    """Chance that its answer is valid."""


Belief = Callable[[View, Truth], Sides]


def by_score(view: View, truth: Truth) -> Sides:
    """What the score tells, for the true skill and scorer; behind the gate also the validity."""
    design, r = view.design, truth.requests
    edge, cloud = design.belief.successes(np.asarray(r.score), truth.minds)
    valid = np.broadcast_to(truth.minds.schema[:, None], edge.shape)
    if design.model.is_gated:
        valid = np.asarray(r.edge_valid)
        # An invalid draft's score is 0 whatever its difficulty.
        cloud = np.where(valid > 0.5, cloud, design.law.total[1])
    return Sides(valid * edge, valid, cloud, np.full(edge.shape, design.model.schema_cloud))


def by_difficulty(view: View, truth: Truth) -> Sides:
    """What difficulty and validity of the draft tell."""
    m, r = view.design.model, truth.requests
    valid = np.asarray(r.edge_valid)
    cloud = m.cloud_success_at(np.asarray(r.difficulty))
    return Sides(valid * r.edge_prob, valid, cloud, np.full(cloud.shape, m.schema_cloud))


def by_outcome(view: View, truth: Truth) -> Sides:
    """The outcomes themselves; with expected rewards those are paid that the difficulty tells."""
    if view.design.params.reward_mode == "expected":
        return by_difficulty(view, truth)
    r = truth.requests
    return Sides(*map(np.asarray, (r.edge_success, r.edge_valid, r.cloud_success, r.cloud_valid)))


def gains(view: View, truth: Truth, belief: Belief) -> tuple[Floats, Floats]:
    """v_i, minus infinity where there is no request, and the load on the uplink; (rows, width).

    Args:
        view: of the environment.
        truth: its state.
        belief: what is known of the outcomes.
    """
    model, sides = view.design.model, belief(view, truth)
    network, wait = truth.network, np.asarray(truth.desk.backlog)[:, None]
    load = np.zeros(truth.is_there.shape)
    if view.design.params.share_uplink:
        load = model.w_latency * model.megabits(truth.sizes) / network.bandwidth
        network = network._replace(sharing=0.0)
    worth = model.value * (sides.cloud - sides.edge)
    worth = worth + model.w_schema * (sides.cloud_valid - sides.edge_valid)
    gain = worth - model.extra_cost(network, truth.sizes, wait)
    return np.where(truth.is_there, gain, -np.inf), load


class BestSet:
    """Offloads the best set of requests, by what is known of each.

    Best for the slot: without learning and queue, for the episode.

    Args:
        system: what is played; an action must be a choice by request.
        name: what it is called.
        belief: what is known.
    """

    def __init__(self, system: System[Any, Any], name: str, belief: Belief) -> None:
        self.name = name
        self.view = View(system)
        self._belief = belief
        self.attach = self.view.attach

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """The best set of each row; see `sixgym.envs.core.rollout.Policy`."""
        gain, load = gains(self.view, self.view.truth(), self._belief)
        chosen = batch_optimum(gain, load) if load.any() else gain > 0.0
        return self.view.choice(chosen), None


class Cut(ThresholdPolicy):
    """The best threshold for the scores and sizes that the slot has, not for their law.

    Of the K + 1 cuts of the sorted scores the one whose sum of gains is largest; equal to Exact
    where all sizes are equal. No threshold that does not know the outcomes does better, without
    learning and queue.
    """

    def thresholds(self, observation: Any) -> Floats:
        """Just above the last score that is offloaded."""
        truth = self.view.truth()
        gain, load = gains(self.view, truth, by_score)
        score = np.where(truth.is_there, truth.requests.score, np.inf)
        order = np.argsort(score, 1, kind="stable")
        ranked = np.take_along_axis(score, order, 1)
        empty = ~np.isfinite(ranked)
        worth = np.where(empty, 0.0, np.take_along_axis(gain, order, 1)).cumsum(1)
        places = np.arange(1, score.shape[1] + 1)
        crowd = places * np.take_along_axis(load, order, 1).cumsum(1)
        # A cut is only possible between different scores, and after a request that there is.
        follows = np.pad(ranked[:, 1:], ((0, 0), (0, 1)), constant_values=np.inf)
        value = np.where(empty | (follows <= ranked), -np.inf, worth - crowd)
        value = np.pad(value, ((0, 0), (1, 0)))
        best = value.argmax(1)
        last = np.take_along_axis(ranked, np.maximum(best - 1, 0)[:, None], 1)[:, 0]
        above = np.nextafter(last.astype(np.float32), np.float32(np.inf)).astype(np.float64)
        return np.where(best == 0, 0.0, np.clip(above, GATE, 1.0))
