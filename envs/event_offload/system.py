"""`sixgym/EventOffload-v0`: two thresholds in every slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.core.sources import MODEL
from sixgym.envs.core.system import Action, Metric, Score, Step, System
from sixgym.envs.event_offload.bank import EventBank
from sixgym.envs.event_offload.expectation import (
    DESIGN,
    Budget,
    Expectation,
    score_quantiles,
    table_of,
)
from sixgym.envs.event_offload.link import Channel, Link
from sixgym.envs.event_offload.lookup import action_pairs
from sixgym.envs.event_offload.metrics import COST_LIMIT, METRICS, SCORES
from sixgym.envs.event_offload.observation import (
    CHANNEL_FEATURES,
    EMA,
    QUANTILES,
    Observer,
    Quantiles,
)
from sixgym.envs.event_offload.options import RESET_OPTIONS, apply_options
from sixgym.envs.event_offload.params import FEATURE_MAP_BITS, EventOffloadParams
from sixgym.envs.event_offload.rule import run_exits
from sixgym.envs.event_offload.scene import draw_scene
from sixgym.envs.event_offload.scores import load_pool
from sixgym.envs.event_offload.slot import (
    Counts,
    add_up,
    event_details,
    requests_of,
    serve_by_size,
    serve_in_order,
)
from sixgym.envs.event_offload.sources import GainSource, as_fading
from sixgym.envs.event_offload.state import (
    DEPTH,
    NUM_VITALS,
    SPENT,
    SPLITS,
    State,
)

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

TINY_J = 1e-15
"""Keeps the number of offloads that a battery pays for finite."""


class _Slot(NamedTuple):
    """What happened in a slot, before it is accounted for."""

    counts: Counts
    fit: Tensor
    """(rows,) offloads that there was room for."""
    scores: Tensor
    """(rows, 3) quantiles of the exit-1 scores."""
    events: Tensor
    """(rows, M) rows of the bank; of the state before in the mode of expectations."""
    detail: dict[str, Tensor]
    """Level-1 metrics of single events."""


class _Energy(NamedTuple):
    """Energy of a slot, (rows,) each, J."""

    local: Tensor
    radio: Tensor
    total: Tensor


class EventOffload(System[EventOffloadParams, State]):
    """Set two thresholds a slot so that rare events are found and sent within an energy budget.

    In each slot M events arrive. A network on the device rates each at up to N exits: below the
    lower threshold it is dropped as a head (common) event, above the upper one it is declared a
    tail (rare) event and offloaded to a server that names its sub-class, in between the next block
    runs. The uplink fades from slot to slot: one offload costs E_off = P D / (B log2(1 + SNR)), at
    most K_max fit in a slot, none meets its deadline in outage.

    **Action**: ``Box(0, 1, (2,))``: the lesser is beta_l, the greater beta_u; (1, 1) sends nothing
    and leaves at exit 1. With ``action_mode="pairs"`` ``Discrete(64)``, see `action_pairs`.

    **Observation**: ``Box(12,)`` in [-1, 1]: channel, budget, time, the last slot; see `Observer`.
    With ``observation="channel"`` the first three.

    **Reward**: tail events found and named right, over M pi, so that its mean is f_acc; with
    ``reward="lagrangian"`` less ``energy_price`` times the energy per event; with ``"utility"``
    less weighted false offloads and missed tails per event. In budget mode ``"slot"`` with ``hard``
    what was found counts only if the pair keeps the budget in expectation.

    **Starting state**: stationary fading and labels, full battery. ``reset(options=...)`` takes
    ``gamma_db``, an SNR held for the episode instead of fading, and ``split``, the part of the
    traces ("calib", "test", "all") for the episode.

    **Episode end**: truncated after 200 slots unless made otherwise; in budget mode ``"battery"``
    terminated when the battery cannot pay exit 1 of all events of a slot.
    """

    params_type = EventOffloadParams
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    scores: ClassVar[tuple[Score, ...]] = SCORES
    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS

    def __init__(
        self,
        params: EventOffloadParams,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, dtype=dtype, device=device, info_level=info_level)
        self.pool = load_pool(params)
        """The events; see `EventPool`. Not to be touched in a step: its arrays are NumPy's, which
        the compiler cannot take."""
        self.link = Link(params)
        """The uplink."""
        self._source: GainSource | None = None
        if params.channel != MODEL:
            self._source = GainSource(params, None, self.dtype, self.device)
        self._bursty = params.labels == "bursty"
        prevalences: tuple[float, ...] = (params.prevalence,)
        if self._bursty:
            prevalences = (params.calm_prevalence, params.burst_prevalence)
        self.bank = EventBank(
            self.pool,
            prevalences,
            server_mode=params.server_mode,
            dtype=self.dtype,
            device=self.device,
        )
        """The events as tensors."""
        self._set_constants(prevalences)
        classes = self.pool.num_classes + 1
        shapes = {"exits": (self.pool.num_exits,), "confusion": (classes, classes)}
        self.metrics = tuple(  # type: ignore[misc]
            m._replace(shape=shapes.get(m.name, ())) for m in type(self).metrics
        )
        has_battery = params.budget_mode == "battery"
        self._observer = Observer(params, self.link, has_battery=has_battery)
        space = self._observer.space
        if params.observation == "channel":
            space = spaces.Box(space.low[:CHANNEL_FEATURES], space.high[:CHANNEL_FEATURES])
        self.observation_space = cast("Any", space)
        box = spaces.Box(0.0, 1.0, (2,), np.float32)
        self.action_space = cast("Any", box)
        if params.action_mode == "pairs":
            self.action_space = cast("Any", spaces.Discrete(self._pairs.shape[0]))
        self._set_draws()

    def _set_constants(self, prevalences: tuple[float, ...]) -> None:
        p, device = self.params, self.device
        self._slot_budget_j = p.num_events * p.budget_j
        self._battery_j = p.horizon_slots * self._slot_budget_j
        self._least_j = p.num_events * p.energy_per_mac_j * float(self.pool.macs[0])
        self._due = p.num_events * p.stationary_prevalence
        self._full_macs = p.num_events * float(self.pool.macs[-1])
        self._prevalences = torch.tensor(prevalences, dtype=self.dtype, device=device)
        self._quantiles = Quantiles(p.num_events, self.dtype, device)
        if p.budget_mode == "slot":
            self._budget = Budget(self.pool, p, self.dtype, device)
        if p.expected:
            self._expectation = Expectation(self.pool, p, self.dtype, device)
            typical = score_quantiles(self.pool, prevalences, QUANTILES)
            self._typical = torch.tensor(typical, dtype=self.dtype, device=device)
        if p.action_mode == "pairs":
            table = table_of(self.pool, DESIGN[p.split], p)
            pairs = action_pairs(table.at(p.stationary_prevalence), p, p.objective)
            self._pairs = torch.from_numpy(pairs).to(device)
        if p.payload == "per_exit":
            bits = torch.tensor(FEATURE_MAP_BITS[p.mac_profile], dtype=self.dtype, device=device)
            self.sizes = bits / p.payload_bits
            """(N,) payload of each exit, in nominal payloads."""

    def _set_draws(self) -> None:
        p = self.params
        closes_here = p.semantics != "detect_then_offload"
        self._draws_local_class = closes_here and self.bank.num_classes > 1
        start: dict[str, tuple[Kind, tuple[int, ...]]] = {"fading": ("cn", ())}
        if self._source is not None:
            start = {"world": ("key", ())}
        if self._bursty:
            start["burst"] = ("uniform", ())
        step = dict(start)
        if not p.expected:
            step["events"] = ("uniform", (p.num_events,))
            if self._draws_local_class:
                step["local_class"] = ("uniform", (p.num_events,))
        self.start_draws = self.draw_table(start)
        self.step_draws = self.draw_table(step)

    # -------------------------------------------------------------------------------------- start

    def start(self, noise: Draws) -> State:
        """First states: stationary fading and labels, nothing spent."""
        p = self.params
        if self._source is None:
            fading = noise["fading"]
        else:
            fading = self._recorded(noise["world"], torch.zeros_like(noise["world"]))
        rows = fading.shape[0]
        snr = p.mean_snr * fading.square().sum(-1)
        zero, one = torch.zeros_like(snr), torch.ones_like(snr)
        burst = (noise["burst"] < p.burst_share).to(snr.dtype) if self._bursty else zero
        confirmed = torch.full_like(snr, p.stationary_prevalence)
        split = torch.full_like(snr, float(SPLITS.index(p.split)))
        columns = [snr, -one, split, burst, zero, zero, zero, zero, confirmed]
        columns += [zero] * (NUM_VITALS - len(columns))
        events = torch.full((rows, p.num_events), -1, device=snr.device)
        return State(fading, torch.stack(columns, 1), events)

    def _recorded(self, key: Tensor, slot: Tensor) -> Tensor:
        """(rows, 2) the gain of a slot of the channel's source."""
        assert self._source is not None
        return as_fading(self._source.at(key, slot).squeeze(-1))

    def with_options(self, state: State, options: Mapping[str, Any]) -> State:
        """First states under options of the reset, see the class and `apply_options`."""
        return state._replace(vitals=apply_options(state.vitals, options))

    # ------------------------------------------------------------------------------------ advance

    def advance(self, state: State, action: Action, noise: Draws) -> tuple[State, Step]:
        """One slot under the action's thresholds."""
        assert isinstance(action, Tensor)
        pair = self._pairs[action] if self.params.action_mode == "pairs" else action
        # Thresholds are float32 whatever the dtype: so are the scores and the tables.
        pair = pair.to(torch.float32)
        low, high = pair.amin(-1), pair.amax(-1)
        channel = self.link.channel(state.snr)
        slot = (
            self._expected_slot(state, channel, low, high)
            if self.params.expected
            else self._sampled_slot(state, channel, low, high, noise)
        )
        energy = self._energy(channel, slot.counts)
        new = self._next(state, slot, energy, low, high, noise)
        return new, self._account(state, new, channel, slot, energy)

    def _sampled_slot(
        self, state: State, channel: Channel, low: Tensor, high: Tensor, noise: Draws
    ) -> _Slot:
        """Events arrive, go through the exits, and are served in order of arrival."""
        p, bank = self.params, self.bank
        events = bank.draw(noise["events"], bank.mix(state.split, state.in_burst))
        scores, traits = bank.look_up(events)
        verdict = run_exits(scores.unbind(0), low.unsqueeze(-1), high.unsqueeze(-1), p.final_rule)
        requests = requests_of(p, verdict)
        macs = bank.macs.index_select(0, verdict.exit.reshape(-1)).reshape(events.shape)
        fit = self._fit(state, channel, p.energy_per_mac_j * macs.sum(-1))
        if p.payload == "per_exit":
            size = self.sizes[verdict.exit]
            deadline = p.deadline_s / channel.airtime_s
            served = serve_by_size(requests.offload, size, fit, deadline)
        else:
            size = None
            served = serve_in_order(requests.offload, fit)
        right = None
        if self._draws_local_class:
            right = noise["local_class"] * self.bank.num_classes < 1.0
        counts = add_up(traits, macs, requests, served, size=size, local_right=right)
        detail: dict[str, Tensor] = {}
        if self.info_level > 0:
            detail = event_details(bank, events, verdict, requests, served, right)
        return _Slot(counts, fit, self._quantiles(scores[0]), events, detail)

    def _fit(self, state: State, channel: Channel, local_j: Tensor) -> Tensor:
        """(rows,) offloads that capacity and battery allow, after the local energy is paid.

        For payloads by exit it is not whole, and counts nominal payloads, also in what would be
        outage for those.
        """
        p = self.params
        is_whole = p.payload == "fixed"
        fit = self.link.room(channel) if is_whole else p.slot_s / channel.airtime_s
        if p.budget_mode == "battery":
            left = (self._battery_j - state.energy_j - local_j).clamp_min(0.0)
            paid = left / channel.offload_j.clamp_min(TINY_J)
            fit = torch.minimum(fit, paid.floor() if is_whole else paid)
        return fit

    def _expected_slot(self, state: State, channel: Channel, low: Tensor, high: Tensor) -> _Slot:
        """The tables' expectations at the nearest grid pair.

        Capacity and battery multiply what is offloaded by the served share. The tables do not know
        the depth of the found tails (that of all tails stands in, for the delay), nor which tails
        the server calls tail (those named right stand in).
        """
        p = self.params
        rates = self._expectation.rates(state.split, low, high)
        state_index = state.in_burst.to(torch.int64)
        pi = self._prevalences[state_index]
        tails, heads = p.num_events * pi, p.num_events * (1.0 - pi)
        macs = tails * rates.mac_tail + heads * rates.mac_head
        requests = tails * rates.off_tail + heads * rates.off_head
        fit = self._fit(state, channel, p.energy_per_mac_j * macs)
        share = self._expectation.served(requests / p.num_events, fit)
        # What is closed on the device needs no uplink.
        closed_tail, closed_head = rates.tpr - rates.off_tail, rates.fpr - rates.off_head
        closed_right = closed_tail / self.bank.num_classes
        tp = tails * (closed_tail + share * rates.off_tail)
        right = tails * (closed_right + share * (rates.acc - closed_right))
        fp = heads * (closed_head + share * rates.off_head)
        fp_final = heads * (closed_head + share * (rates.fpr_final - closed_head))
        closed = tails * closed_tail + heads * closed_head
        called = right + fp_final
        counts = Counts(
            tails=tails,
            requests=requests,
            served=requests * share,
            tp=tp,
            tp_correct=right,
            fp=fp,
            fp_final=fp_final,
            confirmed=(called - closed).clamp_min(0.0),
            called=called,
            load=requests * share,
            tp_load=tails * share * rates.off_tail,
            macs=macs,
            tp_macs=tp * rates.mac_tail,
        )
        detail: dict[str, Tensor] = {}
        if self.info_level > 0:
            rows, classes = tails.shape[0], self.bank.num_classes + 1
            detail["exits"] = tails.new_zeros((rows, self.bank.num_exits))
            detail["confusion"] = tails.new_zeros((rows, classes, classes))
        typical = self._typical[state.split.to(torch.int64), state_index]
        return _Slot(counts, fit, typical, state.events, detail)

    def _energy(self, channel: Channel, counts: Counts) -> _Energy:
        """E_t = sum of kappa c_q + served E_off."""
        local = self.params.energy_per_mac_j * counts.macs
        radio = counts.load * channel.offload_j
        return _Energy(local, radio, local + radio)

    def _next(
        self,
        state: State,
        slot: _Slot,
        energy: _Energy,
        low: Tensor,
        high: Tensor,
        noise: Draws,
    ) -> State:
        """The state after a slot: the channel and the labels go on, the vitals remember it."""
        p, counts = self.params, slot.counts
        if self._source is not None:
            fading = self._recorded(noise["world"], state.slot + 1.0)
        else:
            fading = noise["fading"]
            if p.fading_correlation > 0.0:
                rho = p.fading_correlation
                fading = rho * state.fading + (1.0 - rho * rho) ** 0.5 * fading
        snr = p.mean_snr * fading.square().sum(-1)
        snr = torch.where(state.held_snr < 0.0, snr, state.held_snr)
        burst = state.in_burst
        if self._bursty:
            stays = torch.where(burst > 0.5, 1.0 - p.burst_to_calm, p.calm_to_burst)
            burst = (noise["burst"] < stays).to(snr.dtype)
        spent = (energy.total / self._slot_budget_j).clamp_max(2.0) / 2.0
        share = counts.confirmed / p.num_events
        columns = [
            snr,
            state.held_snr,
            state.split,
            burst,
            state.energy_j + energy.total,
            state.slot + 1.0,
            counts.served / p.num_events,
            counts.macs / self._full_macs,
            (1.0 - EMA) * state.confirmed + EMA * share,
            spent,
            *slot.scores.unbind(-1),
            low,
            high,
            slot.fit,
            state.snr,
        ]
        vitals = torch.stack([c.to(self.dtype) for c in columns], 1)
        return State(fading, vitals, slot.events)

    def _account(
        self, state: State, new: State, channel: Channel, slot: _Slot, energy: _Energy
    ) -> Step:
        """Reward, end and metrics of a slot."""
        p, counts, events = self.params, slot.counts, self.params.num_events
        low, high = new.pair.unbind(-1)
        terminated = torch.zeros_like(channel.is_up)
        due = counts.tails
        if p.budget_mode == "battery":
            terminated = self._battery_j - new.energy_j < self._least_j
            left = (p.horizon_slots - new.slot).clamp_min(0.0)
            due = due + torch.where(terminated, self._due * left, 0.0)
        over = torch.zeros_like(energy.total)
        if p.budget_mode == "slot":
            over = (~self._budget.is_kept(state.split, low, high, channel)).to(self.dtype)
        cost = energy.total / self._slot_budget_j
        delay = counts.tp_macs / p.device_mac_per_s + channel.airtime_s * counts.tp_load
        missed = counts.tails - counts.tp
        metrics = {
            "tp": counts.tp,
            "tp_correct": counts.tp_correct,
            "tp_credited": counts.tp_correct * self._credit(over),
            "fp": counts.fp,
            "fp_final": counts.fp_final,
            "fn": missed,
            "tn": events - counts.tails - counts.fp,
            "tails_due": due,
            "f1_weight": 0.5 * (counts.called + due),
            "n_off": counts.served,
            "dropped": counts.requests - counts.served,
            "energy_j": energy.total,
            "energy_local_j": energy.local,
            "energy_tx_j": energy.radio,
            "cost": cost,
            "cost_offload": counts.served / events,
            "cost_limit": torch.full_like(cost, COST_LIMIT),
            "violation": (cost - COST_LIMIT).clamp_min(0.0),
            "over_budget": over,
            "outage": (~channel.is_up).to(self.dtype),
            "delay_tail_s": delay,
        }
        if self.info_level > 0:
            metrics |= slot.detail | {
                "gamma_db": 10.0 * torch.log10(state.snr),
                "beta_l": low,
                "beta_u": high,
                "mac_mean": counts.macs / events,
                "delay_mean_tail": delay / counts.tp.clamp_min(1e-6),
            }
        return Step(self._reward(counts, energy, missed, over), terminated, metrics)

    def _credit(self, over: Tensor) -> Tensor | float:
        """What a find counts: nothing in a slot that breaks a hard budget, else 1."""
        return 1.0 - over if self.params.budget_mode == "slot" and self.params.hard else 1.0

    def _reward(self, counts: Counts, energy: _Energy, missed: Tensor, over: Tensor) -> Tensor:
        """See the class. A broken budget takes what was found, never a penalty."""
        p = self.params
        found = counts.tp_correct if p.objective == "f_acc" else counts.tp
        reward = found * self._credit(over) / self._due
        if p.reward == "lagrangian":
            reward = reward - (p.energy_price / p.num_events) * energy.total
        elif p.reward == "utility":
            false = (p.false_alarm_weight / p.num_events) * counts.fp
            reward = reward - false - (p.miss_weight / p.num_events) * missed
        return reward

    # ------------------------------------------------------------------------------------- views

    def observe(self, state: State) -> Tensor:
        """(rows, 12) float32, or the first 3 of these; see `Observer`."""
        seen = self._observer(state.vitals)
        return seen if self.params.observation == "full" else seen[:, :CHANNEL_FEATURES]

    def last_energy(self, state: State) -> tuple[float, float]:
        """Local and transmit energy of the last slot of the first row, J, for the picture.

        Their sum ends at twice the budget, as in the observation.
        """
        vitals = state.vitals[0]
        total = 2.0 * self._slot_budget_j * float(vitals[SPENT])
        local = self.params.energy_per_mac_j * self._full_macs * float(vitals[DEPTH])
        return min(local, total), max(total - local, 0.0)

    def draw(self, state: State, row: int, canvas: Canvas) -> None:
        """Paint one row; see `draw_scene`."""
        draw_scene(self, state, row, canvas)
