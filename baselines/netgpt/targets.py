"""What learners of a threshold are trained towards: exact thresholds, counterfactual utilities.

A network that imitates the solver regresses to `threshold_targets`; one that is trained through a
soft threshold weighs the two sides of `counterfactuals`. [our choice of both: section 5, PolicyNet]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.netgpt.joint import by_difficulty
from sixgym.baselines.netgpt.rules import Exact
from sixgym.baselines.netgpt.view import View, truth_of

if TYPE_CHECKING:
    from sixgym.envs.core.system import System

Floats = NDArray[np.float64]


class Counterfactuals(NamedTuple):
    """Expected utilities of both choices, (rows, width); the others of the slot are kept."""

    keep: Floats
    """U of an answer from the edge."""
    offload: Floats
    """U of an answer from the cloud."""
    score: Floats
    """s, by which the choice is made."""
    is_there: NDArray[np.bool_]
    """Whether there is such a request."""


def threshold_targets(system: System[Any, Any], state: Any, *, is_stale: bool = False) -> Floats:
    """(rows,) tau* of states, as the policies ``exact`` and ``exact_stale`` have it.

    Args:
        system: a NetGPT system.
        state: a batch of its states.
        is_stale: the scorer is taken as fresh, as a real router would.
    """
    return Exact(system, "targets", is_stale=is_stale).of_truth(truth_of(state))


def counterfactuals(system: System[Any, Any], state: Any) -> Counterfactuals:
    """Expected utilities of the requests of states, given difficulty and validity.

    Args:
        system: a NetGPT system.
        state: a batch of its states.
    """
    view, truth = View(system), truth_of(state)
    m, sides = view.design.model, by_difficulty(view, truth)
    wait = np.asarray(truth.desk.backlog)[:, None]
    paid = m.keep_cost(truth.sizes, wait)
    extra = m.extra_cost(truth.network, truth.sizes, wait)
    keep = m.value * sides.edge - m.w_schema * (1.0 - sides.edge_valid) - paid
    offload = m.value * sides.cloud - m.w_schema * (1.0 - sides.cloud_valid) - paid - extra
    return Counterfactuals(keep, offload, np.asarray(truth.requests.score), truth.is_there)
