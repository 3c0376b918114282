"""`sixgym/EventOffloadMulti-v0`: several devices share uplinks and servers, a game."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.core.game import Game, GameStep, Group, Joint, Moves
from sixgym.envs.core.sources import MODEL
from sixgym.envs.core.system import Metric, Score
from sixgym.envs.event_offload.allocation import jain
from sixgym.envs.event_offload.devices import (
    DeviceBank,
    DeviceBudget,
    associate,
    attainable_utility,
    device_pools,
    stand_in_triangle,
    triangle_corners,
    triangle_snr,
)
from sixgym.envs.event_offload.link import Link
from sixgym.envs.event_offload.multi_metrics import METRICS, SCORES
from sixgym.envs.event_offload.multi_params import EventOffloadMultiParams
from sixgym.envs.event_offload.multi_state import BAND, UNITS, MultiState
from sixgym.envs.event_offload.observation import EMA, Observer, Quantiles, observation_space
from sixgym.envs.event_offload.options import RESET_OPTIONS, apply_options
from sixgym.envs.event_offload.rule import run_exits
from sixgym.envs.event_offload.sharing import Shares, Sharing
from sixgym.envs.event_offload.slot import Counts, add_up, requests_of, serve_in_order
from sixgym.envs.event_offload.sources import GainSource, as_fading
from sixgym.envs.event_offload.state import CONFIRMED, HELD, NUM_VITALS, SLOT, SPLITS

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

GROUP = "device"
FIRST_UTILITY = 0.5
"""Running mean of the utility at the start. [our choice]"""
LEAST_MEAN = 0.05
"""Least running mean that a reward is divided by. [our choice]"""
LEAST_UTILITY = 1e-3
"""Least mean utility whose logarithm is taken. [our choice]"""
EXTRA_FEATURES = 4
TINY_J = 1e-15


class _Slot(NamedTuple):
    """What the devices did in a slot; tensors (rows, devices) unless said."""

    low: Tensor
    high: Tensor
    shares: Shares
    counts: Counts
    """Of idle devices nothing but their tails."""
    scores: Tensor
    """(rows, devices, 3) quantiles of the exit-1 scores."""
    local_j: Tensor
    radio_j: Tensor
    utility: Tensor
    over: Tensor
    """1 where the pair breaks the budget of the slot."""


class EventOffloadMulti(Game[EventOffloadMultiParams, MultiState]):
    r"""Devices with thresholds of their own share an uplink and a server, fairly.

    Every device watches its own stream, as in `sixgym/EventOffload-v0`, over its own channel. A
    server has a bandwidth, of which device n gets b_n, and can process W_j events a slot, of which
    it gets w_n; so min(w_n, what b_n carries) of its requests are served and the rest is dropped.
    How both are shared is the parameter ``alloc``; the devices choose thresholds.

    **Agents**: ``device_0``, ``device_1``, ...; with budget mode battery a device whose battery
    cannot pay exit 1 of a slot's events leaves (not in reward team_log, see ``budget_mode``).

    **Action** of each: ``Box(0, 1, (2,))``, thresholds in any order; with ``alloc="bid"`` a third
    number, the bid.

    **Observation** of each: ``Box(16,)``: the twelve numbers of `sixgym/EventOffload-v0`, b_n / B
    and w_n / W of this slot (of the last slot if bid), the own running mean utility and the mean of
    all devices'.

    **Reward** of each: rho u / max(mean of u, 0.05), the gradient of proportional fairness, where u
    is the slot's served tails over M pi; see ``reward`` and ``utility``. One controller of all
    devices is paid the sum; in reward team_log the team's value.

    **Starting state**: stationary channels and labels, mean utilities 1/2, full batteries.
    ``reset(options=...)`` as of `sixgym/EventOffload-v0`, alike for all devices.

    **Episode end**: truncated after 200 slots unless made otherwise; terminated when the last
    battery is empty.
    """

    params_type = EventOffloadMultiParams
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    scores: ClassVar[tuple[Score, ...]] = SCORES
    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS

    def __init__(
        self,
        params: EventOffloadMultiParams,
        *,
        joint: Joint | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, joint=joint, dtype=dtype, device=device, info_level=info_level)
        p, where = params, self.device
        self.pools = device_pools(p)
        """The events of every device."""
        self.link = Link(p)
        """The uplink, with all of a server's bandwidth."""
        self.bank = DeviceBank(self.pools, p, dtype, where)
        """The events as tensors."""
        self._source: GainSource | None = None
        if p.channel != MODEL:
            self._source = GainSource(p, p.num_devices, dtype, where)
        self._bursty = p.labels == "bursty"
        self._has_battery = p.budget_mode == "battery"
        self._triangle = p.geometry == "triangle"
        self._may_leave = self._has_battery and p.reward != "team_log"
        self._set_constants()
        low, high = observation_space().low, observation_space().high
        extra = np.zeros(EXTRA_FEATURES, np.float32)
        seen = spaces.Box(np.append(low, extra), np.append(high, extra + 1.0), dtype=np.float32)
        moved = spaces.Box(0.0, 1.0, (3 if p.alloc == "bid" else 2,), np.float32)
        group = Group(GROUP, p.num_devices, seen, moved, may_leave=self._may_leave)
        self.set_groups((group,))
        self._set_draws()

    def _set_constants(self) -> None:
        p, where = self.params, self.device

        def constant(values: Any) -> Tensor:
            return torch.as_tensor(values, dtype=self.dtype).to(where)

        self._rho = constant(p.rho)
        self._due = constant(p.num_events * p.prevalences)
        self._pi = constant(p.prevalences)
        self._given_snr = constant(p.mean_snrs)
        self.corners = constant(triangle_corners(p))
        """(3, 2) places of the servers of geometry triangle, m."""
        everybody = ((True,) * p.num_servers,) * p.num_devices
        self._eligible = torch.tensor(p.eligible or everybody, device=where)
        self._slot_budget_j = p.num_events * p.budget_j
        self._battery_j = p.horizon_slots * self._slot_budget_j
        self._least_j = p.num_events * p.energy_per_mac_j * self.bank.macs[:, 0]
        self._observer = Observer(p, self.link, has_battery=self._has_battery)
        self._quantiles = Quantiles(p.num_events, self.dtype, where)
        if p.budget_mode == "slot":
            self._budget = DeviceBudget(self.pools, p, self.dtype, where)
        attainable = None
        if p.alloc == "maxsum":
            attainable = torch.from_numpy(attainable_utility(self.pools, p)).to(where)
        self._sharing = Sharing(p, self.link, attainable, self.dtype, where)

    def _set_draws(self) -> None:
        p, n = self.params, self.params.num_devices
        both: dict[str, tuple[Kind, tuple[int, ...]]] = {"fading": ("cn", (n,))}
        if self._source is not None:
            both = {"world": ("key", ())}
        if self._bursty:
            both["burst"] = ("uniform", (n,))
        events: dict[str, tuple[Kind, tuple[int, ...]]] = {"events": ("uniform", (n, p.num_events))}
        self._draws_class = p.semantics != "detect_then_offload" and any(
            pool.num_classes > 1 for pool in self.pools
        )
        if self._draws_class:
            events["local_class"] = ("uniform", (n, p.num_events))
        place: dict[str, tuple[Kind, tuple[int, ...]]] = {"place": ("uniform", (n, 2))}
        self.start_draws = self.draw_table(both | (place if self._triangle else {}))
        self.step_draws = self.draw_table(both | events)

    # -------------------------------------------------------------------------------------- start

    def start(self, noise: Draws) -> MultiState:
        """First states: places and servers for the episode, stationary channels and labels."""
        p = self.params
        if self._source is None:
            fading = noise["fading"]
        else:
            key = noise["world"]
            fading = as_fading(self._source.at(key, torch.zeros_like(key)))
        zero = torch.zeros_like(fading[:, 0])
        if self._triangle:
            position = stand_in_triangle(noise["place"], self.corners)
            to_each = triangle_snr(position, self.corners, p)
        else:
            position = zero.new_zeros((zero.shape[0], 0, 2))
            to_each = self._given_snr.unsqueeze(-1).expand(*zero.shape, p.num_servers)
        balanced = p.association == "balanced"
        server = associate(to_each, self._eligible, self._rho, balanced=balanced)
        mean_snr = to_each.gather(-1, server.unsqueeze(-1)).squeeze(-1)
        burst = (noise["burst"] < p.burst_share).to(self.dtype) if self._bursty else zero
        snr = mean_snr * fading.square().sum(1)
        held = zero - 1.0
        split = torch.full_like(zero, float(SPLITS.index(p.split)))
        columns = [snr, held, split, burst, *[zero] * 4, self._pi.expand_as(zero)]
        columns += [zero] * (NUM_VITALS - len(columns))
        mean = torch.full_like(zero, FIRST_UTILITY)
        state = MultiState(fading, torch.stack(columns, -1), position)
        shares = self._share(snr, server, self._works(zero))
        columns = [*self._shown(shares, zero), mean, zero, mean_snr, server.to(self.dtype), zero]
        return state._replace(vitals=torch.cat([state.vitals, torch.stack(columns, -1)], -1))

    def with_options(self, state: MultiState, options: Mapping[str, Any]) -> MultiState:
        """First states under options of the reset, alike for all devices; see `apply_options`."""
        vitals = apply_options(state.vitals, options)
        state = state._replace(vitals=vitals)
        server = state.server.to(torch.int64)
        shares = self._share(state.snr, server, self.works(state))
        shown = self._shown(shares, state.energy_j)
        vitals[..., BAND : UNITS + 1] = torch.stack(shown, -1)
        return state

    def _share(self, snr: Tensor, server: Tensor, works: Tensor) -> Shares | None:
        """Shares of a slot that hang on its state alone; None if they hang on bids."""
        if self.params.alloc == "bid":
            return None
        return self._sharing(snr, server, works)

    def _shown(self, shares: Shares | None, zero: Tensor) -> tuple[Tensor, Tensor]:
        if shares is None:
            return zero, zero
        return shares.band, shares.units.to(self.dtype)

    def _works(self, energy_j: Tensor) -> Tensor:
        """(rows, devices) bool: the battery, if any, pays exit 1 of a slot's events."""
        if not self._has_battery:
            return torch.ones_like(energy_j, dtype=torch.bool)
        return self._battery_j - energy_j >= self._least_j

    def works(self, state: MultiState) -> Tensor:
        """(rows, devices) bool: who can take part in the coming slot."""
        return self._works(state.energy_j)

    def agent_ids(self, state: MultiState) -> Tensor:
        """(rows, devices) the device on its seat, -1 once it has left."""
        ids = super().agent_ids(state)
        if not self._may_leave:
            return ids
        return torch.where(self.works(state), ids, -1)

    # --------------------------------------------------------------------------------------- play

    def play(self, state: MultiState, moves: Moves, noise: Draws) -> tuple[MultiState, GameStep]:
        """One slot of all devices."""
        works = self.works(state)
        slot = self._slot(state, moves[GROUP], works, noise)
        new = self._next(state, slot, noise)
        empty = ~self.works(new).any(1)
        return new, GameStep(
            self._reward(state, new, slot, empty), empty, self._account(state, new, slot, empty)
        )

    def _slot(self, state: MultiState, move: Tensor, works: Tensor, noise: Draws) -> _Slot:
        """Events arrive, go through the exits, and are served in order of arrival."""
        p, bank = self.params, self.bank
        # Of those who sit idle nothing may matter.
        pair = torch.where(works.unsqueeze(-1), move[..., :2], 1.0).to(torch.float32)
        low, high = pair.amin(-1), pair.amax(-1)
        if p.alloc == "bid":
            shares = self._sharing(state.snr, state.server.to(torch.int64), works, move[..., 2])
        else:
            shares = Shares(state.band, state.units.to(torch.int64))
        events = bank.draw(noise["events"], state.split, state.in_burst)
        scores, traits = bank.look_up(events)
        verdict = run_exits(scores.unbind(0), low.unsqueeze(-1), high.unsqueeze(-1), p.final_rule)
        asked = requests_of(p, verdict)
        here = works.unsqueeze(-1)
        offload = asked.offload & here
        closed = None if asked.closed is None else asked.closed & here
        macs = bank.macs_at(verdict.exit) * here
        local_j = p.energy_per_mac_j * macs.sum(-1)
        price = self.link.offload_energy_j(state.snr)
        fit = shares.units.to(self.dtype)
        if self._has_battery:
            left = (self._battery_j - state.energy_j - local_j).clamp_min(0.0)
            fit = torch.minimum(fit, (left / price.clamp_min(TINY_J)).floor())
        served = serve_in_order(offload, fit)
        right = None
        if self._draws_class:
            right = noise["local_class"] * bank.num_classes.unsqueeze(-1) < 1.0
        asked = asked._replace(offload=offload, closed=closed)
        counts = add_up(traits, macs, asked, served, local_right=right)
        over = torch.zeros_like(local_j)
        if p.budget_mode == "slot":
            kept = self._budget.is_kept(state.split, low, high, price, self.link.is_up(state.snr))
            over = (~kept).to(self.dtype)
        found = counts.tp if p.utility == "tpr" else counts.tp_correct
        utility = found / self._due
        if p.budget_mode == "slot" and p.hard:
            utility = utility * (1.0 - over)
        first = self._quantiles(scores[0]) * here
        radio_j = counts.served * price
        return _Slot(low, high, shares, counts, first, local_j, radio_j, utility, over)

    def _next(self, state: MultiState, slot: _Slot, noise: Draws) -> MultiState:
        """The state after a slot: channels and labels go on, the vitals remember it."""
        p, counts = self.params, slot.counts
        if self._source is not None:
            fading = as_fading(self._source.at(noise["world"], state.slot + 1.0))
        else:
            fading = noise["fading"]
            if p.fading_correlation > 0.0:
                rho = p.fading_correlation
                fading = rho * state.fading + (1.0 - rho * rho) ** 0.5 * fading
        held = state.vitals[..., HELD]
        snr = torch.where(held < 0.0, state.mean_snr * fading.square().sum(1), held)
        burst = state.in_burst
        if self._bursty:
            stays = torch.where(burst > 0.0, 1.0 - p.burst_to_calm, p.calm_to_burst)
            burst = (noise["burst"] < stays).to(self.dtype)
        energy = slot.local_j + slot.radio_j
        total = state.energy_j + energy
        before = state.vitals
        shares = self._share(snr, state.server.to(torch.int64), self._works(total))
        confirmed = EMA * counts.confirmed / p.num_events
        memory = p.utility_memory
        columns = [
            snr,
            held,
            state.split,
            burst,
            total,
            before[..., SLOT] + 1.0,
            counts.served / p.num_events,
            counts.macs / (p.num_events * self.bank.full_macs),
            (1.0 - EMA) * before[..., CONFIRMED] + confirmed,
            (energy / self._slot_budget_j).clamp_max(2.0) / 2.0,
            *slot.scores.unbind(-1),
            slot.low,
            slot.high,
            slot.shares.units,
            state.snr,
            *(slot.shares if shares is None else shares),
            memory * state.mean_utility + (1.0 - memory) * slot.utility,
            state.sum_utility + slot.utility,
            state.mean_snr,
            state.server,
            slot.utility,
        ]
        vitals = torch.stack([c.to(self.dtype) for c in columns], -1)
        return MultiState(fading, vitals, state.position_m)

    # ------------------------------------------------------------------------- reward and metrics

    def _fair_value(self, new: MultiState) -> Tensor:
        """(rows,) sum of rho ln U, U the mean utility over the horizon."""
        mean = new.sum_utility / self.params.horizon_slots
        return (self._rho * mean.clamp_min(LEAST_UTILITY).log()).sum(1)

    def _is_last(self, new: MultiState, empty: Tensor) -> Tensor:
        """(rows,) bool: the slot in which the episode is weighed up."""
        return (new.slot == self.params.horizon_slots) | empty

    def _reward(self, state: MultiState, new: MultiState, slot: _Slot, empty: Tensor) -> Tensor:
        """(rows, devices); see the class."""
        if self.params.reward == "own":
            return slot.utility
        if self.params.reward == "team_log":
            value = torch.where(self._is_last(new, empty), self._fair_value(new), 0.0)
            return value.unsqueeze(1).expand_as(slot.utility)
        return self._rho * slot.utility / state.mean_utility.clamp_min(LEAST_MEAN)

    def central_reward(self, reward: Tensor) -> Tensor:
        """The sum over the devices; the team's value where all are paid that."""
        return reward[:, 0] if self.params.reward == "team_log" else reward.sum(1)

    def _account(
        self, state: MultiState, new: MultiState, slot: _Slot, empty: Tensor
    ) -> dict[str, Tensor]:
        """The metrics of a slot."""
        p, counts = self.params, slot.counts
        energy = slot.local_j + slot.radio_j
        cost = energy / self._slot_budget_j
        dropped = counts.requests - counts.served
        left = (p.horizon_slots - new.slot).clamp_min(0.0)
        due = counts.tails.sum(1) + torch.where(empty, left * self._due.sum(), 0.0)
        last = self._is_last(new, empty)
        metrics = {
            "tp": counts.tp.sum(1),
            "tp_correct": counts.tp_correct.sum(1),
            "fp": counts.fp.sum(1),
            "tails_due": due,
            "n_off": counts.served.sum(1),
            "dropped": dropped.sum(1),
            "energy_j": energy.sum(1),
            "energy_tx_j": slot.radio_j.sum(1),
            "utility": slot.utility.sum(1),
            "cost": cost.mean(1),
            "cost_capacity": dropped.mean(1) / p.num_events,
            "violation": (cost - 1.0).clamp_min(0.0).mean(1),
            "over_budget": slot.over.mean(1),
            "fair_value": torch.where(last, self._fair_value(new), 0.0),
            "jain": torch.where(last, jain(new.sum_utility), 0.0),
            "agent_cost": cost,
            "agent_cost_capacity": dropped / p.num_events,
            "agent_utility": slot.utility,
        }
        if self.info_level > 0:
            metrics |= {
                "agent_gamma_db": 10.0 * state.snr.clamp_min(1e-12).log10(),
                "agent_beta_l": slot.low,
                "agent_beta_u": slot.high,
                "agent_band": slot.shares.band,
                "agent_units": slot.shares.units,
                "agent_server": state.server,
                "agent_n_off": counts.served,
                "agent_tp": counts.tp,
            }
        return metrics

    # ---------------------------------------------------------------------------- what is seen

    def perceive(self, state: MultiState, moves: Moves) -> dict[str, Tensor]:
        """(rows, devices, 16) float32; see the class."""
        vitals = state.vitals
        own = self._observer(vitals.flatten(0, 1)).unflatten(0, vitals.shape[:2])
        mean = state.mean_utility
        extra = [
            state.band,
            state.units / max(self.params.server_events, 1),
            mean,
            mean.mean(1, keepdim=True).expand_as(mean),
        ]
        more = torch.stack(extra, -1).clamp(0.0, 1.0).to(torch.float32)
        return {GROUP: torch.cat([own, more], -1)}

    def draw(self, state: MultiState, row: int, canvas: Canvas) -> None:
        """Paint one row."""
        from sixgym.envs.event_offload.multi_scene import draw_multi_scene

        draw_multi_scene(self, state, row, canvas)
