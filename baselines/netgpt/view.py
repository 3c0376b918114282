"""How policies read the three environments, and how a threshold or a choice becomes an action."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.netgpt.belief import Minds
from sixgym.baselines.netgpt.design import design_of
from sixgym.baselines.netgpt.model import Network, Sizes
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.netgpt.params import NetGptBatchParams, NetGptThresholdParams
from sixgym.envs.netgpt.requests import Requests, split_requests
from sixgym.envs.netgpt.state import Desk, Link, Mind

if TYPE_CHECKING:
    from torch import Tensor

    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BANDWIDTH, RTT, PRICE_MULT = 0, 1, 2
"""Rows of the observation."""
ROUTE_SCORE = 10
"""Row of the score in `sixgym/NetGptRoute-v0`."""


class Truth(NamedTuple):
    """The state of a batch, in float64."""

    link: Link
    """(rows,) arrays."""
    mind: Mind
    """(rows,) arrays."""
    desk: Desk
    """(rows,) arrays."""
    requests: Requests
    """(rows, width) arrays."""
    is_there: Bools
    """(rows, width) whether there is such a request."""

    @property
    def network(self) -> Network:
        """(rows, 1) the true network and price."""
        link = self.link
        return Network(
            *(np.asarray(x)[:, None] for x in (link.bandwidth, link.rtt, link.price_mult))
        )

    @property
    def sizes(self) -> Sizes:
        """(rows, width) of the requests."""
        r = self.requests
        return Sizes(np.asarray(r.prompt), np.asarray(r.output), np.asarray(r.context))

    @property
    def minds(self) -> Minds:
        """(rows,) edge and scorer."""
        m = self.mind
        return Minds(*(np.asarray(x) for x in (m.kappa, m.kappa_rm, m.bias, m.schema)))


def truth_of(state: Any) -> Truth:
    """The state of a NetGPT system as arrays.

    Args:
        state: `SlotState` or `RouteState`.
    """
    link, mind = Link(*map(_array, state.link)), Mind(*map(_array, state.mind))
    desk = Desk(*map(_array, state.desk))
    requests = Requests(*map(_array, split_requests(state.requests)))
    width = requests.score.shape[1]
    # A step of one request has its slot's count, yet one request.
    there = np.arange(width) < np.asarray(desk.arrived)[:, None]
    return Truth(link, mind, desk, requests, there)


def _array(leaf: Tensor) -> Any:
    return leaf.detach().cpu().numpy().astype(np.float64)


class View:
    """One environment as its policies see it.

    Args:
        system: the system that is played in.

    Raises:
        PolicyError: it is not a NetGPT system.
    """

    def __init__(self, system: System[Any, Any]) -> None:
        self.design = design_of(system)
        self._params = system.params
        self._env: SixgymVectorEnv | None = None
        self.takes_threshold = isinstance(system.params, NetGptThresholdParams)
        """Whether an action is a threshold, not a choice by request."""
        self._takes_set = isinstance(system.params, NetGptBatchParams)

    def attach(self, env: SixgymVectorEnv) -> None:
        """Read the state of ``env`` from now on."""
        self._env = env

    def truth(self) -> Truth:
        """The state that the next action meets.

        Raises:
            PolicyError: no environment is attached.
        """
        if self._env is None:
            raise PolicyError("a policy that sees the state: call attach(env) before predict")
        return truth_of(self._env.rows.state)

    def seen_network(self, observation: Any) -> Network:
        """(rows,) measured network and price, from the observation."""
        rows = observation["global"] if self._takes_set else observation
        seen = np.asarray(rows, dtype=np.float64)
        return Network(
            10.0 * np.exp(3.0 * seen[:, BANDWIDTH]),
            0.1 * np.exp(2.0 * seen[:, RTT]),
            seen[:, PRICE_MULT] + 1.0,
        )

    def rows(self, observation: Any) -> int:
        """Rows of a batch of observations."""
        return len(observation["global"] if self._takes_set else observation)

    def below(self, observation: Any, tau: Floats) -> Any:
        """The action that offloads what scores below thresholds.

        Args:
            observation: of a batch.
            tau: (rows,).
        """
        single = tau.astype(np.float32)[:, None]
        if self.takes_threshold:
            return single
        if self._takes_set:
            return (np.asarray(observation["requests"])[:, :, 0] < single).astype(np.int8)
        scores = np.asarray(observation)[:, ROUTE_SCORE : ROUTE_SCORE + 1]
        return (scores < single)[:, 0].astype(np.int64)

    def choice(self, chosen: Bools) -> Any:
        """The action that offloads a set, where actions are not thresholds.

        Args:
            chosen: (rows, width).
        """
        if not self._takes_set:
            return chosen[:, 0].astype(np.int64)
        surplus = self._params.max_requests - chosen.shape[1]
        return np.pad(chosen, ((0, 0), (0, surplus))).astype(np.int8)
