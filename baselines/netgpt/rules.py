"""Policies that offload what scores below a threshold, in all three environments (section 5)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sixgym.baselines.coins import Coins
from sixgym.baselines.netgpt.investment import Investment, solve_investment
from sixgym.baselines.netgpt.model import Network
from sixgym.baselines.netgpt.view import Truth, View

if TYPE_CHECKING:
    from sixgym.envs.core.system import System
    from sixgym.envs.core.vector_view import SixgymVectorEnv

Floats = NDArray[np.float64]
Rule = Callable[[Network], Floats]
"""(rows,) thresholds of the measured network and price."""

BUDGET = 0.08
"""Mean composite cost that `BudgetDual` keeps; Exact spends .107. [our choice]"""
DUAL_STEP = 0.05
"""eta of the multiplier. [our choice: section 5]"""
DISCOUNT = 0.99
"""gamma of `Farsighted`. [our choice: 2.1]"""


class ThresholdPolicy(ABC):
    """Base: one threshold a row and step.

    Args:
        system: what is played.
        name: what it is called.
    """

    def __init__(self, system: System[Any, Any], name: str) -> None:
        self.name = name
        self.view = View(system)
        self.design = self.view.design

    def attach(self, env: SixgymVectorEnv) -> None:
        """Play in ``env`` from now on."""
        self.view.attach(env)

    @abstractmethod
    def thresholds(self, observation: Any) -> Floats:
        """(rows,) tau of a batch of observations."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Actions for each row; see `sixgym.envs.core.rollout.Policy`."""
        return self.view.below(observation, self.thresholds(observation)), None


class Constant(ThresholdPolicy):
    """The same threshold always.

    Args:
        system: what is played.
        name: what it is called.
        tau: the threshold.
    """

    def __init__(self, system: System[Any, Any], name: str, tau: float) -> None:
        super().__init__(system, name)
        self.tau = tau

    def thresholds(self, observation: Any) -> Floats:
        """The threshold for each row."""
        return np.full(self.view.rows(observation), self.tau)


class ByNetwork(ThresholdPolicy):
    """A function of the measured network state and price.

    Args:
        system: what is played.
        name: what it is called.
        rule: that function.
    """

    def __init__(self, system: System[Any, Any], name: str, rule: Rule) -> None:
        super().__init__(system, name)
        self.rule = rule

    def thresholds(self, observation: Any) -> Floats:
        """The function of rows 0 to 2."""
        return np.asarray(self.rule(self.view.seen_network(observation)))


class RandomShare(ThresholdPolicy):
    """Offloads each request with the same probability; a slot's threshold is 1 or 0 by one coin.

    Args:
        system: what is played.
        name: what it is called.
        share: the probability.
    """

    def __init__(self, system: System[Any, Any], name: str, share: float) -> None:
        super().__init__(system, name)
        self.share = share
        most = getattr(system.params, "max_requests", 1)
        self._coins = Coins(1 if self.view.takes_threshold else most, "netgpt random share")

    def attach(self, env: SixgymVectorEnv) -> None:
        """Throw coins by the rows' seeds and steps from now on."""
        super().attach(env)
        self._coins.env = env

    def thresholds(self, observation: Any) -> Floats:
        """1 or 0 by the coin of each row."""
        return (self._coins(self.view.rows(observation))[:, 0] < self.share).astype(np.float64)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """A coin a request where actions are choices; see `ThresholdPolicy`."""
        if self.view.takes_threshold:
            return super().predict(observation, state, episode_start, deterministic)
        return self.view.choice(self._coins(self.view.rows(observation)) < self.share), None


# ---------------------------------------------------------------------------- knowing the model


def slot_cost(view: View, truth: Truth) -> tuple[Floats, Floats]:
    """Omega of a request alone in the cloud, and its rise per share offloaded; (rows,) each.

    The means over the slot's requests, at their sizes; of one request, whose slot is not known yet,
    at mean sizes. The rise is 0 unless the uplink is shared, see `Design.costs`.
    """
    model = view.design.model
    wait = np.asarray(truth.desk.backlog)[:, None]
    network = truth.network
    if truth.is_there.shape[1] == 1:
        return model.extra_cost(network, None, wait)[:, 0], np.zeros(len(wait))
    count = np.maximum(truth.is_there.sum(1), 1.0)

    def mean(values: Floats) -> Floats:
        return np.asarray((values * truth.is_there).sum(1) / count)

    alone = mean(model.extra_cost(network, truth.sizes, wait))
    if not view.design.params.share_uplink:
        return alone, np.zeros(len(count))
    load = model.w_latency * model.megabits(truth.sizes) / network.bandwidth
    return alone, mean(load) * (count - 1.0)


