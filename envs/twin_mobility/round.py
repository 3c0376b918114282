"""`sixgym/TwinRound-v0`: agents keep the digital twins of regions in step, round by round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.fading import rician_weights
from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.core.game import Game, GameStep, Group, Joint, Moves
from sixgym.envs.core.system import Action, Metric, Observation, Score, Step
from sixgym.envs.twin_mobility import layout
from sixgym.envs.twin_mobility.actions import (
    NUM_COMPONENTS,
    Decoder,
    action_space,
    choice_mask,
)
from sixgym.envs.twin_mobility.metrics import shaped
from sixgym.envs.twin_mobility.observation import LIMIT
from sixgym.envs.twin_mobility.options import RESET_OPTIONS, read_instance
from sixgym.envs.twin_mobility.round_metrics import METRICS, SCORES
from sixgym.envs.twin_mobility.round_observation import RoundBlocks, RoundObserver
from sixgym.envs.twin_mobility.round_params import TwinRoundParams
from sixgym.envs.twin_mobility.round_report import Events, RoundReport
from sixgym.envs.twin_mobility.round_state import RoundState
from sixgym.envs.twin_mobility.round_step import Cycles, Refresh, RoundKernel
from sixgym.envs.twin_mobility.state import NOWHERE

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

GROUP = "agent"


class TwinRound(Game[TwinRoundParams, RoundState]):
    r"""Mobile agents refresh the digital twins of regions, all in one synchronisation round.

    The world is that of `sixgym/TwinSync-v0`: a base station holds a twin of every region, whose
    deviation lambda Delta + omega e^-I grows with its age; agents **move** to a region, **sense**
    it, **process** the data, **move** towards the station, **transmit**. Here a step is a whole
    round: every agent chooses once, and all five stages follow in closed form. With one round this
    is the one-shot problem of a synchronisation: choose regions, speeds, sensing times, processing
    rates, compressions, ways, powers and bandwidths so that the largest deviation just before a
    refresh is least.

    The band is reserved for the round, in parts b_n = B w_n / sum of w over all who set out. A
    region is refreshed at the time T_r when the last of its agents has delivered, if together they
    carry the required information, even where its deviation grows; its new time stamp is that of
    the first who finished sensing. An agent whose battery does not cover its cycle delivers
    nothing and is dead afterwards; with ``hard_energy`` one that exceeds the budget of the cycle
    delivers nothing either. Such agents keep their part of the band. The round lasts until the
    last delivery, at least 10 s; agents end where they transmit.

    **Agents**: ``agent_0``, ``agent_1``, ...; they stay when their battery is empty.

    **Action** of each: a region (0: stay, r: region r - 1) and seven numbers u from 0 to 1: speed,
    sensing time, processing rate, compression, share of the way towards the station, transmit
    power, weight w; in the layouts of `sixgym/TwinSync-v0`. ``region_mask`` and
    ``component_mask`` in the infos say what counts; a choice of a region that the battery cannot
    reach counts as staying.

    **Observation** of each: ``Box(10 + 10 R + 5 (N - 1),)``: the agent's own block, eight numbers
    of every region, three of all, five of every other agent; see `RoundLayout`. One controller of
    all agents sees the own blocks, six numbers of every region, and the three of all.

    **Reward**, the same for all, and paid once to one controller. ``round_reward="score"``, the
    default of one round: minus the largest score of a region, where the score is lambda (Delta +
    T_r) + omega e^-I, the deviation just before the refresh with the information that comes, and
    of a region that is missed its deviation at the end of the round plus 13. ``"integral"``, the
    default of several rounds: minus the time integral of the largest deviation over 60 s, exactly;
    at an end before the horizon with the time left, in which nothing would have moved, so that
    using up the rounds early does not pay. ``round_s`` in the infos is the length of a round, for
    learners that discount by time.

    **Starting state**: places, regions, sensors, processors, required fidelities, drifts and ages
    are drawn anew; batteries are full. ``reset(options={"instance": {...}})`` sets some or all of
    pos, reg_xy, kappa, f_max, drift, f_min, batt, aoi0. Fading is drawn for each round, before the
    agents choose.

    **Episode end**: terminated after ``num_rounds`` rounds, or after the round in which the time
    reaches ``horizon_s``; both are part of what is observed, so this is the end of the task, not a
    cut. Never truncated unless made so.
    """

    params_type = TwinRoundParams
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    scores: ClassVar[tuple[Score, ...]] = SCORES
    starts_often = True
    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS

    def __init__(
        self,
        params: TwinRoundParams,
        *,
        joint: Joint | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, joint=joint, dtype=dtype, device=device, info_level=info_level)
        p, where = params, self.device
        self.kernel = RoundKernel(p, dtype, where)
        """The physics of a round."""
        self.observer = RoundObserver(p, self.kernel, where)
        """What is seen; its ``layout`` says where."""
        self._decode = Decoder(p, GROUP, dtype, where)
        self._report = RoundReport(p, self.observer, info_level, where)
        masked = p.action_mode == "discrete"
        seen = _box(self.observer.layout.size)
        group = Group(GROUP, p.num_agents, seen, action_space(p), is_masked=masked)
        self.set_groups((group,))
        self.metrics = shaped(  # type: ignore[misc]
            self.metrics, p.num_agents, p.num_regions, NUM_COMPONENTS
        )
        if self.joint == "flat":
            self.observation_space = _box(self.observer.layout.central_size)
        fading = self._fading_stream()
        self.start_draws = self.draw_table(layout.start_streams(p) | fading)
        self.step_draws = self.draw_table(fading)

    def _fading_stream(self) -> layout.Streams:
        n = self.params.num_agents
        if self.params.fading == "none":
            return {}
        kind: Kind = "cn" if self.params.fading == "rician" else "exponential"
        return {"fading": (kind, (n,))}

    def _fading(self, noise: Draws, like: Tensor) -> Tensor:
        """(rows, agents) power factors of mean 1; (rows, 0) without fading."""
        if self.params.fading == "none":
            return like[:, :0]
        if self.params.fading == "rayleigh":
            return noise["fading"]
        steady, scattered = rician_weights(self.params.rician_k)
        re, im = noise["fading"].unbind(1)
        return (steady + scattered * re).square() + (scattered * im).square()

    # -------------------------------------------------------------------------------------- start

    def start(self, noise: Draws) -> RoundState:
        """First states: ages and required fidelities as drawn, batteries full."""
        p = self.params
        position = p.area_m * noise["agents"]
        agents, regions = torch.zeros_like(noise["kappa"]), torch.zeros_like(noise["drift"])
        fixed = p.raw_mode == "fixed"
        theta = layout.required_information(layout.spread(noise["fidelity"], p.fidelity_range))
        return RoundState(
            round=regions[:, 0],
            time_s=regions[:, 0],
            position=position,
            battery_j=torch.full_like(agents, p.battery_j),
            age_s=layout.spread(noise["ages"], p.age_range_s),
            twin_info=theta,
            fading=self._fading(noise, agents),
            kappa=layout.draw_kappa(noise, p),
            cpu_max=layout.spread(noise["cpu"], p.cpu_max_range_flops),
            drawn_bits=layout.spread(noise["raw"], p.raw_bits_range) if fixed else agents[:, :0],
            shadow=layout.draw_shadow(noise, p),
            centre=layout.place_regions(noise["layout"], p),
            drift=layout.spread(noise["drift"], p.drift_range),
            theta=theta,
            origin=position,
            sensed_at=position,
            target=torch.full_like(agents, NOWHERE, dtype=torch.int64),
            delivered=torch.zeros_like(agents, dtype=torch.bool),
            stage_s=agents.new_zeros((*agents.shape, 5)),
            stage_j=agents.new_zeros((*agents.shape, 5)),
            refreshed=torch.zeros_like(regions, dtype=torch.bool),
            score=regions,
        )

    def with_options(self, state: RoundState, options: Mapping[str, Any]) -> RoundState:
        """First states with the arrays of the option ``instance``; see `read_instance`."""
        given = read_instance(options, state.round.shape[0], self.params, state.round)
        theta = state.theta
        if "f_min" in given:
            theta = layout.required_information(given["f_min"])
        place = given.get("pos", state.position)
        return state._replace(
            position=place,
            origin=place,
            sensed_at=place,
            centre=given.get("reg_xy", state.centre),
            kappa=given.get("kappa", state.kappa),
            cpu_max=given.get("f_max", state.cpu_max),
            drift=given.get("drift", state.drift),
            battery_j=given.get("batt", state.battery_j),
            age_s=given.get("aoi0", state.age_s),
            theta=theta,
            twin_info=theta,
        )

    # --------------------------------------------------------------------------------------- play

    def play(self, state: RoundState, moves: Moves, noise: Draws) -> tuple[RoundState, GameStep]:
        """One round of all agents."""
        kernel, decision = self.kernel, self._decode(moves)
        regions, _ = self._report.masks(state)
        allowed = regions.gather(-1, decision.region.unsqueeze(-1)).squeeze(-1)
        cycles = kernel.cycles(state, decision, allowed)
        bill = kernel.settle(state, cycles)
        refresh = kernel.refresh(state, cycles, bill.delivers)
        new = self._next(state, cycles, refresh, noise)
        new = new._replace(battery_j=bill.battery_j, delivered=bill.delivers, stage_j=bill.stage_j)
        invalid = (decision.region > 0) & ~allowed & (state.battery_j > 0.0)
        events = Events(cycles, bill, refresh, invalid)
        return new, self._report.step(state, new, events)

    def _next(
        self, state: RoundState, cycles: Cycles, refresh: Refresh, noise: Draws
    ) -> RoundState:
        """The state after a round, without what energy does to it."""
        length = refresh.length_s
        return state._replace(
            round=state.round + 1.0,
            time_s=state.time_s + length,
            position=cycles.end,
            age_s=refresh.after.age_s + length.unsqueeze(-1),
            twin_info=refresh.after.info,
            fading=self._fading(noise, state.battery_j),
            origin=state.position,
            sensed_at=cycles.sensed_at,
            target=cycles.target,
            stage_s=cycles.stage_s,
            refreshed=refresh.refreshed,
            score=refresh.score,
        )

    def advance(self, state: RoundState, action: Action, noise: Draws) -> tuple[RoundState, Step]:
        """One round with the actions of all agents in one; paid once, not for every agent."""
        new, step = super().advance(state, action, noise)
        return new, step._replace(reward=step.metrics["team_reward"])

    # ---------------------------------------------------------------------------- what is seen

    def perceive(self, state: RoundState, moves: Moves) -> dict[str, Tensor]:
        """(rows, agents, size) float32; see the class."""
        return self._views(self.observer.blocks(state))

    def _views(self, blocks: RoundBlocks) -> dict[str, Tensor]:
        return {GROUP: self.observer.views(blocks)}

    def overview(self, state: RoundState) -> Tensor:
        """(rows, N (7 + 2 R) + 6 R + 3) float32: the blocks; see `RoundLayout`."""
        return self.observer.central(self.observer.blocks(state))

    def observe(self, state: RoundState) -> Observation:
        """What one controller sees: the blocks in the layout ``"flat"``."""
        return self.overview(state) if self.joint == "flat" else super().observe(state)

    def seen(self, observation: Observation) -> dict[str, Tensor]:
        """What each agent sees, built from what one controller sees; see `Game.seen`."""
        if isinstance(observation, dict):
            return super().seen(observation)
        return self._views(self.observer.split(observation))

    def allowed(self, state: RoundState, moves: Moves) -> dict[str, Tensor]:
        """Masks of the layout ``discrete``; see `choice_mask`."""
        if self.params.action_mode != "discrete":
            return {}
        return {GROUP: choice_mask(*self._report.masks(state))}

    def tell(self, state: RoundState, moves: Moves, group: str, place: int) -> dict[str, Any]:
        """Deviations, ages, the agent's energy in the last round by stage, and its masks."""
        off = self.observer.deviations(state)
        regions, components = self._report.masks(state)
        return {
            "dev": off[0].cpu().numpy().copy(),
            "aoi": state.age_s[0].cpu().numpy().copy(),
            "max_dev": float(off[0].max()),
            "t": float(state.time_s[0]),
            "energy": state.stage_j[0, place].cpu().numpy().copy(),
            "region_mask": regions[0, place].cpu().numpy().astype(np.int8),
            "component_mask": components[0, place].cpu().numpy().astype(np.int8),
        }

    def draw(self, state: RoundState, row: int, canvas: Canvas) -> None:
        """Paint one row."""
        from sixgym.envs.twin_mobility.round_scene import draw_round

        draw_round(self, state, row, canvas)


def _box(size: int) -> spaces.Box:
    return spaces.Box(-LIMIT, LIMIT, (size,), np.float32)
