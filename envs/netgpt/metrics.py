"""What the NetGPT systems report of each step, and the scores made of it."""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.core.system import Metric, Score
from sixgym.envs.netgpt.outcomes import Result
from sixgym.envs.netgpt.requests import Requests
from sixgym.envs.netgpt.state import Link, Mind

REWARD_PARTS = ("reward_quality", "reward_latency", "reward_price", "reward_schema")
"""The vector reward, in order; all are to be made large."""
REWARD_SPACE = spaces.Box(
    np.array([0.0, -math.inf, -math.inf, 0.0], np.float32),
    np.array([1.0, 0.0, 0.0, 1.0], np.float32),
)
"""Bounds of the vector reward: quality, -latency, -price, schema."""

SUMS: tuple[Metric, ...] = (
    Metric("requests", "1", "Requests decided in the step."),
    Metric("utility", "1", "Sum of their utilities (expected ones in reward mode expected)."),
    Metric("quality", "1", "Requests whose returned answer is right."),
    Metric("schema_ok", "1", "Requests whose returned answer is schema-valid."),
    Metric("latency", "s", "Sum of latencies."),
    Metric("price", "m$", "Sum of prices."),
    Metric("offload", "1", "Requests offloaded."),
    Metric("cost", "1", "Priced latency and price above those of keeping every request."),
    Metric("edge_valid", "1", "Drafts that are schema-valid, of all requests."),
    Metric("edge_success", "1", "Drafts that are right, of all requests."),
    Metric(
        "routing_right",
        "1",
        "Decisions for the side of larger expected utility, given difficulty and validity.",
    ),
)
VECTOR: tuple[Metric, ...] = (
    Metric("reward_quality", "1", "Share of returned answers that are right."),
    Metric("reward_latency", "s", "Minus the mean latency."),
    Metric("reward_price", "m$", "Minus the mean price."),
    Metric("reward_schema", "1", "Share of returned answers that are schema-valid."),
)
NETWORK: tuple[Metric, ...] = (
    Metric("regime", "1", "Regime of the step's slot: 0 G, 1 M, 2 P, 3 X; -1 in a trace.", 1),
    Metric("bandwidth_mbps", "Mbit/s", "Bandwidth B of the step's slot.", 1),
    Metric("rtt_s", "s", "Round-trip time R of the step's slot.", 1),
    Metric("price_mult", "1", "Price multiplier m of the step's slot.", 1),
    Metric("kappa", "1", "Edge skill in the step's slot.", 1),
    Metric("kappa_rm", "1", "Skill to which the scorer is fitted.", 1),
    Metric("score_bias", "1", "Bias of the scorer, logits.", 1),
    Metric("schema_edge", "1", "Probability that a draft is schema-valid.", 1),
    Metric("samples", "1", "Effective samples N after the step.", 1),
    Metric("buffer", "1", "Samples in the buffer after the step.", 1),
    Metric("updates", "1", "Updates of the edge agent so far.", 1),
    Metric("drift", "nat", "Drift from the supervised prior.", 1),
)
TAU = Metric("tau", "1", "Threshold of the step.", 1)
EACH: tuple[Metric, ...] = (
    Metric("is_request", "1", "1 for the requests that there are.", 1),
    Metric("score", "1", "Score of each request.", 1),
    Metric("sent", "1", "1 where it was offloaded.", 1),
    Metric("latency_each", "s", "Latency of each request.", 1),
    Metric("edge_success_each", "1", "1 where its draft is right.", 1),
    Metric("cloud_success_each", "1", "1 where the cloud's answer is right.", 1),
    Metric("U_edge_cf", "1", "Utility of each request if it alone were kept.", 1),
    Metric("U_cloud_cf", "1", "Utility of each request if it alone were offloaded.", 1),
)
"""Of single requests; shape (width,), or () where a step is a request. The two utilities are of the
reward's kind; the one of the decision made is what was earned."""

SCORES: tuple[Score, ...] = (
    Score("utility", "1", "utility", "requests", description="Mean utility of a request."),
    Score("return", "1", "reward"),
    Score("quality", "1", "quality", "requests", description="Share of right answers."),
    Score("schema_valid", "1", "schema_ok", "requests", description="Of returned answers."),
    Score("latency_s", "s", "latency", "requests", False, "Mean latency."),
    Score("price_musd", "m$", "price", "requests", False, "Mean price of a request."),
    Score("offload_share", "1", "offload", "requests", False),
    Score("cost", "1", "cost", "requests", False, "Composite cost above the unavoidable."),
    Score("routing_accuracy", "1", "routing_right", "requests"),
    Score("edge_quality", "1", "edge_success", "requests", description="Of all drafts."),
    Score("edge_schema_valid", "1", "edge_valid", "requests", description="Of all drafts."),
)


def totals(
    result: Result, requests: Requests, sent: Tensor, active: Tensor | None, *, expected: bool
) -> Tensor:
    """(rows, 10) sums over the requests that there are, in the order of `SUMS` after the first."""
    chosen = result.chosen
    columns = [
        chosen.expected if expected else chosen.utility,
        chosen.success,
        chosen.valid,
        chosen.latency,
        chosen.price,
        sent.to(chosen.price.dtype),
        result.cost,
        requests.edge_valid,
        requests.edge_success,
        result.is_right.to(chosen.price.dtype),
    ]
    every = torch.stack(columns, 1)
    return (every if active is None else every * active.unsqueeze(1)).sum(-1)


def vector_reward(sums: Tensor, count: Tensor) -> dict[str, Tensor]:
    """The metrics of `VECTOR`, of the sums of `totals` and (rows,) numbers of requests."""
    mean = sums / count.clamp_min(1.0).unsqueeze(-1)
    quality, schema, latency, price = mean[:, 1:5].unbind(1)
    parts = (quality, -latency, -price, schema)
    return dict(zip(REWARD_PARTS, parts, strict=True))


def of_network(link: Link, before: Mind, after: Mind, buffer: Tensor) -> dict[str, Tensor]:
    """The metrics of `NETWORK`: the slot's link and agents, and what learning holds after it."""
    return {
        "regime": link.regime,
        "bandwidth_mbps": link.bandwidth,
        "rtt_s": link.rtt,
        "price_mult": link.price_mult,
        "kappa": before.kappa,
        "kappa_rm": before.kappa_rm,
        "score_bias": before.bias,
        "schema_edge": before.schema,
        "samples": after.samples,
        "buffer": buffer,
        "updates": after.updates,
        "drift": after.drift,
    }


def of_each(
    result: Result, requests: Requests, sent: Tensor, active: Tensor | None, *, expected: bool
) -> dict[str, Tensor]:
    """The metrics of `EACH`, (rows, width); 0 where there is no request."""
    keep, off = result.keep, result.offload
    here = torch.ones_like(keep.price) if active is None else active
    each = {
        "is_request": here,
        "score": requests.score,
        "sent": sent.to(here.dtype),
        "latency_each": result.chosen.latency,
        "edge_success_each": keep.success,
        "cloud_success_each": off.success,
        "U_edge_cf": keep.expected if expected else keep.utility,
        "U_cloud_cf": off.expected if expected else off.utility,
    }
    return {name: value * here for name, value in each.items()}