class Exact(ThresholdPolicy):
    """The optimum for this slot: Delta(tau) = omega / V at the true network, skill and scorer.

    On a shared uplink each request is charged its marginal cost to all (3.8). A backlog at the edge
    counts, what this slot adds to it does not.

    Args:
        system: what is played.
        name: what it is called.
        is_stale: it believes the scorer fresh and unbiased, as a real router would.
        is_selfish: on a shared uplink the equilibrium instead: each pays for itself only.
    """

    def __init__(
        self,
        system: System[Any, Any],
        name: str,
        *,
        is_stale: bool = False,
        is_selfish: bool = False,
    ) -> None:
        super().__init__(system, name)
        self._is_stale = is_stale
        self._is_selfish = is_selfish

    def of_truth(self, truth: Truth, mult: Floats | float = 1.0) -> Floats:
        """(rows,) tau* of states: also the target of a network that learns it (36).

        Args:
            truth: see `sixgym.baselines.netgpt.view.truth_of`.
            mult: (rows,) frontier multiplier.
        """
        omega, crowding = slot_cost(self.view, truth)
        minds = truth.minds.as_believed() if self._is_stale else truth.minds
        return self.design.belief.threshold(
            omega, minds, crowding, mult, is_social=not self._is_selfish
        )

    def thresholds(self, observation: Any) -> Floats:
        """The optimum of the state that the action meets."""
        return self.of_truth(self.view.truth())


class Farsighted(Exact):
    """ExactDP: the slot's optimum plus the premium of dynamic programming over N (3.9).

    Exact for ``score_model="difficulty"`` at mean sizes and without jitter; with another score the
    programme takes the scorer as fresh, which it is not between refits. Without self-improvement
    the premium is 0.
    """

    def __init__(self, system: System[Any, Any], name: str) -> None:
        super().__init__(system, name)
        self._plan: Investment | None = None
        if self.design.params.self_improve:
            d = self.design
            self._plan = solve_investment(d.model, d.regime_omega, DISCOUNT, d.transition, d.law_at)

    def of_truth(self, truth: Truth, mult: Floats | float = 1.0) -> Floats:
        """(rows,) tau of states."""
        tau = super().of_truth(truth, mult)
        if self._plan is None:
            return tau
        regime = np.asarray(truth.link.regime).astype(np.int64)
        regime = np.clip(regime, 0, self._plan.tau.shape[1] - 1)
        premium = self._plan.premium_at(np.asarray(truth.mind.samples), regime)
        return np.clip(tau + premium, 0.0, 1.0)


class BudgetDual(Exact):
    """Meets a mean-cost budget online: Delta(tau) = mu omega / V with a multiplier that learns.

    mu <- [mu + eta (cost of the slot - budget)]_+ from mu = 1. [standard]

    Args:
        system: what is played.
        name: what it is called.
        budget: composite cost of a request above the floor.
    """

    def __init__(self, system: System[Any, Any], name: str, budget: float = BUDGET) -> None:
        super().__init__(system, name)
        self.budget = budget

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        """Actions, and (rows, 4) memory: mu, slot, its cost and requests so far."""
        truth = self.view.truth()
        slot = np.asarray(truth.desk.slot)
        rows = len(slot)
        memory = np.zeros((rows, 4)) if state is None else np.array(state)
        fresh = np.ones(rows, bool) if episode_start is None else np.asarray(episode_start)
        fresh = np.ones(rows, bool) if state is None else fresh
        memory[fresh] = np.stack([np.ones(rows), slot, slot * 0.0, slot * 0.0], 1)[fresh]
        is_new = memory[:, 1] != slot
        mean = memory[:, 2] / np.maximum(memory[:, 3], 1.0)
        moved = np.maximum(memory[:, 0] + DUAL_STEP * (mean - self.budget), 0.0)
        memory[is_new, 0] = moved[is_new]
        memory[is_new, 2:] = 0.0
        memory[:, 1] = slot
        tau = self.of_truth(truth, memory[:, 0])
        sent = (truth.requests.score < tau.astype(np.float32)[:, None]) & truth.is_there
        memory[:, 2] += (sent * self._omega(truth, sent)).sum(1)
        memory[:, 3] += truth.is_there.sum(1)
        return self.view.below(observation, tau), memory

    def _omega(self, truth: Truth, sent: NDArray[np.bool_]) -> Floats:
        """(rows, width) what each offload costs, with those that share the uplink."""
        network = truth.network
        if self.design.params.share_uplink:
            network = network._replace(sharing=sent.sum(1, keepdims=True))
        wait = np.asarray(truth.desk.backlog)[:, None]
        return self.design.model.extra_cost(network, truth.sizes, wait)
