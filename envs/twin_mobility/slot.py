"""What the agents do in a slot: one pass over the stages, then the uplink.

A pass is the same for every stage: something is left of it (metres, seconds, FLOP, bits), it goes
on at some rate for the time that the slot has left, and costs some power. Whoever finishes carries
the rest of the slot into the next stage; transmission waits for the next slot's beginning.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sixgym.envs.backend.mobility import Motion
from sixgym.envs.twin_mobility import geometry, link
from sixgym.envs.twin_mobility.actions import Resources
from sixgym.envs.twin_mobility.cycle import information, work_per_bit
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.sharing import share_band
from sixgym.envs.twin_mobility.state import IDLE, MOVE, NOWHERE, PROC, REPOS, SENSE, TX, SyncState


class Uplink(NamedTuple):
    """What was sent in a slot, (rows, agents) each."""

    bits: Tensor
    delivered: Tensor
    """bool."""


class _Part(NamedTuple):
    """A stage's share of a slot, (rows, agents) each; 0 for agents in other stages."""

    seconds: Tensor
    done: Tensor
    """bool: finished, because what is left takes no longer than what the slot has left."""


def own_region(values: Tensor, target: Tensor) -> Tensor:
    """Of (rows, agents, regions) the entry of each agent's region; any of one without target."""
    return values.gather(-1, target.clamp_min(0).unsqueeze(-1)).squeeze(-1)


