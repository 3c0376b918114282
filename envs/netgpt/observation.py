"""What the agent sees: network, price, queue, the requests, and how learning stands.

Hidden are difficulty, skill and outcomes. Everything is clipped to [-10, 10]. [our choice: all of
it]
"""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.netgpt.params import HISTORY, TOOLS, NetGptBaseParams
from sixgym.envs.netgpt.requests import Extras, split_requests
from sixgym.envs.netgpt.service import Service
from sixgym.envs.netgpt.state import Desk, Link, Mind

BOUND = 10.0
NETWORK_ROWS = 4
"""Rows that a function of the network state needs: bandwidth, RTT, price multiplier, price."""
CONTEXT_ROWS = 10
"""Rows that do not speak of single requests."""
SUMMARY_ROWS = 6
"""Rows that sum up the requests of a slot."""
REQUEST_FEATURES = 5 + len(TOOLS) + 1
"""Numbers of one request: score, validity, prompt, output, transfer, tool, history."""
QUANTILE = 0.25
"""Level of the quantile of the slot's scores."""


def box(size: int, *shape: int) -> spaces.Box:
    """``Box(-10, 10)`` of float32."""
    return spaces.Box(-BOUND, BOUND, (*shape, size), np.float32)


class Observer:
    """The rows of observations.

    ===== =========================================================================================
    row   content
    ===== =========================================================================================
    0     ``ln(B / 10) / 3`` of the measured bandwidth in Mbit/s
    1     ``ln(R / 0.1) / 2`` of the measured RTT in s
    2     price multiplier less 1
    3     mean cloud price of the slot's requests, m$ (one request a step: at mean sizes)
    4     requests of the slot over ``max_requests``
    5     backlog of the edge over the slot length
    6-8   mean, standard deviation and 25 % quantile of the slot's scores
    9     share of drafts that are not schema-valid (0 in mode pre)
    10    ``ln(D / 4) / 3`` of the mean transfer in Mbit
    11    mean length of drafts over 100 (mode pre: of the mean)
    12    samples kept since the last update over ``update_samples``
    13    ``ln(1 + kept / learn_scale)`` of all kept samples
    14    moving average of "draft and cloud agree" over offloaded requests (0 in mode pre)
    15    slots since the scorer was refitted over 100
    ===== =========================================================================================

    Rows 12, 13 and 15 are 0 without self-improvement, where nothing is kept or refitted.

    Args:
        params: of the system.
        width: requests of a slot, or 1.
        extras: where tool and history of requests are.
        dtype: of the physics.
        device: of the tensors.
    """

    def __init__(
        self,
        params: NetGptBaseParams,
        width: int,
        extras: Extras,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self._p = params
        self._service = Service(params)
        self._extras = extras
        self._place = torch.arange(width, device=device)
        self._tools = torch.arange(len(TOOLS), dtype=dtype, device=device).unsqueeze(-1)
        self._all = params.arrivals == "fixed"

    # -------------------------------------------------------------------------------------- groups

    def context(self, link: Link, mind: Mind, desk: Desk, price: Tensor | None) -> list[Tensor]:
        """Rows 0 to 5 and 12 to 15, each (rows,).

        Args:
            link: network and price.
            mind: buffer and scorer.
            desk: clock, queue and memory.
            price: (rows,) row 3; None for that at mean sizes.
        """
        p = self._p
        if price is None:
            prompt, output = (
                torch.full_like(link.rtt, mean) for mean in (p.prompt_tokens, p.output_tokens)
            )
            price = self._service.cloud_price(prompt, output, link.price_mult)
        rows = [
            (link.seen_bandwidth / 10.0).log() / 3.0,
            (link.seen_rtt.clamp_min(1e-9) / 0.1).log() / 2.0,
            link.price_mult - 1.0,
            price,
            desk.arrived / p.max_requests,
            desk.backlog / p.slot_s,
        ]
        if not p.self_improve:
            nothing = torch.zeros_like(link.rtt)
            return [*rows, nothing, nothing, desk.agreed, nothing]
        return [
            *rows,
            mind.fresh / p.update_samples,
            (mind.kept / p.learn_scale).log1p(),
            desk.agreed,
            mind.since_refresh / 100.0,
        ]

    def hidden(self, mind: Mind) -> list[Tensor]:
        """The rows that ``observe_kappa`` appends."""
        return [mind.kappa, mind.kappa_rm] if self._p.observe_kappa else []

    @property
    def num_hidden(self) -> int:
        """How many rows `hidden` gives."""
        return 2 if self._p.observe_kappa else 0

    def clip(self, rows: list[Tensor]) -> Tensor:
        """(rows, n) float32 of n columns, clipped."""
        return torch.stack(rows, 1).clamp(-BOUND, BOUND).float()

    # ------------------------------------------------------------------------------------ requests

    def active(self, count: Tensor) -> Tensor | None:
        """(rows, width) 1 for the requests that there are; None where all are."""
        if self._all:
            return None
        return (self._place < count.unsqueeze(-1)).to(count.dtype)

    def _visible(self, requests: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Score, validity, prompt, output and transfer as seen, each (rows, width).

        In mode pre there is no draft yet: all are taken as valid and of the mean length.
        """
        r = split_requests(requests)
        valid, output = r.edge_valid, r.output
        if self._p.mode == "pre":
            valid = torch.ones_like(valid)
            output = torch.full_like(output, self._p.output_tokens)
        mbit = self._service.transfer_mbit(r.prompt, output, r.context)
        return r.score, valid, r.prompt, output, mbit

    def summary(self, requests: Tensor, link: Link, count: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Row 3 and rows 6 to 11, each (rows,); 0 in a slot without requests."""
        score, valid, prompt, output, mbit = self._visible(requests)
        price = self.price(prompt, output, link)
        active = self.active(count)
        means = _mean(torch.stack([score, 1.0 - valid, output, mbit, price], 1), active, count)
        mean, invalid, length, transfer, cost = means.unbind(1)
        deviation = _mean((score - mean.unsqueeze(-1)).square(), active, count).sqrt()
        low = _quantile(score, active, count)
        size = (transfer / 4.0).clamp_min(1e-9).log() / 3.0
        rows = [mean, deviation, low, invalid, size, length / 100.0]
        if active is not None:
            some = count > 0.0
            rows = [torch.where(some, row, 0.0) for row in rows]
        return cost, rows

    def price(self, prompt: Tensor, output: Tensor, link: Link) -> Tensor:
        """(rows, width) expected cloud price of requests, m$."""
        return self._service.cloud_price(prompt, output, link.price_mult.unsqueeze(-1))

    def features(self, requests: Tensor) -> Tensor:
        """(rows, width, 14) float32: each request by itself.

        Score, validity, prompt over 1000, output over 100, ``ln(D / 4) / 3``, one-hot tool (8),
        completed steps over 2.
        """
        score, valid, prompt, output, mbit = self._visible(requests)
        assert self._extras.tool is not None
        assert self._extras.history is not None
        tool = requests[:, self._extras.tool].unsqueeze(1) == self._tools
        history = requests[:, self._extras.history] / (HISTORY - 1)
        size = (mbit / 4.0).log() / 3.0
        first = torch.stack([score, valid, prompt / 1e3, output / 100.0, size], 1)
        seen = torch.cat([first, tool.to(first.dtype), history.unsqueeze(1)], 1)
        return seen.transpose(1, 2).clamp(-BOUND, BOUND).float()

    def price_of_each(self, requests: Tensor, link: Link) -> Tensor:
        """(rows, width) the cloud's price of each request as seen, m$."""
        _, _, prompt, output, _ = self._visible(requests)
        return self.price(prompt, output, link)


def _mean(values: Tensor, active: Tensor | None, count: Tensor) -> Tensor:
    """Mean over the last axis of the requests that there are; 0 of none."""
    if active is None:
        return values.mean(-1)
    if values.dim() == 3:
        active, count = active.unsqueeze(1), count.unsqueeze(1)
    return (values * active).sum(-1) / count.clamp_min(1.0)


def _quantile(score: Tensor, active: Tensor | None, count: Tensor) -> Tensor:
    """(rows,) quantile of the scores, linear between order statistics."""
    if active is None:
        ordered = score.sort(-1).values
        place = QUANTILE * (score.shape[-1] - 1)
        below = int(place)
        above = min(below + 1, score.shape[-1] - 1)
        return ordered[:, below] + (place - below) * (ordered[:, above] - ordered[:, below])
    ordered = torch.where(active > 0.5, score, math.inf).sort(-1).values
    position = QUANTILE * (count - 1.0).clamp_min(0.0)
    first = position.floor()
    index = first.to(torch.int64).unsqueeze(-1)
    following = (index + 1).clamp_max(score.shape[-1] - 1)
    low = ordered.gather(1, index).squeeze(-1)
    high = ordered.gather(1, following).squeeze(-1)
    share = position - first
    # Beyond the last request stands infinity, which a share of 0 must not touch.
    return torch.where(share > 0.0, low + share * (high - low), low)
