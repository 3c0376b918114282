"""The per-exit system: at every exit of every event decide whether to drop, go deeper or send."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.core.sources import MODEL
from sixgym.envs.core.system import Action, Metric, Score, Step, System
from sixgym.envs.event_offload.bank import CONFIRMED, CORRECT, TAIL, EventBank
from sixgym.envs.event_offload.exit_params import EventOffloadExitParams
from sixgym.envs.event_offload.link import Link
from sixgym.envs.event_offload.options import RESET_OPTIONS, apply_options
from sixgym.envs.event_offload.scores import load_pool
from sixgym.envs.event_offload.sources import GainSource, as_fading
from sixgym.envs.event_offload.state import BURST, ENERGY, HELD, SLOT, SNR, SPLIT, SPLITS

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

HEAD, CONTINUE, OFFLOAD = range(3)
"""The actions: exit as head, run the next block, send to the server."""
EXIT_FEATURES = 8
"""Numbers of an observation beside the one-hot exit."""
LOGIT_SCALE = 10.0
OBSERVATION_BOUND = 1.5
"""Logits of scores in [1e-6, 1 - 1e-6] over 10 reach 1.38."""
_DECADE = 1.0 / math.log(10.0)

EVENT, EXIT, SERVED = range(SLOT + 1, SLOT + 4)
"""Columns of `ExitState.vitals` after the first six of `State.vitals`."""
NUM_EXIT_VITALS = SLOT + 4


class ExitState(NamedTuple):
    """State of a batch of rows of `sixgym/EventOffloadExit-v0`."""

    key: Tensor
    """(rows,) int64 key of the episode: the world goes by slots and events, not by steps."""
    fading: Tensor
    """(rows, 2) complex gain h of this slot, re and im, E|h|^2 = 1."""
    sample: Tensor
    """(rows,) int64 row of the event bank: the event being decided."""
    vitals: Tensor
    """(rows, 9): SNR of this slot (linear), SNR held by an option of the reset (-1 where it fades),
    part of the traces (index of `SPLITS`), 1 in the burst state of the labels, energy spent in the
    episode (J), slot, event of the slot, exit (0-based), events offloaded in this slot."""

    @property
    def snr(self) -> Tensor:
        """(rows,) received SNR of this slot, linear."""
        return self.vitals[:, SNR]

    @property
    def energy_j(self) -> Tensor:
        """(rows,) energy spent in this episode, J."""
        return self.vitals[:, ENERGY]

    @property
    def slot(self) -> Tensor:
        """(rows,) slot of the episode, 0 first."""
        return self.vitals[:, SLOT]

    @property
    def event(self) -> Tensor:
        """(rows,) event of the slot, 0 first."""
        return self.vitals[:, EVENT]

    @property
    def exit(self) -> Tensor:
        """(rows,) int64 exit at which is decided, 0-based."""
        return self.vitals[:, EXIT].to(torch.int64)

    @property
    def served(self) -> Tensor:
        """(rows,) events offloaded in this slot."""
        return self.vitals[:, SERVED]


class EventOffloadExit(System[EventOffloadExitParams, ExitState]):
    r"""Event-triggered offloading decided event by event and exit by exit.

    The same worlds as `sixgym/EventOffload-v0`: an episode of a seed meets the same events over the
    same channel. But instead of two thresholds for a slot the agent sees one event's score after
    another. A pair of thresholds is a special case (continue while
    :math:`\beta_l \le C_n \le \beta_u`), and so is a pair for every exit, which is the form of the
    optimal rule [derived, standard: Wald].

    **Action**: ``Discrete(3)``: 0 exit as head, 1 run the next block, 2 offload to the server. The
    mask forbids 1 at the last exit and 2 in outage or when the slot's capacity is used up; in
    budget mode battery also what the battery cannot pay. A forbidden action counts as 0 and is
    reported as ``info["invalid"]``.

    **Observation**: ``Box(-1.5, 1.5, (N + 8,), float32)``: one-hot exit; the logits over 10 of the
    score at this exit, of the largest so far, and of the one before (0 at the first exit); SNR in
    dB over 30, ``log10(E_off / xi) / 2`` (1 in outage), battery left (or mean energy so far over
    xi, at most 1), share of the slots left; share of the slot's events left, this one included.

    **Reward**: 1/pi for an offloaded tail that the server names right, less ``energy_price`` times
    the energy of the step in J. The first step of an event pays block 1, continuing pays the next
    block, offloading pays the radio.

    **Starting state**: the first event of the first slot at its first exit. ``reset(options=...)``
    as of `sixgym/EventOffload-v0`.

    **Episode end**: after T M events the episode has *terminated* (it is long by events, not by
    steps; the observation tells how much is left). With a battery also when the next event's first
    block cannot be paid.
    """

    params_type = EventOffloadExitParams
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("events", "1", "Events finished."),
        Metric(
            "tails_due",
            "1",
            "Tail events finished; in the step in which a battery ends the episode, with those "
            "expected in the events left, so that an early end is no gain.",
        ),
        Metric("tp", "1", "Tail events offloaded."),
        Metric("tp_correct", "1", "Tail events offloaded and named right."),
        Metric("fp", "1", "Head events offloaded."),
        Metric("fp_final", "1", "Head events that the server called tail."),
        Metric("n_off", "1", "Events offloaded."),
        Metric("mac", "1", "Multiply-accumulates run."),
        Metric("energy_local_j", "J", "Energy of local blocks."),
        Metric("energy_tx_j", "J", "Energy of offloading."),
        Metric("energy_j", "J", "All energy of the step."),
        Metric("cost", "1", "Energy over T M xi: an episode within budget sums to at most 1."),
        Metric("cost_limit", "1", "Limit of the sum of `cost` over an episode: 1."),
        Metric("invalid", "1", "1 where the action was forbidden and counted as 0."),
        Metric("snr_db", "dB", "SNR of the slot in which was decided.", 1),
        Metric("exit", "1", "Exit at which was decided, 0-based.", 1),
        Metric("score", "1", "Tail confidence at that exit.", 1),
    )
    scores: ClassVar[tuple[Score, ...]] = (
        # First the objective itself: without a limit on energy, to offload all has the best f_acc.
        Score(
            "return",
            "1",
            "reward",
            description="Tails named right over pi, less the priced energy: T M times the J of an "
            "event.",
        ),
        Score("f_acc", "1", "tp_correct", "tails_due", description="Tails found and named right."),
        Score("recall", "1", "tp", "tails_due"),
        Score("offload_share", "1", "n_off", "events", higher_is_better=False),
        Score("energy_per_event_j", "J", "energy_j", "events", higher_is_better=False),
        Score("cost", "1", "cost", higher_is_better=False, budget=1.0),
        Score("mac_per_event", "1", "mac", "events", higher_is_better=False),
        Score("invalid_share", "1", "invalid", "steps", higher_is_better=False),
    )

    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS

    def __init__(
        self,
        params: EventOffloadExitParams,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, dtype=dtype, device=device, info_level=info_level)
        pool = load_pool(params)
        is_bursty = params.labels == "bursty"
        prevalences = (params.calm_prevalence, params.burst_prevalence)
        self.bank = EventBank(
            pool,
            prevalences if is_bursty else (params.prevalence,),
            server_mode=params.server_mode,
            dtype=dtype,
            device=device,
        )
        self.link = Link(params)
        self._source: GainSource | None = None
        if params.channel != MODEL:
            self._source = GainSource(params, None, self.dtype, self.device)
        self._is_bursty = is_bursty
        self._has_battery = params.budget_mode == "battery"
        exits = self.num_exits = pool.num_exits
        blocks = np.diff(pool.macs, prepend=0.0)
        # Place n: what running block n + 1 costs when continuing from exit n; nothing at the last.
        following = np.append(blocks[1:], 0.0)
        self._next_mac = torch.tensor(following, dtype=dtype, device=device)
        self.block_j = params.energy_per_mac_j * self._next_mac
        """(N,) energy of the block that follows each exit, J; 0 after the last."""
        self._first_mac = float(blocks[0])
        self._first_j = params.energy_per_mac_j * self._first_mac
        self._total_j = params.horizon_slots * params.num_events * params.budget_j
        self._worth = 1.0 / params.stationary_prevalence
        self._gained = CORRECT if params.objective == "f_acc" else TAIL
        self._features = _score_features(pool_conf=self.bank.conf)
        self._exits = torch.arange(exits, device=device)
        size = (exits + EXIT_FEATURES,)
        self.observation_space = cast(
            "Any", spaces.Box(-OBSERVATION_BOUND, OBSERVATION_BOUND, size, np.float32)
        )
        self.action_space = cast("Any", spaces.Discrete(3))
        self.start_draws = self.draw_table({"world": ("key", ())})
        self.step_draws = self.draw_table({})
        self._event_draws = self.draw_table({"events": ("uniform", (params.num_events,))})
        drawn: dict[str, tuple[Kind, tuple[int, ...]]] = {"burst": ("uniform", ())}
        if self._source is None:
            drawn["fading"] = ("cn", ())
        self._slot_draws = self.draw_table(drawn)

    # ------------------------------------------------------------------------------- the world

    def start(self, noise: Draws) -> ExitState:
        """First states: stationary channel and labels, the first event at its first exit."""
        key = noise["world"]
        first = torch.zeros_like(key)
        drawn = self._slot_draws.draw(key, first)
        fading = drawn["fading"] if self._source is None else self._recorded(key, first)
        burst = (drawn["burst"] < self.params.burst_share).to(self.dtype) * self._is_bursty
        zero = torch.zeros_like(burst)
        split = torch.full_like(burst, float(SPLITS.index(self.params.split)))
        columns = [self._snr(fading), zero - 1.0, split, burst]
        vitals = torch.stack([*columns, *[zero] * (NUM_EXIT_VITALS - len(columns))], 1)
        return ExitState(key, fading, self._event(key, vitals), vitals)

    def with_options(self, state: ExitState, options: Mapping[str, Any]) -> ExitState:
        """First states under options of the reset; see `apply_options`."""
        vitals = apply_options(state.vitals, options)
        return state._replace(vitals=vitals, sample=self._event(state.key, vitals))

    def _snr(self, fading: Tensor) -> Tensor:
        mean = self.params.mean_snr
        if self.params.fading == "none":
            return torch.full_like(fading[:, 0], mean)
        return mean * fading.square().sum(-1)

    def _recorded(self, key: Tensor, slot: Tensor) -> Tensor:
        """(rows, 2) the gain of a slot of the channel's source."""
        assert self._source is not None
        return as_fading(self._source.at(key, slot).squeeze(-1))

    def _event(self, key: Tensor, vitals: Tensor) -> Tensor:
        """(rows,) int64 the event that stands at the slot and place in the vitals."""
        slot, event = vitals[:, SLOT].to(torch.int64), vitals[:, EVENT].to(torch.int64)
        uniform = self._event_draws.draw_element("events", key, slot + 1, event)
        mix = self.bank.mix(vitals[:, SPLIT], vitals[:, BURST])
        return self.bank.draw(uniform.unsqueeze(-1), mix).squeeze(-1)

    def _next_slot(self, state: ExitState, slot: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and burst state one slot on; ``slot`` is its index, (rows,) int64."""
        p = self.params
        drawn = self._slot_draws.draw(state.key, slot)
        if self._source is not None:
            fading = self._recorded(state.key, slot)
        else:
            fading = drawn["fading"]
            if p.fading_correlation > 0.0:
                rho = p.fading_correlation
                fading = rho * state.fading + math.sqrt(1.0 - rho * rho) * fading
        burst = state.vitals[:, BURST]
        if self._is_bursty:
            stays = torch.where(burst > 0.0, 1.0 - p.burst_to_calm, p.calm_to_burst)
            burst = (drawn["burst"] < stays).to(self.dtype)
        return fading, burst

    # -------------------------------------------------------------------------------- one step

    def advance(self, state: ExitState, action: Action, noise: Draws) -> tuple[ExitState, Step]:
        """One decision of every row."""
        p = self.params
        wanted = cast("Tensor", action)
        allowed = self.action_mask(state).gather(1, wanted.unsqueeze(1)).squeeze(1)
        goes_on, sends = (wanted == CONTINUE) & allowed, (wanted == OFFLOAD) & allowed
        exit, done = state.exit, ~goes_on
        sent, finished = sends.to(self.dtype), done.to(self.dtype)

        first = (exit == 0).to(self.dtype)
        mac = first * self._first_mac + torch.where(goes_on, self._next_mac[exit], 0.0)
        local = p.energy_per_mac_j * mac
        radio = torch.where(sends, self.link.offload_energy_j(state.snr), 0.0)
        energy = local + radio
        traits = self.bank.traits[state.sample]
        reward = self._worth * sent * traits[:, self._gained] - p.energy_price * energy

        new = self._move(state, done, sent, energy)
        terminated = new.slot >= p.horizon_slots
        metrics = self._account(traits, sent, finished, mac, local, radio)
        if self._has_battery:
            empty = done & (self._left_j(new) < self._first_j)
            left = (p.horizon_slots - new.slot) * p.num_events - new.event
            due = torch.where(empty, left * p.stationary_prevalence, 0.0)
            metrics["tails_due"] = metrics["tails_due"] + due
            terminated = terminated | empty
        metrics["invalid"] = (~allowed).to(self.dtype)
        if self.info_level > 0:
            metrics["snr_db"] = 10.0 * state.snr.clamp_min(1e-12).log10()
            metrics["exit"] = exit.to(self.dtype)
            metrics["score"] = self.bank.conf[state.sample, exit].to(self.dtype)
        return new, Step(reward, terminated, metrics)

    def _move(self, state: ExitState, done: Tensor, sent: Tensor, energy: Tensor) -> ExitState:
        """The next exit, event or slot."""
        finished = done.to(self.dtype)
        count = state.event + finished
        turned = count >= self.params.num_events
        slot = state.slot + turned.to(self.dtype)
        fading, burst = self._next_slot(state, slot.to(torch.int64))
        gain = torch.where(turned.unsqueeze(-1), fading, state.fading)
        held = state.vitals[:, HELD]
        columns = [
            torch.where(turned & (held < 0.0), self._snr(fading), state.snr),
            held,
            state.vitals[:, SPLIT],
            torch.where(turned, burst, state.vitals[:, BURST]),
            state.energy_j + energy,
            slot,
            torch.where(turned, 0.0, count),
            torch.where(done, 0.0, state.vitals[:, EXIT] + 1.0),
            torch.where(turned, 0.0, state.served + sent),
        ]
        vitals = torch.stack(columns, 1)
        sample = torch.where(done, self._event(state.key, vitals), state.sample)
        return ExitState(state.key, gain, sample, vitals)

    def _account(
        self,
        traits: Tensor,
        sent: Tensor,
        finished: Tensor,
        mac: Tensor,
        local: Tensor,
        radio: Tensor,
    ) -> dict[str, Tensor]:
        """The level-0 metrics but ``invalid``."""
        tail = traits[:, TAIL]
        energy = local + radio
        return {
            "events": finished,
            "tails_due": finished * tail,
            "tp": sent * tail,
            "tp_correct": sent * traits[:, CORRECT],
            "fp": sent * (1.0 - tail),
            "fp_final": sent * (1.0 - tail) * traits[:, CONFIRMED],
            "n_off": sent,
            "mac": mac,
            "energy_local_j": local,
            "energy_tx_j": radio,
            "energy_j": energy,
            "cost": energy / self._total_j,
            "cost_limit": torch.ones_like(energy),
        }

    def _left_j(self, state: ExitState) -> Tensor:
        """(rows,) what the battery holds, J."""
        return self._total_j - state.energy_j

    def action_mask(self, state: ExitState) -> Tensor:
        """(rows, 3) bool; see the class."""
        exit = state.exit
        goes_on = exit < self.num_exits - 1
        sends = state.served < self.link.capacity(state.snr)
        if self._has_battery:
            left = self._left_j(state) - (exit == 0).to(self.dtype) * self._first_j
            goes_on = goes_on & (self.block_j[exit] <= left)
            sends = sends & (self.link.offload_energy_j(state.snr) <= left)
        return torch.stack([torch.ones_like(sends), goes_on, sends], 1)

    # ------------------------------------------------------------------------------ what is seen

    def observe(self, state: ExitState) -> Tensor:
        """(rows, N + 8) float32; see the class."""
        p, exit, snr = self.params, state.exit, state.snr
        score = self._features[state.sample, exit]
        up = self.link.is_up(snr)
        price = self.link.offload_energy_j(snr).log() - math.log(p.budget_j)
        price = torch.where(up, (price * (0.5 * _DECADE)).clamp(-1.0, 1.0), 1.0)
        if self._has_battery:
            left = self._left_j(state) / self._total_j
        else:
            begun = state.slot * p.num_events + state.event + (exit > 0).to(self.dtype)
            left = state.energy_j / (begun.clamp_min(1.0) * p.budget_j)
        columns = [
            (snr.clamp_min(1e-6).log() * (10.0 * _DECADE / 30.0)).clamp(-1.0, 1.0),
            price,
            left.clamp(0.0, 1.0),
            (1.0 - state.slot / p.horizon_slots).clamp_min(0.0),
            1.0 - state.event / p.num_events,
        ]
        place = (exit.unsqueeze(-1) == self._exits).to(torch.float32)
        return torch.cat([place, score, torch.stack(columns, 1).to(torch.float32)], 1)

    def draw(self, state: ExitState, row: int, canvas: Canvas) -> None:
        """Paint one row."""
        from sixgym.envs.event_offload.exit_scene import draw_exit_scene

        draw_exit_scene(self, state, row, canvas)


def _score_features(pool_conf: Tensor) -> Tensor:
    """(n, N, 3) float32: logits over 10 of the score, of the largest so far, of the one before."""
    score = pool_conf.to(torch.float64)
    logit = (score.log() - torch.log1p(-score)) / LOGIT_SCALE
    before = torch.cat([torch.zeros_like(logit[:, :1]), logit[:, :-1]], 1)
    return torch.stack([logit, logit.cummax(1).values, before], -1).to(torch.float32)
