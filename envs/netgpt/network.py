"""Bandwidth, round-trip time and price from slot to slot.

ln B_t = ln B_r + x_t with regime r a Markov chain and x an AR(1) process, R likewise [our choice;
standard AR(1)]. Everything here is the world: it never depends on an action.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.core.errors import OptionsError
from sixgym.envs.netgpt.params import NetGptBaseParams
from sixgym.envs.netgpt.state import Link
from sixgym.envs.netgpt.trace_files import Trace, load_trace

OPTION_RANGES = {
    "bandwidth_mbps": (0.01, 1e5),
    "rtt_s": (0.0, 10.0),
    "price_mult": (0.0, 1000.0),
}
"""Options of ``reset`` that hold a part of the network state for the episode, and their ranges."""
RESET_OPTIONS = (*OPTION_RANGES, "trace_row")


class Network:
    """The process of network states and prices.

    Args:
        params: of the system.
        dtype: of the physics.
        device: of the tensors.

    Raises:
        ParamsError: the trace cannot be read.
    """

    def __init__(self, params: NetGptBaseParams, dtype: torch.dtype, device: torch.device) -> None:
        self._p = p = params
        self.trace: Trace | None = load_trace(p) if p.network == "trace" else None
        """The replayed trace, or None. Not to be touched in a step: its arrays are NumPy's."""

        def constant(values: Any) -> Tensor:
            return torch.tensor(np.asarray(values), dtype=dtype, device=device)

        self._bandwidth = constant(p.regime_bandwidth_mbps)
        self._rtt = constant(p.regime_rtt_s)
        # Above the last bound lies the last regime, whatever the rounding of the sum.
        self._next_bounds = constant(np.cumsum(p.regime_transition, 1)[:, :-1])
        self._start_bounds = constant(np.cumsum(p.regime_start)[:-1])
        if self.trace is not None:
            self._bandwidth = constant(self.trace.bandwidth_mbps)
            self._rtt = constant(self.trace.rtt_s)
        self._has_jitter = p.network == "markov+ar"
        self._has_price_noise = p.pricing in ("tou", "surge")

    def streams(self, *, first: bool) -> dict[str, tuple[Kind, tuple[int, ...]]]:
        """What a slot draws; ``first`` for slot 0."""
        streams: dict[str, tuple[Kind, tuple[int, ...]]] = {}
        if self._p.has_regimes:
            streams["regime"] = ("uniform", ())
        if self._has_jitter:
            streams["jitter"] = ("normal", (2,))
        if self._p.pricing == "surge" or (first and self._has_price_noise):
            streams["price"] = ("uniform", ())
        if self._p.obs_noise > 0.0:
            streams["measurement"] = ("normal", (2,))
        if first and self.trace is not None and self._p.trace_start == "uniform":
            streams["trace"] = ("uniform", ())
        return streams

    # ----------------------------------------------------------------------------------- processes

    def start(self, noise: Draws, zero: Tensor) -> Link:
        """The link of slot 0, all processes stationary.

        Args:
            noise: drawn by `streams`.
            zero: (rows,) zeros of the system's dtype.
        """
        p, one = self._p, torch.ones_like(zero)
        regime = zero + float(-1 if p.frozen_regime is None else p.frozen_regime)
        if p.has_regimes:
            regime = _count_below(noise["regime"], self._start_bounds).to(zero.dtype)
        jitter_b = jitter_r = state = row = zero
        if self._has_jitter:
            jitter_b = p.bandwidth_jitter * noise["jitter"][:, 0]
            jitter_r = p.rtt_jitter * noise["jitter"][:, 1]
        if p.pricing == "tou":
            state = (noise["price"] * p.tou_period).floor()
        elif p.pricing == "surge":
            state = (noise["price"] < p.surge_share).to(zero.dtype)
        if "trace" in noise:
            row = (noise["trace"] * self._bandwidth.shape[0]).floor()
        held = -one
        link = Link(
            regime, jitter_b, jitter_r, one, one, one, one, one, state, row, held, held, held
        )
        return self._at(link, noise, zero)

    def next(self, link: Link, noise: Draws, slot: Tensor) -> Link:
        """The link of a slot after that of the one before.

        Args:
            link: of slot ``slot - 1``.
            noise: drawn by `streams`.
            slot: (rows,) the coming slot.
        """
        p = self._p
        if p.has_regimes:
            bounds = self._next_bounds[link.regime.to(torch.int64)]
            regime = _count_below(noise["regime"], bounds).to(slot.dtype)
            link = link._replace(regime=regime)
        if self._has_jitter:
            fresh = noise["jitter"]
            link = link._replace(
                jitter_b=_ar1(link.jitter_b, fresh[:, 0], p.bandwidth_corr, p.bandwidth_jitter),
                jitter_r=_ar1(link.jitter_r, fresh[:, 1], p.rtt_corr, p.rtt_jitter),
            )
        if p.pricing == "surge":
            stays = torch.where(link.price_state > 0.5, 1.0 - p.surge_down, p.surge_up)
            link = link._replace(price_state=(noise["price"] < stays).to(slot.dtype))
        return self._at(link, noise, slot)

    def _at(self, link: Link, noise: Draws, slot: Tensor) -> Link:
        """Bandwidth, RTT, what is measured of them, and price, of a link whose processes stand."""
        if self.trace is None:
            index = link.regime.to(torch.int64)
        else:
            index = (link.trace_row + slot).to(torch.int64) % self._bandwidth.shape[0]
        bandwidth, rtt = self._bandwidth[index], self._rtt[index]
        if self._has_jitter:
            bandwidth, rtt = bandwidth * link.jitter_b.exp(), rtt * link.jitter_r.exp()
        bandwidth = torch.where(link.held_bandwidth < 0.0, bandwidth, link.held_bandwidth)
        rtt = torch.where(link.held_rtt < 0.0, rtt, link.held_rtt)
        seen_bandwidth, seen_rtt = bandwidth, rtt
        if self._p.obs_noise > 0.0:
            error = (self._p.obs_noise * noise["measurement"]).exp()
            seen_bandwidth, seen_rtt = bandwidth * error[:, 0], rtt * error[:, 1]
        price = torch.where(link.held_price < 0.0, self._price(link, slot), link.held_price)
        return link._replace(
            bandwidth=bandwidth,
            rtt=rtt,
            seen_bandwidth=seen_bandwidth,
            seen_rtt=seen_rtt,
            price_mult=price,
        )

    def _price(self, link: Link, slot: Tensor) -> Tensor:
        """Price multiplier m of a slot by the schedule."""
        p, base = self._p, self._p.price_mult
        if p.pricing == "tou":
            off_peak = (slot + link.price_state).remainder(p.tou_period) >= p.tou_peak
            return base * torch.where(off_peak, p.tou_mult, torch.ones_like(slot))
        if p.pricing == "surge":
            return base * (1.0 + (p.surge_mult - 1.0) * link.price_state)
        return torch.full_like(slot, base)

    # ------------------------------------------------------------------------------------- options

    def with_options(self, link: Link, options: Mapping[str, Any]) -> Link:
        """The first link under options of the reset.

        Args:
            link: of slot 0.
            options: ``bandwidth_mbps``, ``rtt_s`` and ``price_mult``, held for the episode;
                ``trace_row``, the row of the trace of slot 0; each one value, or one for each row.

        Raises:
            OptionsError: a value is out of its range, or there is no trace.
        """
        like = link.rtt
        if "trace_row" in options:
            link = self._from_row(link, options["trace_row"])
        if "bandwidth_mbps" in options:
            held = _levels("bandwidth_mbps", options, like)
            seen = held * (link.seen_bandwidth / link.bandwidth)
            link = link._replace(held_bandwidth=held, bandwidth=held, seen_bandwidth=seen)
        if "rtt_s" in options:
            held = _levels("rtt_s", options, like)
            # An RTT of 0 has no measurement error to carry over.
            seen = held * (link.seen_rtt / link.rtt.clamp_min(1e-12))
            seen = torch.where(link.rtt > 0.0, seen, held)
            link = link._replace(held_rtt=held, rtt=held, seen_rtt=seen)
        if "price_mult" in options:
            held = _levels("price_mult", options, like)
            link = link._replace(held_price=held, price_mult=held)
        return link

    def _from_row(self, link: Link, given: Any) -> Link:
        if self.trace is None:
            raise OptionsError(f"trace_row={given!r}: allowed with network='trace' only")
        last = self._bandwidth.shape[0] - 1
        row = _numbers("trace_row", given, link.rtt, 0, last).floor()
        index = row.to(torch.int64)
        ratio_b, ratio_r = link.seen_bandwidth / link.bandwidth, link.seen_rtt / link.rtt
        bandwidth, rtt = self._bandwidth[index], self._rtt[index]
        return link._replace(
            trace_row=row,
            bandwidth=bandwidth,
            rtt=rtt,
            seen_bandwidth=bandwidth * ratio_b,
            seen_rtt=rtt * ratio_r,
        )


def _count_below(uniform: Tensor, bounds: Tensor) -> Tensor:
    """(rows,) int64 index of the interval in which a uniform falls."""
    return (uniform.unsqueeze(-1) >= bounds).sum(-1)


def _ar1(last: Tensor, fresh: Tensor, corr: float, spread: float) -> Tensor:
    """One AR(1) step, phi x + sigma sqrt(1 - phi^2) eps; stationary N(0, sigma^2)."""
    return corr * last + spread * math.sqrt(1.0 - corr * corr) * fresh


def _levels(name: str, options: Mapping[str, Any], like: Tensor) -> Tensor:
    return _numbers(name, options[name], like, *OPTION_RANGES[name])


def _numbers(name: str, given: Any, like: Tensor, low: float, high: float) -> Tensor:
    """(rows,) values of an option, one or one a row, within its range."""
    try:
        value = np.broadcast_to(np.asarray(given, np.float64), (like.shape[0],))
    except (TypeError, ValueError):
        value = np.full(1, math.nan)
    if not ((value >= low) & (value <= high)).all():
        raise OptionsError(
            f"{name}={given!r}: allowed: a number from {low:g} to {high:g}, or one for each row"
        )
    return torch.tensor(value).to(like)
