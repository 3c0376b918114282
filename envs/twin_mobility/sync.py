"""`sixgym/TwinSync-v0`: agents keep the digital twins of regions in step, slot by slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from sixgym.envs.backend.fading import rician_weights
from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.game import ALIVE, Game, GameStep, Group, Joint, Moves
from sixgym.envs.core.system import Action, Metric, Observation, Score, Step
from sixgym.envs.twin_mobility import layout
from sixgym.envs.twin_mobility.account import drift_on, receive, recharge, settle
from sixgym.envs.twin_mobility.actions import (
    NUM_COMPONENTS,
    Decoder,
    action_space,
    choice_mask,
    resources,
)
from sixgym.envs.twin_mobility.metrics import METRICS, SAMPLED, SCORES, shaped
from sixgym.envs.twin_mobility.observation import LIMIT, Blocks, Observer
from sixgym.envs.twin_mobility.options import RESET_OPTIONS, read_instance
from sixgym.envs.twin_mobility.params import TwinSyncParams
from sixgym.envs.twin_mobility.report import Events, Report
from sixgym.envs.twin_mobility.slot import SlotKernel
from sixgym.envs.twin_mobility.state import DEAD, IDLE, NOWHERE, TX, SyncState
from sixgym.envs.twin_mobility.twin import EMPTY

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

GROUP = "agent"
_Arrays = dict[str, NDArray[Any]]


class TwinSync(Game[TwinSyncParams, SyncState]):
    r"""Mobile agents keep the digital twins of regions in step with the world.

    A base station holds a twin of every region of a map. The world drifts, so a twin's deviation
    D = lambda Delta + omega e^-I grows with its age Delta, and depends on the information I with
    which it was made. Agents refresh twins in cycles of five stages: **move** to the region,
    **sense** it (information grows with the time), **process** the data on board (compression
    costs work and fidelity, and saves bits), **move** towards the base station for a better
    channel, and **transmit** on a shared uplink. A delivered packet goes into its region's buffer;
    the station fuses the newest packets and accepts the fusion if together they carry the required
    information and the deviation falls. The aim is a small largest deviation, on a battery.

    A step is a slot of 1 s. Stages go on from slot to slot, each agent in its own; what finishes
    within a slot gives the rest of the slot to the next stage, but transmission begins with a slot.

    **Agents**: ``agent_0``, ``agent_1``, ... They stay when their battery is empty, unless
    ``death_mode="remove"``.

    **Action** of each: a region (0: stay parked, r: region r - 1), which counts while the agent is
    idle, and seven numbers u from 0 to 1: speed, sensing time, processing rate, compression, share
    of the way towards the station, transmit power, weight in the sharing of the band. Speed, rate,
    power and weight are read in every slot; the others are kept when the stage that needs them
    begins. With ``action_mode="hybrid"`` (of PettingZoo's views) a dictionary of ``region`` and
    ``u``; ``"flat"`` (of all others) a ``Box`` from -1 to 1 of R + 1 scores of regions, of which
    the largest is taken, and u as (a + 1) / 2; ``"discrete"`` a ``MultiDiscrete`` of levels, with
    an action mask. ``region_mask`` and ``component_mask`` in the infos say what counts; a choice of
    a region that the battery cannot reach counts as staying.

    **Observation** of each: ``Box(25 + 11 R + 5 (N - 1),)``: the agent's own block, ten numbers of
    every region, three of all, five of every other agent; see `ObservationLayout`. One controller
    of all agents sees the own blocks, eight numbers of every region, and the three of all.

    **Reward**, the same for all: minus the slot's largest deviation (mixed with 0.1 of the mean)
    over 2, minus small terms for energy and for cycles over their energy budget; see
    ``reward_mode``. One controller is paid it once.

    **Starting state**: places, regions, sensors, processors, required fidelities, drifts and ages
    are drawn anew; batteries are full and all agents idle. ``reset(options={"instance": {...}})``
    sets some or all of pos, reg_xy, kappa, f_max, drift, f_min, batt, aoi0.

    **Episode end**: truncated after 600 slots unless made otherwise; terminated when all agents are
    dead, with the sum of all that would still have been paid until slot ``horizon_slots``.
    """

    params_type = TwinSyncParams
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    scores: ClassVar[tuple[Score, ...]] = SCORES
    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS

    def __init__(
        self,
        params: TwinSyncParams,
        *,
        joint: Joint | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, joint=joint, dtype=dtype, device=device, info_level=info_level)
        p, where = params, self.device
        self.kernel = SlotKernel(p, dtype, where)
        """The physics of a slot."""
        self.observer = Observer(p, self.kernel, where)
        """What is seen; its ``layout`` says where."""
        self._decode = Decoder(p, GROUP, dtype, where)
        self._told: tuple[SyncState, tuple[_Arrays, _Arrays]] | None = None
        self._leaves = p.death_mode == "remove"
        self._report = Report(p, self.observer, info_level)
        masked = p.action_mode == "discrete"
        group = Group(
            GROUP,
            p.num_agents,
            self._agent_space(),
            action_space(p),
            is_masked=masked,
            may_leave=self._leaves,
        )
        self.set_groups((group,))
        own = (*self.metrics, SAMPLED) if p.twin_mode == "sampled" else self.metrics
        self.metrics = shaped(own, p.num_agents, p.num_regions, NUM_COMPONENTS)  # type: ignore[misc]
        if self.sees_blocks:
            self.observation_space = _box(self.observer.layout.central_size)
        self.start_draws = self.draw_table(layout.start_streams(p) | self._start_twins())
        self.step_draws = self.draw_table(self._step_streams())

    @property
    def sees_blocks(self) -> bool:
        """Whether the central controller sees the blocks, not all that the agents see.

        It does in the layout ``"flat"``, unless agents know different ages.
        """
        return self.joint == "flat" and not self.params.obs_noise_age

    def _agent_space(self) -> spaces.Space[Any]:
        p, box = self.params, _box(self.observer.layout.size)
        if not p.mask_in_obs:
            return box
        masks = {"region_mask": p.num_regions + 1, "component_mask": NUM_COMPONENTS}
        parts: dict[str, spaces.Space[Any]] = {"observation": box}
        parts |= {k: spaces.Box(0.0, 1.0, (size,), np.float32) for k, size in masks.items()}
        return spaces.Dict(parts)

    def _start_twins(self) -> layout.Streams:
        if self.params.twin_mode != "sampled":
            return {}
        return {"twin": ("normal", (self.params.num_regions,))}

    def _step_streams(self) -> layout.Streams:
        p = self.params
        streams: layout.Streams = {}
        if p.fading == "rayleigh":
            streams["fading"] = ("exponential", (p.num_agents,))
        if p.fading == "rician":
            streams["fading"] = ("cn", (p.num_agents,))
        if p.twin_mode == "sampled":
            both = ("process", p.num_regions), ("twin", p.num_regions), ("bridge", p.num_agents)
            streams |= {name: ("normal", (size,)) for name, size in both}
        return streams

    # -------------------------------------------------------------------------------------- start

    def start(self, noise: Draws) -> SyncState:
        """First states: all agents idle, ages and required fidelities as drawn."""
        p = self.params
        position = p.area_m * noise["agents"]
        agents, regions = torch.zeros_like(noise["kappa"]), torch.zeros_like(noise["drift"])
        rows, n, r = agents.shape[0], p.num_agents, p.num_regions
        fixed = p.raw_mode == "fixed"
        sampled = p.twin_mode == "sampled"
        theta = layout.required_information(layout.spread(noise["fidelity"], p.fidelity_range))
        places = regions.new_zeros((rows, r, p.buffer_packets))
        state = SyncState(
            slot=regions.new_zeros(rows),
            position=position,
            destination=position,
            stage=torch.full_like(agents, IDLE, dtype=torch.int64),
            target=torch.full_like(agents, NOWHERE, dtype=torch.int64),
            **dict.fromkeys(_BLANK, agents),
            battery_j=torch.full_like(agents, p.battery_j),
            sample=agents if sampled else agents[:, :0],
            slot_j=agents.new_zeros((rows, n, 5)),
            kappa=layout.draw_kappa(noise, p),
            cpu_max=layout.spread(noise["cpu"], p.cpu_max_range_flops),
            drawn_bits=layout.spread(noise["raw"], p.raw_bits_range) if fixed else agents[:, :0],
            shadow=layout.draw_shadow(noise, p),
            centre=layout.place_regions(noise["layout"], p),
            drift=layout.spread(noise["drift"], p.drift_range),
            theta=theta,
            twin_stamp=-layout.spread(noise["ages"], p.age_range_s),
            twin_info=theta,
            packet_stamp=places + EMPTY,
            packet_info=places,
            packet_sample=places if sampled else places[..., :0],
            process=regions.new_zeros((rows, 2, r if sampled else 0)),
            known=regions.new_zeros((rows, 2, n if p.obs_noise_age else 0, r)),
            peak=regions.new_zeros((rows, 2)),
            area=regions,
        )
        return self._begin(state, noise.get("twin"))

    def _begin(self, state: SyncState, noise: Tensor | None = None) -> SyncState:
        """What follows from the first ages: what agents know, and twins if they are sampled."""
        age, off = self.observer.ages(state)
        if self.params.obs_noise_age:
            known = torch.stack([age, off], 1).unsqueeze(2)
            state = state._replace(known=known.expand_as(state.known).contiguous())
        if noise is not None:
            twin = off.sqrt() * noise
            state = state._replace(process=torch.stack([torch.zeros_like(twin), twin], 1))
        return state

    def with_options(self, state: SyncState, options: Mapping[str, Any]) -> SyncState:
        """First states with the arrays of the option ``instance``; see `read_instance`."""
        rows = state.slot.shape[0]
        given = read_instance(options, rows, self.params, state.slot)
        twin = None
        if self.params.twin_mode == "sampled":  # its error in units of its deviation stays
            scale = self.observer.ages(state)[1].sqrt()
            twin = state.process[:, 1] / scale.clamp_min(torch.finfo(scale.dtype).tiny)
        theta = state.theta
        if "f_min" in given:
            theta = layout.required_information(given["f_min"])
        place = given.get("pos", state.position)
        state = state._replace(
            position=place,
            destination=place,
            centre=given.get("reg_xy", state.centre),
            kappa=given.get("kappa", state.kappa),
            cpu_max=given.get("f_max", state.cpu_max),
            drift=given.get("drift", state.drift),
            battery_j=given.get("batt", state.battery_j),
            twin_stamp=-given["aoi0"] if "aoi0" in given else state.twin_stamp,
            theta=theta,
            twin_info=theta,
        )
        return self._begin(state, twin)

    # --------------------------------------------------------------------------------------- play

    def play(self, state: SyncState, moves: Moves, noise: Draws) -> tuple[SyncState, GameStep]:
        """One slot of all agents."""
        p, kernel = self.params, self.kernel
        decision = self._decode(moves)
        can = resources(decision.level, state.cpu_max, p)
        moving, invalid = kernel.dispatch(state, decision.region)
        moving, stages_j = kernel.carry(moving, can)
        if p.twin_mode == "sampled":
            moving = drift_on(state, moving, noise, p)
        sends = state.stage == TX
        sent, uplink, send_j = kernel.transmit(moving, sends, can, self._fading(noise))
        new, bill = settle(sent, [*stages_j, send_j], uplink.delivered, p)
        if p.recharge_w > 0.0:
            new = recharge(new, state.stage == IDLE, kernel.station, p)
        new, news = receive(new, sent, uplink.delivered, noise, p)
        new = new._replace(slot=state.slot + 1.0)
        slot = self._report.weigh(state, sent, new, Events(invalid, uplink, bill, news))
        new = self._report.remember(state, new, slot)
        return new, self._report.step(state, new, slot)

    def _fading(self, noise: Draws) -> Tensor | None:
        """(rows, agents) power factors of mean 1; None without fading."""
        if self.params.fading == "none":
            return None
        if self.params.fading == "rayleigh":
            return noise["fading"]
        steady, scattered = rician_weights(self.params.rician_k)
        re, im = noise["fading"].unbind(1)
        return (steady + scattered * re).square() + (scattered * im).square()

    def advance(self, state: SyncState, action: Action, noise: Draws) -> tuple[SyncState, Step]:
        """One slot with the actions of all agents in one; paid once, not for every agent."""
        new, step = super().advance(state, action, noise)
        return new, step._replace(reward=step.metrics["team_reward"])

    def agent_ids(self, state: SyncState) -> Tensor:
        """(rows, agents) the agent on its seat, -1 once it has left."""
        ids = super().agent_ids(state)
        return torch.where(state.stage == DEAD, -1, ids) if self._leaves else ids

    # ---------------------------------------------------------------------------- what is seen

    def perceive(self, state: SyncState, moves: Moves) -> dict[str, Tensor]:
        """(rows, agents, size) float32; see the class."""
        return self._views(self.observer.blocks(state))

    def _views(self, blocks: Blocks) -> dict[str, Tensor]:
        """What each agent sees, under the keys of its space."""
        seen = self.observer.views(blocks)
        if not self.params.mask_in_obs:
            return {GROUP: seen}
        regions, components = self.observer.masks_of(seen)
        return {
            f"{GROUP}.component_mask": components,
            f"{GROUP}.observation": seen,
            f"{GROUP}.region_mask": regions,
        }

    def overview(self, state: SyncState) -> Tensor:
        """(rows, N (22 + R) + 8 R + 3) float32: the blocks; see `ObservationLayout`."""
        if self.params.obs_noise_age:
            return super().overview(state)
        return self.observer.central(self.observer.blocks(state))

    def observe(self, state: SyncState) -> Observation:
        """What one controller sees: the blocks in the layout ``"flat"``."""
        return self.overview(state) if self.sees_blocks else super().observe(state)

    def seen(self, observation: Observation) -> dict[str, Tensor]:
        """What each agent sees, built from what one controller sees; see `Game.seen`."""
        if isinstance(observation, dict) or not self.sees_blocks:
            return super().seen(observation)
        blocks = self.observer.split(observation)
        seen = self._views(blocks)
        if self._leaves:
            dead = blocks.own[..., self.observer.layout.stage][..., DEAD]
            seen[ALIVE] = 1.0 - dead
        return seen

    def allowed(self, state: SyncState, moves: Moves) -> dict[str, Tensor]:
        """Masks of the layout ``discrete``; see `choice_mask`."""
        if self.params.action_mode != "discrete":
            return {}
        return {GROUP: choice_mask(*self.observer.masks(state))}

    def tell(self, state: SyncState, moves: Moves, group: str, place: int) -> dict[str, Any]:
        """Deviations, ages, the agent's energy in the last slot by stage, and its masks."""
        if self._told is None or self._told[0] is not state:  # asked for every agent in turn
            self._told = (state, self._tell_all(state))
        shared, own = self._told[1]
        told = {name: value.copy() for name, value in shared.items()}
        told |= {name: values[place].copy() for name, values in own.items()}
        time = float(state.slot[0]) * self.params.slot_s
        return {"t": time, "max_dev": float(shared["dev"].max()), **told}

    def _tell_all(self, state: SyncState) -> tuple[_Arrays, _Arrays]:
        """What `tell` says of the first row: to all alike, and by agent."""
        age, off = self.observer.ages(state)
        regions, components = self.observer.masks(state)
        flags = (t[0].cpu().numpy().astype(np.int8) for t in (regions, components))
        region_flags, component_flags = flags
        shared = {"dev": off[0].cpu().numpy(), "aoi": age[0].cpu().numpy()}
        energy = state.slot_j[0].cpu().numpy()
        own = {"energy": energy, "region_mask": region_flags, "component_mask": component_flags}
        return shared, own

    def draw(self, state: SyncState, row: int, canvas: Canvas) -> None:
        """Paint one row."""
        from sixgym.envs.twin_mobility.scene import draw_scene

        draw_scene(self, state, row, canvas)


_BLANK = (
    "remaining",
    "length",
    "way_m",
    "sensing_s",
    "compression",
    "approach",
    "stamp",
    "info",
    "raw_bits",
    "cycle_j",
    "cycle_start",
    "sent_bits",
)
"""Numbers of each agent that are 0 at first."""


def _box(size: int) -> spaces.Box:
    return spaces.Box(-LIMIT, LIMIT, (size,), np.float32)
