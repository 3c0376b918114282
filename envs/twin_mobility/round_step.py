"""One synchronisation round: five stages in closed form, then what they do to the twins."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.backend.mobility import Motion
from sixgym.envs.twin_mobility import geometry, link
from sixgym.envs.twin_mobility.actions import Decision, Resources, resources
from sixgym.envs.twin_mobility.cycle import Cycle, cycle
from sixgym.envs.twin_mobility.round_integral import Twins
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.envs.twin_mobility.round_state import RoundState
from sixgym.envs.twin_mobility.slot import own_region
from sixgym.envs.twin_mobility.state import NOWHERE
from sixgym.envs.twin_mobility.twin import deviation

LEAST_RATE_BPS = 1e-6
"""Rate below which an uplink does not fall, so that times and energies stay finite."""


class Cycles(NamedTuple):
    """What the agents do in a round, (rows, agents) unless said; of who stays 0."""

    target: Tensor
    """int64: region, or `NOWHERE`."""
    goes: Tensor
    """bool."""
    can: Resources
    sensed_at: Tensor
    """(rows, agents, 2) m; the place of who stays."""
    end: Tensor
    """(rows, agents, 2) m: where they transmit, and stay."""
    band_hz: Tensor
    stage_s: Tensor
    """(rows, agents, 5)."""
    stage_j: Tensor
    """(rows, agents, 5) what was asked for, before the battery is asked."""
    time_s: Tensor
    """T_n."""
    energy_j: Tensor
    """E_n, before the battery is asked."""
    information: Tensor
    sent_bits: Tensor


class Bill(NamedTuple):
    """What the round costs the agents, (rows, agents) unless said."""

    delivers: Tensor
    """bool: within battery and, where it is hard, the budget of the cycle."""
    dies: Tensor
    """bool: the battery goes empty."""
    battery_j: Tensor
    """Left."""
    stage_j: Tensor
    """(rows, agents, 5) spent, at most the battery together."""
    over_budget: Tensor
    """max(0, E_n / budget - 1)."""


class Refresh(NamedTuple):
    """What the round does to the twins, (rows, regions) unless said."""

    refreshed: Tensor
    """bool: the information that came is enough."""
    information: Tensor
    """Sum of what came, nat."""
    at_s: Tensor
    """T_r, time since the round's beginning of a refresh; infinity without."""
    stamp_s: Tensor
    """Time since the round's beginning that a refresh is of; infinity without."""
    length_s: Tensor
    """(rows,) of the round."""
    score: Tensor
    before: Twins
    after: Twins
    """As `round_integral.over_round` takes them."""


