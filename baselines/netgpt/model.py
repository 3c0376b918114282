"""Constants of NetGPT and what they cost: latency, price and the extra cost of the cloud.

The paper's system model was not read; this is the dossier's reconstruction of it. Every number is
at the mean sizes: the theory is exact for ``size_model="deterministic"``. Units: seconds, Mbit/s,
bytes, tokens, and m$ (a thousandth of a US dollar). [our choice: sections 1 and 6]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]

Mode = Literal["cascade", "pre"]
"""``cascade``: the edge drafts first, the score has seen the draft; ``pre``: the prompt only."""

BYTE_BITS = 8.0
MEGA = 1e6


class Sizes(NamedTuple):
    """Of requests, arrays of one shape or numbers."""

    n_in: Floats | float
    """Prompt tokens."""
    n_out: Floats | float
    """Output tokens."""
    context_bytes: Floats | float
    """Uploaded beside the prompt."""


class Network(NamedTuple):
    """States of the network, arrays that broadcast."""

    bandwidth: Floats
    """Mbit/s."""
    rtt: Floats
    """s."""
    mult: Floats | float = 1.0
    """m, price multiplier."""
    sharing: Floats | float = 1.0
    """eta, requests that share the uplink."""


FROZEN = Network(np.array([100.0, 20.0, 4.0, 1.0]), np.array([0.020, 0.060, 0.150, 0.300]))
"""The regimes good, medium, poor and bad without jitter, at list price. [our choice: 6.2]"""
TRANSITION = np.array(
    [
        [0.96, 0.04, 0.00, 0.00],
        [0.04, 0.91, 0.05, 0.00],
        [0.00, 0.06, 0.88, 0.06],
        [0.00, 0.00, 0.10, 0.90],
    ]
)
"""(regimes, regimes) from row to column. [our choice: 1.3]"""
STATIONARY = np.array([6.0, 6.0, 5.0, 3.0]) / 20.0
"""(regimes,) by detailed balance of ``TRANSITION``. [derived: 1.3]"""


@dataclass(frozen=True)
class Model:
    """What the theory knows of a system; names as at the head of the dossier's section 6.

    Attributes:
        mode: see `Mode`.
        schema_gate: an invalid draft scores 0 (cascade only; needs the draft).
        difficulty_a: first parameter of the Beta law of the difficulty d.
        difficulty_b: second one.
        edge_slope: a, per unit of difficulty.
        skill0: kappa_0, at first.
        skill_inf: kappa_inf, after infinitely many samples.
        schema_edge: probability that the edge's draft is valid.
        schema_cloud: probability that the cloud's answer is valid.
        cloud_acc: c_0, success of the cloud given a valid answer.
        cloud_slope: c_1, loss of it per unit of difficulty.
        score_noise: sigma_s, in the logit; 0: the score tells the difficulty.
        n_in: prompt tokens.
        n_out: output tokens.
        context_bytes: uploaded beside the prompt.
        token_bytes: bytes a token.
        header_up: bytes.
        header_down: bytes.
        prefill_rate: of the edge, tokens/s.
        decode_rate: of the edge, tokens/s.
        score_s: time of the scorer, s.
        edge_price: m$ a request.
        cloud_base_s: T_c0, s.
        cloud_rate: tokens/s.
        rtt_rounds: round trips a request.
        price_in: m$ per thousand prompt tokens, cache hits averaged in.
        price_out: m$ per thousand output tokens.
        value: V of a success.
        w_latency: per s.
        w_price: per m$.
        w_schema: of an invalid answer.
        w_sla: of an answer later than ``sla_s``.
        sla_s: s.
        learn_scale: N_0, samples.
        learn_exp: beta of the learning curve.
        requests: K a slot.
    """

    mode: Mode = "cascade"
    schema_gate: bool = True
    difficulty_a: float = 2.0
    difficulty_b: float = 3.0
    edge_slope: float = 8.0
    skill0: float = 0.55
    skill_inf: float = 0.80
    schema_edge: float = 0.96
    schema_cloud: float = 0.995
    cloud_acc: float = 0.95
    cloud_slope: float = 0.0
    score_noise: float = 0.75
    n_in: float = 900.0
    n_out: float = 60.0
    context_bytes: float = 512_000.0
    token_bytes: float = 4.0
    header_up: float = 4_000.0
    header_down: float = 1_000.0
    prefill_rate: float = 10_000.0
    decode_rate: float = 80.0
    score_s: float = 0.05
    edge_price: float = 0.005
    cloud_base_s: float = 0.6
    cloud_rate: float = 60.0
    rtt_rounds: float = 3.0
    price_in: float = 0.28
    price_out: float = 0.42
    value: float = 1.0
    w_latency: float = 0.08
    w_price: float = 0.4
    w_schema: float = 0.0
    w_sla: float = 0.0
    sla_s: float = 5.0
    learn_scale: float = 1_500.0
    learn_exp: float = 0.5
    requests: int = 16

    # --------------------------------------------------------------------------------- quality

    @property
    def is_gated(self) -> bool:
        """Whether the router sees which drafts are invalid."""
        return self.mode == "cascade" and self.schema_gate

    @property
    def cloud_success(self) -> float:
        """p_c of an easy request (of every one where ``cloud_slope`` is 0)."""
        return self.schema_cloud * min(max(self.cloud_acc, 0.0), 1.0)

    def edge_success_at(self, d: Floats, skill: Floats | float) -> Floats:
        """P(the draft is right | it is valid) at difficulties d, (10); without the schema."""
        return np.asarray(expit(self.edge_slope * (skill - d)))

    def cloud_success_at(self, d: Floats) -> Floats:
        """p_c(d) = P(the cloud is right) at difficulties d, (11); with the schema."""
        return self.schema_cloud * np.clip(self.cloud_acc - self.cloud_slope * d, 0.0, 1.0)

    def skill(self, samples: Floats | float) -> Floats:
        """kappa(N) after N effective samples, the power law (23)."""
        left = (1.0 + np.asarray(samples, dtype=np.float64) / self.learn_scale) ** -self.learn_exp
        return np.asarray(self.skill_inf - (self.skill_inf - self.skill0) * left)

    # --------------------------------------------------------------------------- latency, price

    @property
    def sizes(self) -> Sizes:
        """The mean sizes."""
        return Sizes(self.n_in, self.n_out, self.context_bytes)

    def edge_latency(self, sizes: Sizes | None = None) -> Floats:
        """L_e without waiting, s, (3)."""
        of = self.sizes if sizes is None else sizes
        drafting = of.n_in / self.prefill_rate + of.n_out / self.decode_rate
        return np.asarray(drafting + self.score_s)

    def megabits(self, sizes: Sizes | None = None) -> Floats:
        """D of an offloaded request, up and down, Mbit, (4)."""
        of = self.sizes if sizes is None else sizes
        up = self.token_bytes * of.n_in + of.context_bytes + self.header_up
        down = self.token_bytes * of.n_out + self.header_down
        return np.asarray(BYTE_BITS * (up + down) / MEGA)

    def serving_s(self, sizes: Sizes | None = None) -> Floats:
        """T_c0 + n_out / mu_c: the cloud's latency on a perfect network, s, (6)."""
        of = self.sizes if sizes is None else sizes
        return np.asarray(self.cloud_base_s + of.n_out / self.cloud_rate)

    def list_price(self, sizes: Sizes | None = None) -> Floats:
        """P_c at multiplier 1, m$, (7)."""
        of = self.sizes if sizes is None else sizes
        return np.asarray((self.price_in * of.n_in + self.price_out * of.n_out) / 1000.0)

    def cloud_latency(self, network: Network, sizes: Sizes | None = None) -> Floats:
        """L_c, s, (5) and (6)."""
        upload = self.megabits(sizes) * network.sharing / network.bandwidth
        return np.asarray(self.rtt_rounds * network.rtt + upload + self.serving_s(sizes))

    def _cost(self, latency: Floats, price: Floats) -> Floats:
        """Weighted latency, price, and the optional penalty of a late answer."""
        late = self.w_sla * (latency > self.sla_s)
        return np.asarray(self.w_latency * latency + self.w_price * price + late)

    def keep_cost(self, sizes: Sizes | None = None, wait_s: Floats | float = 0.0) -> Floats:
        """Of an answer from the edge.

        Args:
            sizes: of requests; None: the means.
            wait_s: W_t in front of the edge.
        """
        return self._cost(self.edge_latency(sizes) + wait_s, np.asarray(self.edge_price))

    @property
    def floor_cost(self) -> float:
        """omega_0 = w_latency L_e + w_price P_e at mean sizes, paid in any case in a cascade."""
        return float(self.keep_cost())

    def extra_cost(
        self, network: Network, sizes: Sizes | None = None, wait_s: Floats | float = 0.0
    ) -> Floats:
        """omega: what the cloud costs more than the edge, in latency and price, (16).

        Without `schema_cost`. Negative where (pre mode) the cloud is faster than the edge.

        Args:
            network: its state.
            sizes: of requests; None: the means.
            wait_s: in front of the edge; in a cascade whoever is sent has waited too.
        """
        latency = self.cloud_latency(network, sizes)
        price = self.list_price(sizes) * network.mult
        if self.mode == "cascade":
            latency = latency + self.edge_latency(sizes) + wait_s
            price = price + self.edge_price
        return self._cost(latency, price) - self.keep_cost(sizes, wait_s)

    @property
    def schema_cost(self) -> float:
        """What ``w_schema`` adds to omega, (16); behind the gate a kept draft is valid."""
        kept = 1.0 if self.is_gated else self.schema_edge
        return self.w_schema * (kept - self.schema_cloud)
