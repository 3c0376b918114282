"""The requests of a slot: features, difficulty, score, and what each agent would make of them.

Both agents' outcomes are drawn when a request is made, before any action (potential outcomes), so
counterfactual utilities are exact and policies of one seed are compared on the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.backend.rng import Kind
from sixgym.envs.netgpt.params import HISTORY, TOOLS, NetGptBaseParams
from sixgym.envs.netgpt.state import Mind

QUANTILE_NODES = 4096
"""Nodes of the inverse of the difficulty's distribution function."""


class Requests(NamedTuple):
    """Requests by column, each (rows, width); the surplus ones of a slot are to be ignored."""

    score: Tensor
    """s, seen before the decision: the scorer's belief that the edge succeeds; 0 of an invalid
    draft where the schema gates."""
    edge_valid: Tensor
    """Z_e: 1 where the edge's draft is schema-valid."""
    edge_success: Tensor
    """S_e = Z_e Y_e: 1 where it is right as well."""
    cloud_valid: Tensor
    """Z_c."""
    cloud_success: Tensor
    """S_c = Z_c Y_c."""
    difficulty: Tensor
    """d in [0, 1], hidden."""
    edge_prob: Tensor
    """sigma(a (kappa - d)): the edge's success given a valid draft, hidden."""
    prompt: Tensor
    """n_in, tokens."""
    output: Tensor
    """n_out, tokens: the length of the answer of either agent."""
    context: Tensor
    """X, bytes to upload."""


NUM_COLUMNS = len(Requests._fields)


class Extras(NamedTuple):
    """Where the columns after those of `Requests` are; None of one that there is not."""

    tool: int | None
    history: int | None
    explored: int | None