class RoundKernel:
    """Plays a round; pure.

    Args:
        params: prices and constants.
        dtype: of the physics.
        device: of the state.
    """

    def __init__(self, params: TwinRoundParams, dtype: torch.dtype, device: torch.device) -> None:
        self.params = params
        self.station = torch.tensor(params.bs_xy_m, dtype=dtype, device=device)
        motion: Motion = params.motion
        best = torch.tensor(params.best_speed_mps, dtype=torch.float64)
        self.least_j_per_m = float(motion.energy_per_metre(best))
        """Energy of a metre at the cheapest speed within the bounds, J/m."""
        self._regions = torch.arange(params.num_regions, device=device).unsqueeze(-1)

    # ------------------------------------------------------------------------------- agents

    def ways(self, state: RoundState) -> Tensor:
        """(rows, agents, regions) way to sense, m."""
        return geometry.move_to_sense_m(
            state.position.unsqueeze(2), state.centre.unsqueeze(1), self.params.sensing_radius_m
        )

    def can_reach(self, state: RoundState) -> Tensor:
        """(rows, agents, regions) bool: the battery pays the way to sense at the cheapest speed.

        Of an agent whose battery is empty none.
        """
        battery = state.battery_j.unsqueeze(-1)
        return (battery > 0.0) & (battery >= self.least_j_per_m * self.ways(state))

    def path_gain(self, ground_m: Tensor) -> Tensor:
        """Large-scale power gain at a distance from the station's ground point, its shape.

        In double precision: the last bit of torch's float32 power depends on how many are taken at
        once, hence on how many rows are reset.
        """
        p = self.params
        slant = geometry.slant_distance(ground_m, p.bs_height_m)
        return link.gain(slant.double(), p.gain_1m, p.path_loss_exponent).to(ground_m.dtype)

    def gain_factor(self, state: RoundState) -> Tensor | None:
        """(rows, agents, regions) fading times shadowing of the round; None without either."""
        p = self.params
        shadow = state.shadow if p.shadowing_db > 0.0 else None
        if p.fading == "none":
            return shadow
        fading = state.fading.unsqueeze(-1)
        return fading.expand_as(state.kappa) if shadow is None else fading * shadow

    def cycles(self, state: RoundState, decision: Decision, allowed: Tensor) -> Cycles:
        """All five stages of all agents. [stages: paper; formulas: ours, notes].

        Args:
            state: at the round's beginning.
            decision: of all agents.
            allowed: (rows, agents) bool: whether the choice of an agent counts; else it stays.
        """
        p = self.params
        goes = (decision.region > 0) & allowed
        region = (decision.region - 1).clamp_min(0)
        can = resources(decision.level, state.cpu_max, p)
        centre = state.centre.gather(1, region.unsqueeze(-1).expand(-1, -1, 2))
        point = geometry.sensing_point(state.position, centre, p.sensing_radius_m)
        move = geometry.move_to_sense_m(state.position, centre, p.sensing_radius_m)
        ground = geometry.ground_distance(point, self.station)
        approach = geometry.approach_m(ground, can.approach, p.approach_limit_m)
        end = geometry.towards(point, self.station, approach, ground)
        asked = torch.where(goes, can.weight, 0.0)
        total = asked.sum(-1, keepdim=True)
        band = p.bandwidth_hz * asked / torch.where(total > 0.0, total, 1.0)
        gain = self.path_gain(ground - approach)
        factor = self.gain_factor(state)
        if factor is not None:
            gain = gain * own_region(factor, region)
        rate = link.rate_bps(band, can.power_w, gain, p.noise_w_per_hz, p.se_max)
        whole = cycle(
            p,
            move_m=move,
            approach_m=approach,
            speed_mps=can.speed_mps,
            sensing_s=can.sensing_s,
            cpu_flops=can.cpu_flops,
            compression=can.compression,
            power_w=can.power_w,
            rate_bps=rate.clamp_min(LEAST_RATE_BPS),
            kappa=own_region(state.kappa, region),
            drawn_bits=state.drawn_bits if p.raw_mode == "fixed" else None,
        )
        return self._of_those_who_go(state, goes, region, can, point, end, band, whole)

    def _of_those_who_go(
        self,
        state: RoundState,
        goes: Tensor,
        region: Tensor,
        can: Resources,
        point: Tensor,
        end: Tensor,
        band: Tensor,
        whole: Cycle,
    ) -> Cycles:
        def or_zero(values: Tensor) -> Tensor:
            mask = goes if values.dim() == 2 else goes.unsqueeze(-1)
            return torch.where(mask, values, 0.0)

        def or_here(place: Tensor) -> Tensor:
            return torch.where(goes.unsqueeze(-1), place, state.position)

        stage_j = or_zero(whole.energy_j)
        return Cycles(
            torch.where(goes, region, NOWHERE),
            goes,
            can,
            or_here(point),
            or_here(end),
            band,
            or_zero(whole.time_s),
            stage_j,
            or_zero(whole.duration_s(overlap=self.params.overlap_proc_move)),
            sum_stages(stage_j),
            or_zero(whole.information),
            or_zero(whole.sent_bits),
        )

    def settle(self, state: RoundState, cycles: Cycles) -> Bill:
        """Charge the batteries, and see who delivers.

        Whose battery does not cover its cycle delivers nothing, spends all it has, and is dead.
        """
        p = self.params
        asked, battery = cycles.energy_j, state.battery_j
        dies = cycles.goes & (asked >= battery)
        delivers = cycles.goes & (asked <= battery)
        if p.is_hard:
            delivers = delivers & (asked <= p.cycle_energy_j)
        tiny = torch.finfo(asked.dtype).tiny
        share = torch.where(dies, battery / asked.clamp_min(tiny), 1.0)
        return Bill(
            delivers,
            dies,
            torch.where(dies, 0.0, battery - asked),
            cycles.stage_j * share.unsqueeze(-1),
            (asked / p.cycle_energy_j - 1.0).clamp_min(0.0),
        )

    # ------------------------------------------------------------------------------- twins

    def refresh(self, state: RoundState, cycles: Cycles, delivers: Tensor) -> Refresh:
        """What is delivered, region by region. [objective: paper; formulas: ours].

        A region is refreshed when its last agent has delivered, if all of them together carry the
        required information, even if its deviation grows; with the time stamp of the first who
        finished sensing.

        Args:
            state: at the round's beginning.
            cycles: of the agents.
            delivers: (rows, agents) bool.
        """
        p = self.params
        serves = (cycles.target.unsqueeze(1) == self._regions) & delivers.unsqueeze(1)
        information = torch.where(serves, cycles.information.unsqueeze(1), 0.0).sum(-1)
        refreshed = serves.any(-1) & (information >= state.theta)
        last = torch.where(serves, cycles.time_s.unsqueeze(1), 0.0).amax(-1)
        sensed = cycles.stage_s[..., 0] + cycles.stage_s[..., 1]
        first = torch.where(serves, sensed.unsqueeze(1), math.inf).amin(-1)
        length = last.amax(-1).clamp_min(p.round_min_s)
        served = deviation(state.drift, state.age_s + last, information, p)
        stale = state.age_s + length.unsqueeze(-1)
        missed = deviation(state.drift, stale, state.twin_info, p) + p.miss_penalty
        old = Twins(state.age_s, state.twin_info)
        new = Twins(
            torch.where(refreshed, -first, state.age_s),
            torch.where(refreshed, information, state.twin_info),
        )
        return Refresh(
            refreshed,
            information,
            torch.where(refreshed, last, math.inf),
            torch.where(refreshed, first, math.inf),
            length,
            torch.where(refreshed, served, missed),
            old,
            new,
        )


def sum_stages(values: Tensor) -> Tensor:
    """Sum over the five stages of (..., 5), in an order that no batch size changes."""
    one, two, three, four, five = values.unbind(-1)
    return one + two + three + four + five
