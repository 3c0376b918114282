"""What a round is worth: reward and account."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.core.game import GameStep
from sixgym.envs.twin_mobility.actions import NUM_COMPONENTS, region_mask
from sixgym.envs.twin_mobility.cycle import fidelity
from sixgym.envs.twin_mobility.round_integral import Twins, of_largest, over_round
from sixgym.envs.twin_mobility.round_observation import RoundObserver
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.envs.twin_mobility.round_state import RoundState
from sixgym.envs.twin_mobility.round_step import Bill, Cycles, Refresh
from sixgym.envs.twin_mobility.state import DEAD, IDLE


class Events(NamedTuple):
    """What happened in a round."""

    cycles: Cycles
    bill: Bill
    refresh: Refresh
    invalid: Tensor
    """(rows, agents) bool: chose a region out of reach."""


class RoundReport:
    """Weighs rounds; pure.

    Args:
        params: references and ends.
        observer: tells deviations.
        info_level: of the metrics.
        device: of the state.
    """

    def __init__(
        self,
        params: TwinRoundParams,
        observer: RoundObserver,
        info_level: int,
        device: torch.device,
    ) -> None:
        p = params
        self.params, self._observer, self._info_level = p, observer, info_level
        reads = torch.ones(NUM_COMPONENTS, dtype=torch.bool)
        # the region and seven controls, in the order of the action
        reads[3], reads[7] = not p.fixed_cpu, not p.equal_weight
        self._reads = reads.to(device)

    # ------------------------------------------------------------------------------- masks

    def masks(self, state: RoundState) -> tuple[Tensor, Tensor]:
        """Masks of regions (rows, agents, R + 1) and of components (rows, agents, 8), bool.

        A dead agent has no choice, not even staying; nothing of its action is read.
        """
        alive = state.battery_j > 0.0
        stage = torch.where(alive, IDLE, DEAD)
        regions = region_mask(stage, self._observer.kernel.can_reach(state))
        return regions, alive.unsqueeze(-1) & self._reads

    # ------------------------------------------------------------------------------- the reward

    def step(self, state: RoundState, new: RoundState, events: Events) -> GameStep:
        """Rewards, ends and metrics of a round.

        Args:
            state: at its beginning.
            new: at its end.
            events: of the round.
        """
        p, refresh = self.params, events.refresh
        over = new.round >= p.num_rounds
        if p.limit_s is not None:
            over = over | (new.time_s >= p.limit_s)
        area = over_round(
            refresh.before, refresh.after, refresh.at_s, state.drift, refresh.length_s, p
        )
        left, tail = self._tail(new, over)
        gamma = refresh.score.amax(-1)
        zero = torch.zeros_like(gamma)
        terms = {
            "loss_score": zero if p.pays_integral else -gamma,
            "loss_integral": -area / p.age_ref_s if p.pays_integral else zero,
            "closing": -tail / p.age_ref_s if p.pays_integral else zero,
        }
        total = terms["loss_score"] + terms["loss_integral"] + terms["closing"]
        metrics = {
            **terms,
            "team_reward": total,
            "deviation_s": area + tail,
            "elapsed_s": refresh.length_s + left,
            **self._of_twins(new, refresh, events),
            **self._of_agents(new, events),
        }
        pay = total.unsqueeze(-1).expand(-1, p.num_agents)
        return GameStep(pay, over, metrics)

    def _tail(self, new: RoundState, over: Tensor) -> tuple[Tensor, Tensor]:
        """Time left to the horizon at an end, and the integral over it if nobody moved.

        Without it short rounds in which nobody moves would use the rounds up early, and be paid
        for what the time left would have cost.
        """
        limit = self.params.limit_s
        if limit is None:
            zero = torch.zeros_like(new.time_s)
            return zero, zero
        left = torch.where(over, (limit - new.time_s).clamp_min(0.0), 0.0)
        twins = Twins(new.age_s, new.twin_info)
        return left, of_largest(twins, new.drift, left, self.params)

    # ------------------------------------------------------------------------------- the account

    def _of_twins(self, new: RoundState, refresh: Refresh, events: Events) -> dict[str, Tensor]:
        kind, refreshed = refresh.score.dtype, refresh.refreshed
        goes, bill = events.cycles.goes, events.bill
        keeps = ~goes | ((bill.over_budget == 0.0) & bill.delivers)
        feasible = (refreshed.all(-1) & keeps.all(-1)).to(kind)
        gamma = refresh.score.amax(-1)
        bits = torch.where(bill.delivers, events.cycles.sent_bits, 0.0).sum(-1)
        off = self._observer.deviations(new)
        at_refresh = refresh.at_s - refresh.stamp_s
        return {
            "gamma": gamma,
            "mean_score": refresh.score.mean(-1),
            "feasible": feasible,
            "infeasible": 1.0 - feasible,
            "feasible_gamma": torch.where(feasible > 0.0, gamma, 0.0),
            "missed": (~refreshed).to(kind).sum(-1),
            "refreshed": refreshed.to(kind).sum(-1),
            "refresh_fidelity": torch.where(refreshed, fidelity(refresh.information), 0.0).sum(-1),
            "refresh_age_s": torch.where(refreshed, at_refresh, 0.0).sum(-1),
            "round_s": refresh.length_s,
            "band_use": bits / (self.params.bandwidth_hz * refresh.length_s),
            "t": new.time_s,
            "max_dev": off.amax(-1),
            "dev": off,
            "aoi": new.age_s,
            "score": refresh.score,
        }

    def _of_agents(self, new: RoundState, events: Events) -> dict[str, Tensor]:
        cycles, bill, _, invalid = events
        kind = bill.battery_j.dtype
        by_stage = bill.stage_j.sum(1)
        regions, components = self.masks(new)
        move, sense, process, approach, send = by_stage.unbind(-1)
        delivers = bill.delivers.to(kind)
        metrics = {
            "energy_j": move + sense + process + approach + send,
            "energy_motion_j": move + approach,
            "energy_sense_j": sense,
            "energy_process_j": process,
            "energy_send_j": send,
            "dispatched": cycles.goes.to(kind).sum(-1),
            "delivered": delivers.sum(-1),
            "cost_energy": bill.over_budget.sum(-1),
            "over_budget": (bill.over_budget > 0.0).to(kind).sum(-1),
            "deaths": bill.dies.to(kind).sum(-1),
            "invalid": invalid.to(kind).sum(-1),
            "energy": bill.stage_j,
            "region_mask": regions,
            "component_mask": components,
            "agent_delivered": delivers,
            "agent_cost_energy": bill.over_budget,
            "agent_invalid": invalid.to(kind),
        }
        return metrics | self._of_cycles(cycles) if self._info_level > 0 else metrics

    def _of_cycles(self, cycles: Cycles) -> dict[str, Tensor]:
        can, goes = cycles.can, cycles.goes
        way = (cycles.end - cycles.sensed_at).square().sum(-1).sqrt()
        chosen = {
            "speed_mps": can.speed_mps,
            "sensing_s": can.sensing_s,
            "cpu_flops": can.cpu_flops,
            "compression": can.compression,
            "approach_m": way,
            "power_w": can.power_w,
            "band_hz": cycles.band_hz,
            "time_s": cycles.time_s,
            "energy_j": cycles.energy_j,
            "information": cycles.information,
        }
        told = {f"agent_{k}": torch.where(goes, value, 0.0) for k, value in chosen.items()}
        return {"agent_target": cycles.target, **told}
