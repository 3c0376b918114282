"""What surrounds the agents of the closed loop: network, prices and arrivals, and what they cost.

All from `sixgym/NetGptThreshold-v0`. Of its requests only number and sizes are used: their latent
difficulty and outcomes are replaced by real items and real answers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixgym.agents.toolcall.loop_config import LoopConfig
from sixgym.baselines.netgpt.design import Design, design_of
from sixgym.baselines.netgpt.fits import fit_affine
from sixgym.baselines.netgpt.model import Model, Network, Sizes
from sixgym.baselines.netgpt.rules import Rule
from sixgym.baselines.netgpt.threshold import analytic_affine
from sixgym.baselines.netgpt.view import truth_of
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.netgpt.threshold import NetGptThreshold

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Moment(NamedTuple):
    """The coming slot."""

    requests: int
    """How many."""
    network: Network
    """True state, numbers."""
    seen: Network
    """The same as measured."""
    sizes: Sizes
    """(requests,) of the requests."""


class Bill(NamedTuple):
    """Of the answers of a slot, (requests,) each."""

    latency: Floats
    """s."""
    price: Floats
    """m$."""
    utility: Floats
    """By the environment's weights, (15)."""


class World:
    """The environment of one seed, slot by slot.

    Args:
        config: of the loop.
        seed: of the environment's row.
    """

    def __init__(self, config: LoopConfig, seed: int) -> None:
        values = config.env_params.model_dump()
        self._env = make_vector_env(NetGptThreshold, 1, **values)
        self._env.reset(seed=[seed])
        self._design = design_of(self._env.system)
        self._shares_uplink = bool(values["share_uplink"])
        self.rule = threshold_rule(config, self._design)
        """Thresholds of network states."""
        self._mix_tau = np.asarray(self.rule(self._design.mix.network))

    @property
    def model(self) -> Model:
        """The constants of latency, price and utility."""
        return self._design.model

    def now(self) -> Moment:
        """The slot that the next threshold meets."""
        truth = truth_of(self._env.rows.state)
        link, there = truth.link, truth.is_there[0]
        bandwidth, rtt, mult = (
            np.asarray(x)[0] for x in (link.bandwidth, link.rtt, link.price_mult)
        )
        seen = (np.asarray(x)[0] for x in (link.seen_bandwidth, link.seen_rtt, link.price_mult))
        sizes = Sizes(*(np.asarray(x)[0][there] for x in truth.sizes))
        return Moment(int(there.sum()), Network(bandwidth, rtt, mult), Network(*seen), sizes)

    def step(self, tau: float) -> None:
        """Go to the next slot, with the threshold that was used."""
        self._env.step(np.array([[tau]], dtype=np.float32))

    def chance_below(self, score: Floats) -> Floats:
        """Of scores, the chance to be below the threshold of a slot at any time.

        Args:
            score: (requests,).
        """
        return np.asarray((score[:, None] < self._mix_tau) @ self._design.mix.chance)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def bill(self, moment: Moment, sent: Bools, success: Bools, valid: Bools) -> Bill:
        """Latency, price and utility of a slot's answers in a cascade, (3) to (8) and (15).

        Args:
            moment: the slot.
            sent: (requests,) which went to the cloud.
            success: (requests,) which of the returned answers are right.
            valid: (requests,) which of them the validator takes.
        """
        m = self.model
        sharers = max(int(sent.sum()), 1) if self._shares_uplink else 1
        network = moment.network._replace(sharing=float(sharers))
        latency = m.edge_latency(moment.sizes) + sent * m.cloud_latency(network, moment.sizes)
        price = m.edge_price + sent * m.list_price(moment.sizes) * network.mult
        cost = m.w_latency * latency + m.w_price * price + m.w_sla * (latency > m.sla_s)
        utility = m.value * success - cost - m.w_schema * ~valid
        return Bill(latency, price, utility)


def threshold_rule(config: LoopConfig, design: Design) -> Rule:
    """FuncDyn-A with its analytic or fitted coefficients, or the constant threshold.

    The analytic ones are the optimum of a calibrated score, the fitted ones that of the
    environment's noisy score.
    """
    if config.threshold == "analytic":
        return analytic_affine(design.model).thresholds
    if config.threshold == "fitted":
        return fit_affine(design).thresholds
    constant = float(config.threshold)
    return lambda network: np.full_like(network.rtt, constant)
