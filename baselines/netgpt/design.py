"""What a designer knows of a system: the constants of the theory, and the mix of network states.

Policies are fitted here in closed form, from the laws of the parameters alone: no world is played,
so none of evaluation is seen. Sizes enter by their means. [our choice]
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from sixgym.baselines.netgpt.belief import Belief, Minds
from sixgym.baselines.netgpt.frontier import FIXED_GRID
from sixgym.baselines.netgpt.law import GATE, ScoreLaw
from sixgym.baselines.netgpt.laws import DifficultyLaw, score_law
from sixgym.baselines.netgpt.model import Model, Network
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.netgpt.params import NetGptBaseParams
from sixgym.envs.netgpt.trace_files import load_trace

if TYPE_CHECKING:
    from sixgym.envs.core.system import System

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

JITTER_NODES = (9, 5)
"""Gauss-Hermite nodes for the jitter of bandwidth and of RTT. [our choice]"""
MIX_SLOTS = 200
"""Slots over which a chain of regimes is averaged, an episode. [our choice: 6.1]"""


class Mix(NamedTuple):
    """Network states with their probabilities; all (states,)."""

    network: Network
    chance: Floats
    regime: Ints
    """Index of the regime; 0 where there are none."""


class Design:
    """Laws and network states of a NetGPT system at its first skill.

    Args:
        params: of the system.
    """

    def __init__(self, params: NetGptBaseParams) -> None:
        self.params = params
        self.model = model_of(params)
        self.mix = network_mix(params)
        self.omega, self.crowding = self.costs(self.mix.network)

    def costs(self, network: Network) -> tuple[Floats, Floats]:
        """Extra cost of the cloud to who is alone there, and its rise per share offloaded.

        With K requests that share an uplink, one that is offloaded meets (K - 1) O others in the
        mean; else the rise is 0. Shapes as of the network.
        """
        omega = self.model.extra_cost(network)
        if not self.params.share_uplink:
            return omega, np.zeros_like(omega)
        load = self.model.w_latency * self.model.megabits() / network.bandwidth
        return omega, np.asarray(load * (self.model.requests - 1.0))

    def law_at(self, skill: float, skill_rm: float | None = None) -> ScoreLaw:
        """The law of the score at another skill, the scorer fresh unless told otherwise."""
        if self.params.score_model == "difficulty":
            return DifficultyLaw(self.model, skill)
        return score_law(self.model, skill, skill_rm)

    @cached_property
    def law(self) -> ScoreLaw:
        """The law of the score at first."""
        return self.law_at(self.params.skill0)

    @cached_property
    def belief(self) -> Belief:
        """Delta at all skills that the edge may come to have."""
        p = self.params
        ends = (p.skill0, p.skill_inf if p.self_improve else p.skill0)
        return Belief(self.model, ends, of_difficulty=p.score_model == "difficulty")

    def exact_thresholds(self, network: Network) -> Floats:
        """(states,) tau* of network states at the first skill, at marginal costs to all (3.8)."""
        omega, crowding = self.costs(network)
        one = np.ones_like(omega)
        skill = self.params.skill0 * one
        minds = Minds(skill, skill, 0.0 * one, self.params.schema_edge * one)
        return self.belief.threshold(omega, minds, crowding)

    def mean_utility(self, tau: Floats | float) -> Floats:
        """Mean utility of thresholds by network state.

        Args:
            tau: (..., states), or one for all.
        """
        share = self.law.rates(tau).offload
        cost = (self.omega + self.crowding * share) * share
        return np.asarray((self.law.utility(tau, 0.0) - cost) @ self.mix.chance)

    @cached_property
    def best_fixed(self) -> float:
        """The constant threshold of most mean utility."""
        grid = np.concatenate([[0.0, GATE], FIXED_GRID[1:]])
        near = float(grid[self.mean_utility(grid[:, None]).argmax()])
        step = float(FIXED_GRID[1])
        found = minimize_scalar(
            lambda tau: -float(self.mean_utility(tau)),
            bounds=(max(near - step, GATE), min(near + step, 1.0)),
            method="bounded",
            options={"xatol": 1e-8},
        )
        better = float(-found.fun) > float(self.mean_utility(near))
        return float(found.x) if better else near

    @cached_property
    def offload_share(self) -> float:
        """Share of requests that the exact dynamic threshold offloads."""
        tau = self.exact_thresholds(self.mix.network)
        return float(self.mix.chance @ self.law.rates(tau).offload)

    @cached_property
    def mean_price(self) -> float:
        """Mean price of a cloud answer, m$."""
        mult = np.broadcast_to(self.mix.network.mult, self.mix.chance.shape)
        return float(self.model.list_price()) * float(self.mix.chance @ mult)

    @cached_property
    def regime_omega(self) -> Floats:
        """(regimes,) mean extra cost by regime; one entry where there is no chain."""
        if not self.params.has_regimes:
            return np.array([float(self.mix.chance @ self.omega)])
        weight = self.mix.chance * (self.mix.regime == np.arange(4)[:, None])
        total = weight.sum(1)
        # A regime that never occurs has any cost.
        return np.where(total > 0.0, weight @ self.omega / np.maximum(total, 1e-300), 0.0)

    @property
    def transition(self) -> Floats:
        """(regimes, regimes) of the chain."""
        if not self.params.has_regimes:
            return np.ones((1, 1))
        return np.array(self.params.regime_transition)


def model_of(params: NetGptBaseParams) -> Model:
    """The constants of the theory, sizes at their (clipped) means."""
    p = params
    out = clipped_mean(p, "output")
    return Model(
        mode=p.mode,
        schema_gate=p.has_gate,
        difficulty_a=p.difficulty_a,
        difficulty_b=p.difficulty_b,
        edge_slope=p.edge_slope,
        skill0=p.skill0,
        skill_inf=p.skill_inf,
        schema_edge=p.schema_edge,
        schema_cloud=p.schema_cloud,
        cloud_acc=p.cloud_acc,
        cloud_slope=p.cloud_slope,
        score_noise=p.sigma_s,
        n_in=clipped_mean(p, "prompt"),
        n_out=out,
        context_bytes=clipped_mean(p, "context"),
        token_bytes=p.bytes_per_token,
        header_up=p.upload_overhead_bytes,
        header_down=p.download_overhead_bytes,
        prefill_rate=p.edge_prefill_tok_s,
        decode_rate=p.edge_decode_tok_s,
        score_s=p.score_time_s,
        edge_price=p.edge_price,
        cloud_base_s=p.cloud_base_s,
        cloud_rate=p.cloud_decode_tok_s,
        rtt_rounds=p.rtt_rounds,
        price_in=p.prompt_price,
        price_out=p.prices[2],
        value=p.value,
        w_latency=p.w_latency,
        w_price=p.w_price,
        w_schema=p.w_schema,
        w_sla=p.w_sla,
        sla_s=p.sla_s,
        learn_scale=p.learn_scale,
        learn_exp=p.learn_exp,
        requests=p.num_requests,
    )


def clipped_mean(params: NetGptBaseParams, size: str) -> float:
    """Mean of a clipped lognormal size, in closed form; the mean itself of deterministic sizes.

    Args:
        params: of the system.
        size: ``prompt``, ``output`` or ``context``.
    """
    p = params
    mean, cv, low, high = {
        "prompt": (p.prompt_tokens, p.prompt_cv, p.prompt_tokens_min, p.prompt_tokens_max),
        "output": (p.output_tokens, p.output_cv, p.output_tokens_min, p.output_tokens_max),
        "context": (p.context_bytes, p.context_cv, 0.0, p.context_bytes_max),
    }[size]
    if p.size_model == "deterministic":
        return mean
    if mean == 0.0 or cv == 0.0:
        return min(max(mean, low), high)
    sigma = math.sqrt(math.log1p(cv * cv))
    mu = math.log(mean) - 0.5 * sigma * sigma
    left = (math.log(low) - mu) / sigma if low > 0.0 else -math.inf
    right = (math.log(high) - mu) / sigma
    inside = mean * (ndtr(right - sigma) - ndtr(left - sigma))
    return float(low * ndtr(left) + inside + high * ndtr(-right))


def network_mix(params: NetGptBaseParams) -> Mix:
    """Network and price states of an episode; jitter by Gauss-Hermite quadrature."""
    bandwidth, rtt, chance, regime = _network_states(params)
    mult, likely = _price_states(params)
    prices = len(mult)
    network = Network(
        np.repeat(bandwidth, prices), np.repeat(rtt, prices), np.tile(mult, len(bandwidth))
    )
    return Mix(network, np.outer(chance, likely).ravel(), np.repeat(regime, prices))


def _network_states(params: NetGptBaseParams) -> tuple[Floats, Floats, Floats, Ints]:
    """Bandwidth, RTT, probability and regime, without the price."""
    p = params
    if p.network == "trace":
        trace = load_trace(p)
        rows = len(trace.rtt_s)
        even = np.full(rows, 1.0 / rows)
        return trace.bandwidth_mbps, trace.rtt_s, even, np.zeros(rows, np.int64)
    bandwidth, rtt = np.array(p.regime_bandwidth_mbps), np.array(p.regime_rtt_s)
    if p.frozen_regime is not None:
        one = np.array([p.frozen_regime])
        return bandwidth[one], rtt[one], np.ones(1), np.zeros(1, np.int64)
    chance = _occupation(np.array(p.regime_start), np.array(p.regime_transition))
    regime = np.arange(len(chance), dtype=np.int64)
    if p.network == "markov":
        return bandwidth, rtt, chance, regime
    x, weight_x = _normal_nodes(JITTER_NODES[0])
    y, weight_y = _normal_nodes(JITTER_NODES[1])
    shape = (len(chance), len(x), len(y))
    b = bandwidth[:, None, None] * np.exp(p.bandwidth_jitter * x)[:, None] * np.ones(shape)
    r = rtt[:, None, None] * np.exp(p.rtt_jitter * y) * np.ones(shape)
    weight = chance[:, None, None] * weight_x[:, None] * weight_y
    states = np.broadcast_to(regime[:, None, None], shape)
    return b.ravel(), r.ravel(), weight.ravel(), states.ravel()


def _price_states(params: NetGptBaseParams) -> tuple[Floats, Floats]:
    """Multipliers and their probabilities."""
    p = params
    if p.pricing == "tou":
        peak = p.tou_peak / p.tou_period
        return p.price_mult * np.array([1.0, p.tou_mult]), np.array([peak, 1.0 - peak])
    if p.pricing == "surge":
        up = p.surge_share
        return p.price_mult * np.array([1.0, p.surge_mult]), np.array([1.0 - up, up])
    return np.array([p.price_mult]), np.ones(1)


def _occupation(start: Floats, transition: Floats) -> Floats:
    """Mean law of a chain over an episode; the stationary law where it starts in it."""
    law, total = start, np.zeros_like(start)
    for _ in range(MIX_SLOTS):
        total = total + law
        law = law @ transition
    return total / MIX_SLOTS


def _normal_nodes(count: int) -> tuple[Floats, Floats]:
    """Quadrature nodes and weights of the standard normal law."""
    node, weight = np.polynomial.hermite_e.hermegauss(count)
    return node, weight / weight.sum()


def design_of(system: System[Any, Any]) -> Design:
    """The design of a system; the same object for the same parameters.

    Raises:
        PolicyError: it is not a NetGPT system.
    """
    params = system.params
    if not isinstance(params, NetGptBaseParams):
        raise PolicyError(f"{type(system).__name__}: allowed: a NetGPT system")
    return _design(params)


@lru_cache(maxsize=16)
def _design(params: NetGptBaseParams) -> Design:
    return Design(params)
