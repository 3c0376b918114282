"""What serving a request takes and what it is worth: latency, price, waiting, utility.

Numbers in brackets are equations of the system model (latency 3 to 6, price 7 and 8, queue 14,
utility 15). [standard decomposition of latency; constants as in the parameters]
"""

from __future__ import annotations

import torch
from torch import Tensor

from sixgym.envs.netgpt.params import NetGptBaseParams

MOST_LOAD = 0.95
"""Load at which the M/M/1 wait is cut off. [our choice]"""


class Service:
    """Latency, price and utility of requests; all methods are elementwise.

    Args:
        params: of the system.
    """

    def __init__(self, params: NetGptBaseParams) -> None:
        self._p = params

    def edge_s(self, prompt: Tensor, output: Tensor) -> Tensor:
        """Edge latency (3) without waiting: prefill, decoding, scoring, s.

        Args:
            prompt: tokens.
            output: tokens.
        """
        p = self._p
        return prompt / p.edge_prefill_tok_s + output / p.edge_decode_tok_s + p.score_time_s

    def transfer_mbit(self, prompt: Tensor, output: Tensor, context: Tensor) -> Tensor:
        """D (4): megabits up and down.

        Args:
            prompt: tokens.
            output: tokens.
            context: bytes.
        """
        p = self._p
        overhead = p.upload_overhead_bytes + p.download_overhead_bytes
        return 8e-6 * (p.bytes_per_token * (prompt + output) + context + overhead)

    def cloud_s(
        self, bandwidth: Tensor, rtt: Tensor, mbit: Tensor, output: Tensor, sharers: Tensor | float
    ) -> Tensor:
        """Cloud latency (5), (6): round trips, transfer, base time, decoding, s.

        Args:
            bandwidth: Mbit/s.
            rtt: s.
            mbit: D, Mbit.
            output: tokens.
            sharers: requests that share the bandwidth.
        """
        p = self._p
        network = p.rtt_rounds * rtt + mbit * (sharers / bandwidth)
        return network + p.cloud_base_s + output / p.cloud_decode_tok_s

    def cloud_price(self, prompt: Tensor, output: Tensor, price_mult: Tensor) -> Tensor:
        """Cloud price (7), m$.

        Args:
            prompt: tokens.
            output: tokens.
            price_mult: m.
        """
        p = self._p
        return 1e-3 * price_mult * (p.prompt_price * prompt + p.prices[2] * output)

    def wait_s(self, backlog: Tensor, load: Tensor, training: Tensor) -> Tensor:
        """Mean wait (14) of a slot's edge requests, s.

        Args:
            backlog: b, s of work.
            load: requests that use the edge in the slot.
            training: 1 where an update takes its share of the edge's compute.
        """
        p = self._p
        if p.queue == "off":
            return torch.zeros_like(load)
        share = 1.0 - p.train_share * training
        if p.queue == "fluid":
            excess = (load / p.edge_rate - p.slot_s * share).clamp_min(0.0)
            return backlog + 0.5 * excess
        rate = p.edge_rate * share
        rho = (load / (p.slot_s * rate)).clamp_max(MOST_LOAD)
        return rho / (rate * (1.0 - rho))

    def next_backlog(self, backlog: Tensor, load: Tensor, training: Tensor) -> Tensor:
        """Backlog (14) after a slot, s; arguments as of `wait_s`."""
        p = self._p
        if p.queue != "fluid":
            return torch.zeros_like(backlog)
        share = 1.0 - p.train_share * training
        return (backlog + load / p.edge_rate - p.slot_s * share).clamp_min(0.0)

    def charge(self, latency: Tensor, price: Tensor) -> Tensor:
        """What latency and price cost: lambda_L L + lambda_P P, and the SLA's part."""
        p = self._p
        charge = p.w_latency * latency + p.w_price * price
        if p.w_sla > 0.0:
            charge = charge + p.w_sla * (latency > p.sla_s).to(latency.dtype)
        return charge

    def worth(self, success: Tensor, valid: Tensor) -> Tensor:
        """What an answer is worth: V S - lambda_Z (1 - Z); probabilities allowed."""
        p = self._p
        worth = p.value * success
        return worth - p.w_schema * (1.0 - valid) if p.w_schema > 0.0 else worth