class RequestMaker:
    """Makes the requests of a slot from its draws.

    Args:
        params: of the system.
        width: requests made of each slot.
        with_features: whether tool and history are made too (some views do not show them).
        dtype: of the physics.
        device: of the tensors.
    """

    def __init__(
        self,
        params: NetGptBaseParams,
        width: int,
        *,
        with_features: bool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._p = p = params
        self._width = width
        explores = p.explore_eps > 0.0
        columns = ["tool", "history"] * with_features + ["explored"] * explores
        places = {name: NUM_COLUMNS + i for i, name in enumerate(columns)}
        self.extras = Extras(*(places.get(name) for name in Extras._fields))
        """Where the further columns are."""
        self.num_columns = NUM_COLUMNS + len(columns)
        """Columns of what is made."""
        self._quantile = torch.tensor(
            difficulty_quantile(p.difficulty_a, p.difficulty_b), dtype=dtype, device=device
        )
        self._names = ["difficulty", "edge_schema", "edge_answer", "cloud_schema", "cloud_answer"]
        self._names += ["score"] * (p.sigma_s > 0.0) + columns
        self._has_sizes = p.size_model == "lognormal"
        if self._has_sizes:
            self._names += ["prompt", "output", "context"]

    def streams(self) -> dict[str, tuple[Kind, tuple[int, ...]]]:
        """What a slot draws: one uniform for each number of each request."""
        return {f"request_{name}": ("uniform", (self._width,)) for name in self._names}

    def __call__(self, noise: Mapping[str, Tensor], mind: Mind) -> Tensor:
        """(rows, columns, width) requests; `split_requests` names the columns.

        Args:
            noise: (rows, width) uniforms by the names of `streams`; any width will do.
            mind: edge agent and scorer in force.
        """
        p = self._p
        drawn = {name: noise[f"request_{name}"] for name in self._names}
        kappa, kappa_rm, bias, schema = (
            leaf.unsqueeze(-1) for leaf in (mind.kappa, mind.kappa_rm, mind.bias, mind.schema)
        )
        d = self._difficulty(drawn["difficulty"])
        edge_prob = (p.edge_slope * (kappa - d)).sigmoid()
        edge_valid = drawn["edge_schema"] < schema
        edge_success = edge_valid & (drawn["edge_answer"] < edge_prob)
        cloud_valid = drawn["cloud_schema"] < p.schema_cloud
        cloud_success = cloud_valid & (drawn["cloud_answer"] < cloud_prob(p, d))
        score = self._score(d, kappa_rm, bias, drawn.get("score"))
        if p.has_gate:
            score = score * edge_valid
        columns = [score, edge_valid, edge_success, cloud_valid, cloud_success, d, edge_prob]
        columns += self._sizes(drawn)
        if self.extras.tool is not None:
            columns += [(drawn["tool"] * len(TOOLS)).floor(), (drawn["history"] * HISTORY).floor()]
        if self.extras.explored is not None:
            columns.append(drawn["explored"] < p.explore_eps)
        return torch.stack([c.to(d.dtype) for c in columns], 1)

    def _difficulty(self, uniform: Tensor) -> Tensor:
        """Difficulty by the inverse of its distribution function, linear between nodes."""
        place = uniform * (QUANTILE_NODES - 1)
        index = place.to(torch.int64).clamp_max(QUANTILE_NODES - 2)
        low, high = self._quantile[index], self._quantile[index + 1]
        return low + (place - index) * (high - low)

    def _score(self, d: Tensor, kappa_rm: Tensor, bias: Tensor, uniform: Tensor | None) -> Tensor:
        """The score before the gate: sigma(a (kappa_rm - d) + b + sigma_s eps), or 1 - d."""
        p = self._p
        if p.score_model == "difficulty":
            return 1.0 - d
        logit = p.edge_slope * (kappa_rm - d) + bias
        if uniform is not None:
            logit = logit + p.sigma_s * torch.special.ndtri(uniform)
        return logit.sigmoid()

    def _sizes(self, drawn: Mapping[str, Tensor]) -> list[Tensor]:
        """Prompt, output and context: exp(mu + sigma z) clipped, or the means."""
        p = self._p
        like = drawn["difficulty"]
        if not self._has_sizes:
            means = (p.prompt_tokens, p.output_tokens, p.context_bytes)
            return [torch.full_like(like, mean) for mean in means]
        rho = p.size_difficulty_corr
        hard = torch.special.ndtri(like) if rho != 0.0 else None

        def size(name: str, mean: float, cv: float, low: float, high: float) -> Tensor:
            z: Tensor = torch.special.ndtri(drawn[name])
            if hard is not None:
                z = rho * hard + math.sqrt(1.0 - rho * rho) * z
            variance = math.log1p(cv * cv)
            return (mean * (math.sqrt(variance) * z - 0.5 * variance).exp()).clamp(low, high)

        return [
            size("prompt", p.prompt_tokens, p.prompt_cv, p.prompt_tokens_min, p.prompt_tokens_max),
            size("output", p.output_tokens, p.output_cv, p.output_tokens_min, p.output_tokens_max),
            size("context", p.context_bytes, p.context_cv, 0.0, p.context_bytes_max),
        ]


def split_requests(requests: Tensor) -> Requests:
    """The columns of (rows, columns, width) requests by name."""
    return Requests(*requests[:, :NUM_COLUMNS].unbind(1))


def cloud_prob(params: NetGptBaseParams, d: Tensor) -> Tensor:
    """Success of the cloud given a valid call, clip(c_0 - c_1 d, 0, 1), in the shape of d."""
    if params.cloud_slope == 0.0:
        return torch.full_like(d, params.cloud_acc)
    return (params.cloud_acc - params.cloud_slope * d).clamp(0.0, 1.0)


def difficulty_quantile(a: float, b: float) -> NDArray[np.float64]:
    """(QUANTILE_NODES,) values of a beta law at evenly spaced levels from 0 to 1.

    The distribution function is integrated in z with x = sin^2(pi z / 2), in which the density is
    smooth at both ends, and inverted between its 2^16 points.
    """
    z = np.linspace(0.0, 1.0, 2**16 + 1)
    sine, cosine = np.sin(np.pi * z / 2.0), np.cos(np.pi * z / 2.0)
    with np.errstate(divide="ignore"):
        log_density = (2.0 * a - 1.0) * np.log(sine) + (2.0 * b - 1.0) * np.log(cosine.clip(0.0))
    density = np.exp(log_density - log_density.max())
    total = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    levels = np.linspace(0.0, 1.0, QUANTILE_NODES)
    place = np.interp(levels, total / total[-1], z)
    return np.asarray(np.sin(np.pi * place / 2.0) ** 2)
