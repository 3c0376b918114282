"""What comes of keeping and of offloading each request, and of the decisions made."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.netgpt.params import NetGptBaseParams
from sixgym.envs.netgpt.requests import Requests, cloud_prob
from sixgym.envs.netgpt.service import Service
from sixgym.envs.netgpt.state import Link


class Side(NamedTuple):
    """What one of the two choices gives each request; (rows, width)."""

    success: Tensor
    """S: 1 where the returned answer is right."""
    valid: Tensor
    """Z: 1 where it is schema-valid."""
    latency: Tensor
    """L, s."""
    price: Tensor
    """P, m$."""
    utility: Tensor
    """U (15), as sampled."""
    expected: Tensor
    """U with S (and the cloud's Z) replaced by its probability."""


class Result(NamedTuple):
    """Both sides, and what the decisions chose; (rows, width)."""

    keep: Side
    """Every request kept, the others as decided: the counterfactual of offloaded ones."""
    offload: Side
    """Every request offloaded, the others as decided."""
    chosen: Side
    """As decided."""
    cost: Tensor
    """What the choice costs above keeping: omega (16) where offloaded, else 0."""
    is_right: Tensor
    """bool: the decision is the one of larger expected utility, given difficulty and validity."""


class Judge:
    """Settles the requests of a slot.

    Args:
        params: of the system.
        service: latency, price and utility.
    """

    def __init__(self, params: NetGptBaseParams, service: Service) -> None:
        self._p = params
        self._service = service

    def __call__(
        self, requests: Requests, link: Link, sent: Tensor, sharers: Tensor | float, wait: Tensor
    ) -> Result:
        """Outcomes of each request under both choices.

        Args:
            requests: (rows, width).
            link: (rows,) network and price of the slot.
            sent: (rows, width) bool, the decisions.
            sharers: (rows, width) requests that share the uplink if this one is offloaded.
            wait: (rows, width) wait at the edge, s, if this one uses it.
        """
        keep, off, omega = self._sides(requests, link, sharers, wait)
        chosen = Side(*(torch.where(sent, o, k) for k, o in zip(keep, off, strict=True)))
        is_right = sent == (off.expected > keep.expected)
        return Result(keep, off, chosen, torch.where(sent, omega, 0.0), is_right)

    def _sides(
        self, requests: Requests, link: Link, sharers: Tensor | float, wait: Tensor
    ) -> tuple[Side, Side, Tensor]:
        """Keeping, offloading, and what the latter costs more (16)."""
        p, serve, r = self._p, self._service, requests
        bandwidth, rtt, mult = (
            leaf.unsqueeze(-1) for leaf in (link.bandwidth, link.rtt, link.price_mult)
        )
        edge_s = serve.edge_s(r.prompt, r.output) + wait
        mbit = serve.transfer_mbit(r.prompt, r.output, r.context)
        cloud_s = serve.cloud_s(bandwidth, rtt, mbit, r.output, sharers)
        price = serve.cloud_price(r.prompt, r.output, mult)
        edge_price = torch.full_like(price, p.edge_price)
        if p.mode == "cascade":  # the draft and its score were paid
            cloud_s, price = edge_s + cloud_s, edge_price + price
        edge_charge, cloud_charge = serve.charge(edge_s, edge_price), serve.charge(cloud_s, price)
        likely_edge = serve.worth(r.edge_valid * r.edge_prob, r.edge_valid)
        likely_cloud = serve.worth(
            p.schema_cloud * cloud_prob(p, r.difficulty), torch.full_like(price, p.schema_cloud)
        )
        keep = Side(
            r.edge_success,
            r.edge_valid,
            edge_s,
            edge_price,
            serve.worth(r.edge_success, r.edge_valid) - edge_charge,
            likely_edge - edge_charge,
        )
        off = Side(
            r.cloud_success,
            r.cloud_valid,
            cloud_s,
            price,
            serve.worth(r.cloud_success, r.cloud_valid) - cloud_charge,
            likely_cloud - cloud_charge,
        )
        return keep, off, cloud_charge - edge_charge


def fate(sent: Tensor, success: Tensor) -> Tensor:
    """For the picture: 0 edge wrong, 1 edge right, 2 cloud wrong, 3 cloud right."""
    return 2.0 * sent + success
