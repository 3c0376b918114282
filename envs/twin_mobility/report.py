"""What a slot is worth: reward, account, and what an episode remembers for its last slot."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.core.game import GameStep
from sixgym.envs.twin_mobility.account import Bill, News
from sixgym.envs.twin_mobility.cycle import fidelity
from sixgym.envs.twin_mobility.observation import Observer
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.slot import Uplink
from sixgym.envs.twin_mobility.state import DEAD, SyncState
from sixgym.envs.twin_mobility.twin import Tail, deviation, idle_tail


class Events(NamedTuple):
    """What happened in a slot."""

    invalid: Tensor
    """(rows, agents) bool: chose a region out of reach."""
    uplink: Uplink
    bill: Bill
    news: News


class Slot(NamedTuple):
    """A slot, weighed."""

    events: Events
    middle: Tensor
    """(rows, regions) mean deviation over the slot."""
    after: Tensor
    """(rows, regions) deviation at the end, after the updates."""
    took_part: Tensor
    """(rows, agents) bool: the packet delivered is part of an update."""
    credit: Tensor
    """(rows, agents) its share of the decrease of the deviation."""
    all_dead: Tensor
    """(rows,) bool: from the end of this slot."""
    is_last: Tensor
    """(rows,) bool: the slot in which an episode is weighed up."""
    left: Tensor
    """(rows,) slots left before the horizon."""
    tail: Tail
    """Sums over them if nobody moves."""


class Report:
    """Weighs slots; pure.

    Args:
        params: weights and references.
        observer: tells what may be chosen next.
        info_level: of the metrics.
    """

    def __init__(self, params: TwinSyncParams, observer: Observer, info_level: int) -> None:
        p = params
        self.params, self._observer, self._info_level = p, observer, info_level
        weights = (p.mean_weight, p.energy_weight, p.cycle_weight, p.shaping_weight)
        if p.reward_mode == "max_only":
            weights = (0.0, 0.0, 0.0, 0.0)
        self._mean_weight, self._energy_weight, self._cycle_weight, self._shaping = weights

    def weigh(self, state: SyncState, sent: SyncState, new: SyncState, events: Events) -> Slot:
        """What the slot did to the deviations, and who had a part in it.

        Args:
            state: at the slot's beginning.
            sent: the agents with the samples that they held as they transmitted.
            new: at the slot's end.
            events: of the slot.
        """
        p, news = self.params, events.news
        age = (state.slot * p.slot_s).unsqueeze(-1) + 0.5 * p.slot_s - state.twin_stamp
        middle = deviation(state.drift, age, state.twin_info, p)
        after = torch.where(news.accepted, news.fusion.value, news.before)
        fresh = sent.stamp.unsqueeze(1) >= news.fusion.stamp.unsqueeze(-1)
        part = news.arrived & news.accepted.unsqueeze(-1) & fresh
        tiny = torch.finfo(after.dtype).tiny
        gain = (news.before - after) / news.fusion.info.clamp_min(tiny)
        credit = torch.where(part, gain.unsqueeze(-1), 0.0).sum(1) * sent.info
        left = (p.horizon_slots - new.slot).clamp_min(0.0)
        start = (new.slot * p.slot_s).unsqueeze(-1) - new.twin_stamp
        tail = idle_tail(start, new.twin_info, new.drift, left, p, p.slot_s)
        all_dead = (new.stage == DEAD).all(-1)
        is_last = all_dead | (new.slot == p.horizon_slots)
        return Slot(events, middle, after, part.any(1), credit, all_dead, is_last, left, tail)

    def remember(self, state: SyncState, new: SyncState, slot: Slot) -> SyncState:
        """Peaks, areas, and what agents heard of the ages when they delivered."""
        p = self.params
        now = (new.slot * p.slot_s).unsqueeze(-1)
        age = now - state.twin_stamp
        peak = torch.stack([slot.events.news.before.amax(-1), age.amax(-1)], -1)
        if p.obs_noise_age:
            told = torch.stack([now - new.twin_stamp, slot.after], 1).unsqueeze(2)
            heard = slot.events.uplink.delivered[:, None, :, None]
            new = new._replace(known=torch.where(heard, told, new.known))
        return new._replace(peak=torch.maximum(new.peak, peak), area=new.area + slot.middle)

    # ------------------------------------------------------------------------------- the reward

    def _cost(self, largest: Tensor, mean: Tensor) -> Tensor:
        """The stage cost of a largest and a mean deviation, over its reference."""
        weight = self._mean_weight
        return ((1.0 - weight) * largest + weight * mean) / self.params.deviation_ref

    def _terms(self, state: SyncState, slot: Slot) -> dict[str, Tensor]:
        """The terms of the team's reward, (rows,) each."""
        p, bill = self.params, slot.events.bill
        tail = self._cost(slot.tail.largest, slot.tail.each.mean(-1))
        energy = bill.energy_j.mean(-1) / p.energy_ref_j
        shaping = torch.zeros_like(tail)
        if self._shaping > 0.0:
            now = self._observer.ages(state)[1].amax(-1)
            later = torch.where(slot.all_dead, 0.0, slot.after.amax(-1))
            rise = p.shaping_discount * later - now
            shaping = -self._shaping * rise / p.deviation_ref
        return {
            "loss_deviation": -self._cost(slot.middle.amax(-1), slot.middle.mean(-1)),
            "loss_energy": -self._energy_weight * energy,
            "loss_budget": -self._cycle_weight * bill.over_budget.mean(-1),
            "shaping": shaping,
            "closing": torch.where(slot.all_dead, -tail, 0.0),
        }

    def _pay(self, state: SyncState, slot: Slot, terms: dict[str, Tensor]) -> Tensor:
        """(rows, agents) reward of each."""
        p = self.params
        own = sum(terms[k] for k in terms if k != "closing")
        assert isinstance(own, Tensor)
        pay = own.unsqueeze(-1).expand_as(slot.credit)
        closing = terms["closing"].unsqueeze(-1)
        if p.death_mode == "remove":
            tail = self._cost(slot.tail.largest, slot.tail.each.mean(-1)).unsqueeze(-1)
            closing = torch.where(slot.events.bill.dies, -tail, 0.0)
        pay = pay + closing
        if p.reward_mode == "credit":
            pay = pay + p.credit_weight / p.deviation_ref * slot.credit
        if p.death_mode == "remove":
            pay = torch.where(state.stage == DEAD, 0.0, pay)
        return pay

    # ------------------------------------------------------------------------------- the account

    def step(self, state: SyncState, new: SyncState, slot: Slot) -> GameStep:
        """Rewards, ends and metrics of a slot.

        Args:
            state: at its beginning.
            new: at its end.
            slot: as `weigh` gave it.
        """
        terms = self._terms(state, slot)
        metrics = terms | self._of_team(state, new, slot) | self._of_each(new, slot)
        total = sum(terms.values())
        assert isinstance(total, Tensor)
        metrics["team_reward"] = total
        return GameStep(self._pay(state, slot, terms), slot.all_dead, metrics)

    def _of_team(self, state: SyncState, new: SyncState, slot: Slot) -> dict[str, Tensor]:
        """Sums of a slot, closed where all are dead, and what its last slot tells of an episode."""
        p, (_, uplink, bill, news) = self.params, slot.events
        kind = slot.middle.dtype
        left = torch.where(slot.all_dead, slot.left, 0.0)
        now = (state.slot * p.slot_s).unsqueeze(-1)
        age = (now + 0.5 * p.slot_s - state.twin_stamp).mean(-1)
        later = (now + p.slot_s - new.twin_stamp).mean(-1) + 0.5 * p.slot_s * left
        largest = slot.middle.amax(-1)
        mean = slot.middle.mean(-1)
        tail_largest = torch.where(slot.all_dead, slot.tail.largest, 0.0)
        tail_each = torch.where(slot.all_dead.unsqueeze(-1), slot.tail.each, 0.0)
        accepted = news.accepted.to(kind)
        known = torch.where(news.accepted, fidelity(news.fusion.info), 0.0)
        short = (news.arrived & ~news.fusion.is_possible.unsqueeze(-1)).to(kind)
        by_stage = new.slot_j.sum(1)
        alive = (state.stage != DEAD).all(-1).to(kind)
        area = new.area + tail_each
        return {
            "max_deviation": largest + tail_largest,
            "mean_deviation": mean + tail_each.mean(-1),
            "mean_age": age + left * later,
            "slots": 1.0 + left,
            "energy_j": bill.energy_j.sum(-1),
            "energy_motion_j": by_stage[:, 0] + by_stage[:, 3],
            "energy_sense_j": by_stage[:, 1],
            "energy_process_j": by_stage[:, 2],
            "energy_send_j": by_stage[:, 4],
            "delivered": uplink.delivered.to(kind).sum(-1),
            "accepted": accepted.sum(-1),
            "short": short.sum((1, 2)),
            "update_deviation": (accepted * news.before).sum(-1),
            "update_fidelity": known.sum(-1),
            "cost_energy": bill.over_budget.sum(-1),
            "over_budget": (bill.over_budget > 0.0).to(kind).sum(-1),
            "deaths": bill.dies.to(kind).sum(-1),
            "all_alive_s": p.slot_s * alive,
            "band_use": uplink.bits.sum(-1) / (p.bandwidth_hz * p.slot_s),
            "invalid": slot.events.invalid.to(kind).sum(-1),
            **self._at_last(new, slot, area, left),
            "t": new.slot * p.slot_s,
            "max_dev": slot.after.amax(-1),
            "dev": slot.after,
            "aoi": (new.slot * p.slot_s).unsqueeze(-1) - new.twin_stamp,
        }

    def _at_last(self, new: SyncState, slot: Slot, area: Tensor, left: Tensor) -> dict[str, Tensor]:
        """Peaks and fairness, in the last slot; 0 before."""
        p = self.params
        end = (left + new.slot).unsqueeze(-1) * p.slot_s - new.twin_stamp
        final = deviation(new.drift, end, new.twin_info, p).amax(-1)
        highest = torch.where(left > 0.0, torch.maximum(new.peak[:, 0], final), new.peak[:, 0])
        oldest = torch.where(
            left > 0.0, torch.maximum(new.peak[:, 1], end.amax(-1)), new.peak[:, 1]
        )
        tiny = torch.finfo(area.dtype).tiny
        total = area.sum(-1).square() / p.num_regions
        fair = total / area.square().sum(-1).clamp_min(tiny)
        told = {"peak_deviation": highest, "peak_age": oldest, "jain": fair}
        return {name: torch.where(slot.is_last, value, 0.0) for name, value in told.items()}

    def _of_each(self, new: SyncState, slot: Slot) -> dict[str, Tensor]:
        """Metrics with an axis of agents."""
        invalid, uplink, bill, _ = slot.events
        kind = slot.middle.dtype
        regions, components = self._observer.masks(new)
        metrics = {
            "energy": new.slot_j,
            "region_mask": regions,
            "component_mask": components,
            "agent_delivered": uplink.delivered.to(kind),
            "agent_accepted": slot.took_part.to(kind),
            "agent_cost_energy": bill.over_budget,
            "agent_invalid": invalid.to(kind),
        }
        if self.params.twin_mode == "sampled":
            metrics["squared_error"] = (new.process[:, 0] - new.process[:, 1]).square()
        if self._info_level > 0:
            metrics |= {"agent_credit": slot.credit, "agent_bits": uplink.bits}
        return metrics