class SlotKernel:
    """Carries agents through a slot; pure.

    Args:
        params: prices and constants.
        dtype: of the physics.
        device: of the state.
    """

    def __init__(self, params: TwinSyncParams, dtype: torch.dtype, device: torch.device) -> None:
        self.params = params
        self.station = torch.tensor(params.bs_xy_m, dtype=dtype, device=device)
        self._motion: Motion = params.motion
        best = torch.tensor(params.best_speed_mps, dtype=torch.float64)
        self.least_j_per_m = float(self._motion.energy_per_metre(best))
        """Energy of a metre at the cheapest speed within the bounds, J/m."""
        self._stand_w = params.standing_power_w
        self._moving_cpu = params.overlap_proc_move

    # ------------------------------------------------------------------------------- before it

    def dispatch(self, state: SyncState, region: Tensor) -> tuple[SyncState, Tensor]:
        """Idle agents set out for the regions that they chose, if their batteries pay the way.

        Args:
            state: at the slot's beginning.
            region: (rows, agents) int64: 0 for staying, else one more than the region.

        Returns:
            The state, and (rows, agents) bool: whose choice did not count.
        """
        p = self.params
        wants = (state.stage == IDLE) & (region > 0)
        index = (region - 1).clamp_min(0)
        centre = state.centre.gather(1, index.unsqueeze(-1).expand(-1, -1, 2))
        way = geometry.move_to_sense_m(state.position, centre, p.sensing_radius_m)
        goes = wants & (state.battery_j >= self.least_j_per_m * way)
        goal = geometry.sensing_point(state.position, centre, p.sensing_radius_m)
        now = (state.slot * p.slot_s).unsqueeze(-1)
        state = state._replace(
            destination=torch.where(goes.unsqueeze(-1), goal, state.destination),
            stage=torch.where(goes, MOVE, state.stage),
            target=torch.where(goes, index, state.target),
            remaining=torch.where(goes, way, state.remaining),
            length=torch.where(goes, way, state.length),
            cycle_start=torch.where(goes, now, state.cycle_start),
        )
        return state, wants & ~goes

    def can_reach(self, state: SyncState) -> Tensor:
        """(rows, agents, regions) bool: the battery pays the way to sense at the cheapest speed."""
        way = geometry.move_to_sense_m(
            state.position.unsqueeze(2), state.centre.unsqueeze(1), self.params.sensing_radius_m
        )
        return state.battery_j.unsqueeze(-1) >= self.least_j_per_m * way

    # ------------------------------------------------------------------------------- the pass

    def carry(self, state: SyncState, can: Resources) -> tuple[SyncState, list[Tensor]]:
        """Move, sense, process and reposition, in this order.

        Args:
            state: after `dispatch`.
            can: the resources of this slot.

        Returns:
            The state, and the energies of the four stages, (rows, agents) J each.
        """
        p = self.params
        stage = state.stage
        busy = (stage >= MOVE) & (stage <= REPOS)
        left = torch.where(busy, p.slot_s, 0.0).to(state.remaining.dtype)
        motion_w = self._motion.power_w(can.speed_mps)
        waits = self._waits_for_partners(state)
        state, left, move_j = self._move(state, can, left, motion_w)
        state, left, sense_j = self._sense(state, can, left, waits)
        state, left, process_j, beside_j = self._process(state, can, left, motion_w)
        state, reposition_j = self._reposition(state, can, left, motion_w)
        return state, [move_j, sense_j, process_j, reposition_j + beside_j]

    def _waits_for_partners(self, state: SyncState) -> Tensor | None:
        """(rows, agents) bool: somebody is on the way to the same region as the slot begins."""
        if self.params.coop_mode != "barrier":
            return None
        same = state.target.unsqueeze(-1) == state.target.unsqueeze(-2)
        return (same & (state.stage == MOVE).unsqueeze(-2)).any(-1)

    def _part(self, state: SyncState, here: Tensor, rate: Tensor | float, left: Tensor) -> _Part:
        """How long agents ``here`` work on what remains at a rate, and whether they finish."""
        need = state.remaining / rate
        done = here & (need <= left)
        return _Part(torch.where(here, torch.minimum(need, left), 0.0), done)

    def _advance(
        self, position: Tensor, destination: Tensor, metres: Tensor, way: Tensor, done: Tensor
    ) -> Tensor:
        """Positions after ``metres`` of a ``way``; the destination itself when it is done."""
        share = torch.where(way > 0.0, metres / way.clamp_min(1e-30), 0.0).unsqueeze(-1)
        moved = position + (destination - position) * share
        return torch.where(done.unsqueeze(-1), destination, moved)

    def _move(
        self, state: SyncState, can: Resources, left: Tensor, motion_w: Tensor
    ) -> tuple[SyncState, Tensor, Tensor]:
        part = self._part(state, state.stage == MOVE, can.speed_mps, left)
        metres = part.seconds * can.speed_mps
        state = state._replace(
            position=self._advance(
                state.position, state.destination, metres, state.remaining, part.done
            ),
            stage=torch.where(part.done, SENSE, state.stage),
            remaining=torch.where(part.done, can.sensing_s, state.remaining - metres),
            length=torch.where(part.done, can.sensing_s, state.length),
            sensing_s=torch.where(part.done, can.sensing_s, state.sensing_s),
        )
        return state, left - part.seconds, part.seconds * motion_w

    def _sense(
        self, state: SyncState, can: Resources, left: Tensor, waits: Tensor | None
    ) -> tuple[SyncState, Tensor, Tensor]:
        p = self.params
        here = state.stage == SENSE
        if waits is not None:
            here = here & ~(waits & (state.remaining == state.length))
        part = self._part(state, here, 1.0, left)
        left = left - part.seconds
        done = part.done
        raw = state.drawn_bits if p.raw_mode == "fixed" else p.sensing_rate_bps * state.sensing_s
        kappa = own_region(state.kappa, state.target)
        info = information(kappa, state.sensing_s, can.compression, p.compression_loss)
        work = raw * work_per_bit(can.compression, p)
        end = ((state.slot + 1.0) * p.slot_s).unsqueeze(-1)
        state = state._replace(
            stage=torch.where(done, PROC, state.stage),
            remaining=torch.where(done, work, state.remaining - part.seconds),
            length=torch.where(done, work, state.length),
            compression=torch.where(done, can.compression, state.compression),
            stamp=torch.where(done, end - left, state.stamp),
            info=torch.where(done, info, state.info),
            raw_bits=torch.where(done, raw, state.raw_bits),
        )
        if self._moving_cpu:
            state = self._aim(state, done, can.approach)
        return state, left, part.seconds * (p.sensing_power_w + self._stand_w)

    def _aim(self, state: SyncState, who: Tensor, approach: Tensor) -> SyncState:
        """Latch the share of the way towards the station, and its end."""
        ground = geometry.ground_distance(state.position, self.station)
        way = geometry.approach_m(ground, approach, self.params.approach_limit_m)
        end = geometry.towards(state.position, self.station, way, ground)
        return state._replace(
            approach=torch.where(who, approach, state.approach),
            destination=torch.where(who.unsqueeze(-1), end, state.destination),
            way_m=torch.where(who, way, state.way_m),
        )

    def _process(
        self, state: SyncState, can: Resources, left: Tensor, motion_w: Tensor
    ) -> tuple[SyncState, Tensor, Tensor, Tensor | float]:
        """Process; with ``overlap_proc_move`` also drive meanwhile, which costs on its own."""
        p = self.params
        part = self._part(state, state.stage == PROC, can.cpu_flops, left)
        done = part.done
        power_w = p.cpu_capacitance * can.cpu_flops**3
        beside_j: Tensor | float = 0.0
        standing_s = part.seconds
        if self._moving_cpu:
            here = state.stage == PROC
            need = torch.where(here, state.way_m / can.speed_mps, 0.0)
            arrived = here & (need <= part.seconds)
            driving_s = torch.minimum(need, part.seconds)
            metres = torch.where(arrived, state.way_m, driving_s * can.speed_mps)
            state = state._replace(
                position=self._advance(
                    state.position, state.destination, metres, state.way_m, arrived
                ),
                way_m=state.way_m - metres,
            )
            standing_s = part.seconds - driving_s
            beside_j = driving_s * motion_w
        else:
            state = self._aim(state, done, can.approach)
        state = state._replace(
            stage=torch.where(done, REPOS, state.stage),
            remaining=torch.where(
                done, state.way_m, state.remaining - part.seconds * can.cpu_flops
            ),
            length=torch.where(done, state.way_m, state.length),
        )
        energy = part.seconds * power_w + standing_s * self._stand_w
        return state, left - part.seconds, energy, beside_j

    def _reposition(
        self, state: SyncState, can: Resources, left: Tensor, motion_w: Tensor
    ) -> tuple[SyncState, Tensor]:
        part = self._part(state, state.stage == REPOS, can.speed_mps, left)
        metres = part.seconds * can.speed_mps
        bits = state.compression * state.raw_bits
        state = state._replace(
            position=self._advance(
                state.position, state.destination, metres, state.remaining, part.done
            ),
            stage=torch.where(part.done, TX, state.stage),
            remaining=torch.where(part.done, bits, state.remaining - metres),
            length=torch.where(part.done, bits, state.length),
            way_m=torch.where(state.stage == REPOS, 0.0, state.way_m),
        )
        return state, part.seconds * motion_w

    # ------------------------------------------------------------------------------- the uplink

    def power_gain(self, state: SyncState, fading: Tensor | None) -> Tensor:
        """(rows, agents) gain at the present position, with the shadowing of the target."""
        p = self.params
        ground = geometry.ground_distance(state.position, self.station)
        slant = geometry.slant_distance(ground, p.bs_height_m)
        gain = link.gain(slant, p.gain_1m, p.path_loss_exponent)
        if p.shadowing_db > 0.0:
            gain = gain * torch.where(
                state.target == NOWHERE, 1.0, own_region(state.shadow, state.target)
            )
        return gain if fading is None else gain * fading

    def transmit(
        self, state: SyncState, sends: Tensor, can: Resources, fading: Tensor | None
    ) -> tuple[SyncState, Uplink, Tensor]:
        """Those who were in `TX` as the slot began share the band.

        Args:
            state: after `carry`.
            sends: (rows, agents) bool.
            can: the resources of this slot.
            fading: (rows, agents) power factors of mean 1, or None.

        Returns:
            The state, what was sent, and its energy, (rows, agents) J.
        """
        p = self.params
        gain = self.power_gain(state, fading)
        bits = state.remaining
        band = share_band(sends, can.weight, bits, can.power_w * gain, p)
        rate = link.rate_bps(band, can.power_w, gain, p.noise_w_per_hz, p.se_max)
        need = torch.where(sends, bits / torch.where(sends, rate, 1.0), 0.0)
        delivered = sends & (need <= p.slot_s)
        seconds = need.clamp_max(p.slot_s)
        sent = torch.where(delivered, bits, torch.where(sends, seconds * rate, 0.0))
        power_w = can.power_w / p.pa_efficiency + p.circuit_power_w + self._stand_w
        state = state._replace(remaining=torch.where(sends, bits - sent, bits), sent_bits=sent)
        return state, Uplink(sent, delivered), seconds * power_w
