"""The two RIS-NOMA systems: full control, and choosing which block an optimiser redoes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.core.errors import ActionError
from sixgym.envs.core.sources import MODEL
from sixgym.envs.core.system import Action, Metric, Score, Step, System
from sixgym.envs.ris_noma.channel import (
    Air,
    aligned_amplitude,
    evolve_links,
    link_statistics,
    single_antenna_gain,
    true_air,
)
from sixgym.envs.ris_noma.controls import (
    action_size,
    decode_action,
    mix_blocks,
    surface_of,
    take_block,
    with_controls,
)
from sixgym.envs.ris_noma.model import Model
from sixgym.envs.ris_noma.observation import Observer
from sixgym.envs.ris_noma.params import (
    RisNomaBaseParams,
    RisNomaParams,
    RisNomaSelectParams,
)
from sixgym.envs.ris_noma.physics import Slot, next_users, serve
from sixgym.envs.ris_noma.scene import draw_scene
from sixgym.envs.ris_noma.solvers import solve_ao, solve_block, solver_ops
from sixgym.envs.ris_noma.sources import ArrivalSource, DirectSource
from sixgym.envs.ris_noma.state import (
    BUCKETS,
    COMPUTE,
    DROPPED,
    NOOP,
    TRANSMIT,
    USEFUL,
    Controls,
    State,
    Traffic,
)

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

INITIAL_RHO = 0.5
"""Held extraction factor of the first state. [our choice]"""
INITIAL_AGE = 10.0
"""Ages of the first state: the blocks were never set. [our choice]"""
SLOT_EE_SCALE = 1e-7
"""Scale of the reward "slot_ee", J/bit. [our choice]"""
SUMMED = (
    "delivered_bits",
    "useful_bits",
    "dropped_bits",
    "arrived_bits",
    "energy_tx_j",
    "energy_compute_j",
)
"""The metrics that are the columns of `State.totals`."""
ENERGY, SLOT_EE = 7, 8
"""Columns of the level-0 metrics."""
TINY_J = 1e-12
"""Keeps efficiencies finite where nothing is spent."""
FEW_ROWS = 64
"""Up to so many rows two slots go through the channel in one call; of more, a joint copy costs
more than a second call."""

P = TypeVar("P", bound=RisNomaBaseParams)


class RisNomaBase(System[P, State]):
    """What the two systems share: worlds, one slot, reward, observation."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("delivered_bits", "bit", "Raw equivalent of the bits delivered in the slot."),
        Metric(
            "useful_bits",
            "bit",
            "Bits that count in reward and efficiency: delivered, weighted by similarity if asked.",
        ),
        Metric("dropped_bits", "bit", "Raw equivalent of the bits expired or overflowed."),
        Metric("arrived_bits", "bit", "Raw bits that arrived at the end of the slot."),
        Metric("energy_tx_j", "J", "Transmit energy, amplifier losses included."),
        Metric("energy_compute_j", "J", "Energy of semantic extraction."),
        Metric("energy_static_j", "J", "Circuits of the users and of the RIS."),
        Metric("energy_j", "J", "All energy of the slot."),
        Metric("slot_ee_bit_per_j", "bit/J", "Useful bits over energy of this slot."),
        Metric("solver_ops", "1", "Nominal operations of the optimisers in this step."),
        Metric("power_w", "W", "Transmit power of every user.", 1),
        Metric("rho", "1", "Extraction factor of every user.", 1),
        Metric("volume_bits", "bit", "Raw bits extracted by every user.", 1),
        Metric("order", "1", "Users in decoding order.", 1),
        Metric(
            "block", "1", "Block that was set: 0 extraction, 1 surface, 2 order, 3 none, -1 all.", 1
        ),
        Metric("ee_cum_bit_per_j", "bit/J", "Useful bits over energy since the episode began.", 1),
    )
    scores: ClassVar[tuple[Score, ...]] = (
        Score(
            "energy_efficiency_bit_per_j",
            "bit/J",
            "useful_bits",
            "energy_j",
            description="Bits delivered per joule: a ratio of sums over all slots.",
        ),
        Score("return", "1", "reward"),
        Score(
            "mean_slot_ee_bit_per_j",
            "bit/J",
            "slot_ee_bit_per_j",
            "steps",
            description="Mean of the slots' own efficiencies: ranks policies differently.",
        ),
        Score("drop_share", "1", "dropped_bits", "arrived_bits", higher_is_better=False),
        Score("delivered_bits_per_slot", "bit", "delivered_bits", "steps"),
        Score("energy_per_slot_j", "J", "energy_j", "steps", higher_is_better=False),
        Score("solver_ops_per_slot", "1", "solver_ops", "steps", higher_is_better=False),
    )

    def __init__(
        self,
        params: P,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, dtype=dtype, device=device, info_level=info_level)
        # Level-1 metrics have the size of this system.
        per_user = {"power_w", "rho", "volume_bits", "order"}
        shape = (params.num_users,)
        self.metrics = tuple(  # type: ignore[misc]
            m._replace(shape=shape) if m.name in per_user else m for m in type(self).metrics
        )
        self.model = Model(params, dtype, self.device)
        self._observer = Observer(self.model)
        self._direct: DirectSource | None = None
        self._traffic: ArrivalSource | None = None
        if params.channel != MODEL:
            self._direct = DirectSource(params, self.dtype, self.device)
        if params.arrivals != MODEL:
            self._traffic = ArrivalSource(params, self.dtype, self.device)
        constant = self.model.constant
        self._busy = constant(params.arrival_probability)
        self._least_task = constant(params.min_task_bits)
        spread = params.max_task_bits - params.min_task_bits
        self._task_slope = constant(spread / params.arrival_probability)
        self._constants, self._slopes = self._mix()
        self._clock_blocks = torch.tensor([0, 1, 2, -1], device=self.device)
        self.observation_space = cast("Any", self._observer.space)
        users, model = params.num_users, self.model
        step: dict[str, tuple[Kind, tuple[int, ...]]] = {
            "fading": ("cn", (model.num_links,)),
            "arrivals": ("uniform", (users,)),
        }
        if model.error_links:
            step["csi"] = ("cn", (model.error_links,))
        if self._direct is not None or self._traffic is not None:
            step["world"] = ("key", ())
        self.step_draws = self.draw_table(step)
        self.start_draws = self.draw_table(
            step
            | {
                "geometry": ("uniform", (users, 2)),
                "controls": ("uniform", (params.num_elements,)),
            }
        )

    def start(self, noise: Draws) -> State:
        """First states: users in the disc, stationary channel, first arrivals, default controls."""
        p, model = self.params, self.model
        uniform = noise["geometry"]
        radius = p.users_radius_m * torch.sqrt(uniform[..., 0])
        angle = 2.0 * math.pi * uniform[..., 1]
        position = torch.stack(
            [p.users_x_m + radius * torch.cos(angle), p.users_y_m + radius * torch.sin(angle)], -1
        )
        los, scatter = link_statistics(model, position)
        links = torch.addcmul(los, scatter.unsqueeze(1), self._innovation(noise))
        ages = [INITIAL_AGE if p.init == "default" else 0.0] * 3
        clock = torch.tensor([*ages, 0.0], dtype=self.dtype, device=self.device)
        clock = clock.repeat(radius.shape[0], 1)
        links = self._with_direct(links, scatter, noise, clock)
        arrivals = self._arrivals(noise, clock)
        zero = torch.zeros_like(arrivals)
        columns = [
            torch.full_like(arrivals, model.mean_user_bits),
            torch.full_like(arrivals, max(INITIAL_RHO, p.rho_min)),
            *[zero] * (BUCKETS - 2 + model.window - 1),
            arrivals,
        ]
        rows = arrivals.shape[0]
        identity = torch.arange(model.users, device=self.device)
        state = State(
            links=links,
            los=los,
            scatter=scatter,
            users=torch.stack(columns, -1),
            position_m=position,
            surface=surface_of(model, (2.0 * noise["controls"] - 1.0) * math.pi),
            order=identity.repeat(rows, 1),
            clock=clock,
            totals=torch.zeros(rows, 6, dtype=self.dtype, device=self.device),
            gain=torch.zeros(rows, 0, dtype=self.dtype, device=self.device),
            aligned=torch.zeros(rows, 0, dtype=self.dtype, device=self.device),
        )
        if p.init == "ao":
            state = with_controls(state, solve_ao(model, state, rounds=1))
        if not model.hears_gains:
            return state
        gain = single_antenna_gain(model, links, state.surface)
        return state._replace(gain=gain, aligned=aligned_amplitude(model, links))

    def observe(self, state: State) -> Tensor:
        """Features of the held controls on the current channel; see `Observer`."""
        return self._observer(state)

    def draw(self, state: State, row: int, canvas: Canvas) -> None:
        """Paint one row; see `draw_scene`."""
        draw_scene(self.model, state, row, canvas)

    def _slot(
        self,
        state: State,
        controls: Controls,
        clock: Tensor,
        noise: Draws,
        ops: Tensor | None,
        block: Tensor | None = None,
        traffic: Traffic | None = None,
    ) -> tuple[State, Step]:
        """One slot.

        Args:
            state: before the step.
            controls: of this slot; they are held afterwards.
            clock: (rows, 4) after this step.
            noise: the step's draws.
            ops: (rows,) nominal operations of the optimisers; None is none.
            block: (rows,) what was set, for the diagnostics; None is everything.
            traffic: of the state, where it is at hand.
        """
        model, powers = self.model, self.info_level > 0
        links = evolve_links(model, state, self._innovation(noise))
        links = self._with_direct(links, state.scatter, noise, clock)
        gain, aligned = state.gain, state.aligned
        air: Air
        if model.hears_gains:
            # This slot's gains, and those that the next observation shows.
            if len(links) <= FEW_ROWS:
                both = torch.stack([state.links, links])
                air, gain = single_antenna_gain(model, both, controls.surface).unbind(0)
            else:
                air = single_antenna_gain(model, state.links, controls.surface)
                gain = single_antenna_gain(model, links, controls.surface)
            aligned = aligned_amplitude(model, links)
        else:
            air = true_air(model, state.links, controls.surface)
        slot = serve(model, state, controls, air, traffic, powers)
        arrivals = self._arrivals(noise, clock)
        sums = self._sums(slot, arrivals)
        reward, scalars = self._account(sums, ops)
        metrics: dict[str, Tensor] = {}
        new = State(
            links=links,
            los=state.los,
            scatter=state.scatter,
            users=next_users(controls, slot, arrivals),
            position_m=state.position_m,
            surface=controls.surface,
            order=controls.order,
            clock=clock,
            totals=state.totals + sums,
            gain=gain,
            aligned=aligned,
        )
        if self.info_level > 0:
            metrics |= self._diagnose(slot, new, block)
        never = torch.zeros_like(reward, dtype=torch.bool)
        return new, Step(reward, never, metrics, scalars)

    def _clock_after(self, state: State, block: Tensor) -> Tensor:
        """(rows, 4) clock after a step that sets one block, (rows,) int64."""
        hit = block.unsqueeze(-1) == self._clock_blocks
        return torch.where(hit, 0.0, state.clock + 1.0)

    def _innovation(self, noise: Draws) -> Tensor:
        """(rows, 2, links) innovations of the links, then those of the estimation errors."""
        if not self.model.error_links:
            return noise["fading"]
        return torch.cat([noise["fading"], noise["csi"]], -1)

    def _with_direct(self, links: Tensor, scatter: Tensor, noise: Draws, clock: Tensor) -> Tensor:
        """Links whose direct part is the channel source's, where there is one."""
        if self._direct is None:
            return links
        return self._direct.put_in(links, scatter, noise["world"], clock[:, 3])

    def _arrivals(self, noise: Draws, clock: Tensor) -> Tensor:
        """(rows, users) bits: with probability p_on a task uniform in [D_min, D_max].

        One uniform decides both: below p_on it is again uniform when divided by p_on. With a
        recording what it holds for the slot on the clock, (rows, 4).
        """
        if self._traffic is not None:
            return self._traffic.at(noise["world"], clock[:, 3])
        uniform = noise["arrivals"]
        size = torch.addcmul(self._least_task, uniform, self._task_slope)
        return torch.where(uniform < self._busy, size, self.model.zero)

    @staticmethod
    def _sums(slot: Slot, arrivals: Tensor) -> Tensor:
        """(rows, 6) what the slot did, over all users, in the columns of `State.totals`."""
        parts = [
            slot.delivered_bits,
            slot.useful_bits,
            slot.dropped_bits,
            arrivals,
            slot.transmit_j,
            slot.compute_j,
        ]
        return torch.stack(parts, 1).sum(-1)

    def _account(self, sums: Tensor, ops: Tensor | None) -> tuple[Tensor, Tensor]:
        """The reward, (rows,), and the level-0 metrics side by side, (rows, 10).

        The reward is ``(useful - lambda E - omega dropped) / (K mean arrivals)``, or the slot's
        efficiency less what was dropped.
        """
        mixed = torch.addmm(self._constants, sums, self._slopes)
        scalars = mixed.detach()[:, :-1]  # of the metrics no gradient is wanted
        reward = mixed[:, -1]
        efficiency = scalars[:, SLOT_EE]  # up to here the energy
        if self.params.reward == "slot_ee":
            ratio = sums[:, USEFUL] / efficiency.clone()
            reward = torch.add(reward, ratio, alpha=SLOT_EE_SCALE)
        efficiency.copy_(scalars[:, USEFUL] / efficiency)
        if ops is not None:
            scalars[:, -1].copy_(ops)
        return reward, scalars

    def _mix(self) -> tuple[Tensor, Tensor]:
        """The level-0 metrics, then the reward, as linear functions of `_sums`.

        Returns:
            Constants (11,) and slopes (6, 11). The column of the slot's efficiency is its
            denominator, the energy and a trifle; `_account` divides, and fills in the operations.
        """
        p, model = self.params, self.model
        names = [m.name for m in self.metrics if m.level == 0]
        slopes = torch.zeros(len(SUMMED), len(names) + 1, dtype=torch.float64)
        constants = slopes.new_zeros(len(names) + 1)
        for row, name in enumerate(SUMMED):
            slopes[row, names.index(name)] = 1.0
        for column in (ENERGY, SLOT_EE):
            slopes[[TRANSMIT, COMPUTE], column] = 1.0
        constants[[names.index("energy_static_j"), ENERGY]] = model.static_j
        constants[SLOT_EE] = model.static_j + TINY_J
        slopes[DROPPED, -1] = -p.drop_weight / model.mean_bits
        if p.reward != "slot_ee":
            slopes[USEFUL, -1] = 1.0 / model.mean_bits
            slopes[[TRANSMIT, COMPUTE], -1] = -p.reference_ee / model.mean_bits
            constants[-1] = -p.reference_ee * model.static_j / model.mean_bits
        return constants.to(self.device, self.dtype), slopes.to(self.device, self.dtype)

    def _diagnose(self, slot: Slot, new: State, block: Tensor | None) -> dict[str, Tensor]:
        """The level-1 metrics."""
        energy = new.totals[:, [TRANSMIT, COMPUTE]].sum(-1) + new.slot * self.model.static_j
        useful = new.totals[:, USEFUL]
        return {
            "power_w": slot.power_w,
            "rho": new.rho,
            "volume_bits": slot.volume_bits,
            "order": new.order,
            "block": torch.full_like(energy, -1.0) if block is None else block,
            "ee_cum_bit_per_j": useful / energy.clamp_min(TINY_J),
        }


class RisNoma(RisNomaBase[RisNomaParams]):
    """Full control of a RIS-assisted semantic uplink: volumes, factors, phases, order.

    Each slot, K users extract semantic bits from raw data that has deadlines, then send them
    together to an access point that decodes one user after another, over direct paths and over a
    surface of N elements. The aim is raw-equivalent bits delivered per joule, as a ratio of sums.

    **Action**: ``Box(-1, 1, (3 K + N,))``: shares of the volume that may be extracted, extraction
    factors, phases over pi, decoding scores; see `decode_action`. With
    ``action_mode="block_param"`` a dictionary of a block (0 extraction, 1 surface, 2 order) and
    that vector, of which only the block's part is applied and the rest is held.

    **Observation**: ``Box(-10, 10, (K (11 + W) + 5,), float32)``; see `Observer`.

    **Reward**: (useful bits - reference_ee energy - drop_weight dropped bits) / mean arrivals of a
    slot; with ``reward="slot_ee"`` 1e-7 times the slot's own efficiency, less dropped bits.

    **Starting state**: users uniform in a disc, a stationary channel, first arrivals only, random
    phases, identity order, factor 0.5, mean volume; with ``init="ao"`` optimised once.

    **Episode end**: never terminates; truncated after 100 slots unless made otherwise.
    """

    params_type = RisNomaParams

    def __init__(
        self,
        params: RisNomaParams,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, dtype=dtype, device=device, info_level=info_level)
        box = spaces.Box(-1.0, 1.0, (action_size(self.model),), np.float32)
        self._by_block = params.action_mode == "block_param"
        self._tick = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=self.dtype, device=self.device)
        space = (
            spaces.Dict({"block": spaces.Discrete(3), "controls": box}) if self._by_block else box
        )
        self.action_space = cast("Any", space)

    def advance(self, state: State, action: Action, noise: Draws) -> tuple[State, Step]:
        """One slot under the action's controls."""
        if not self._by_block:
            assert isinstance(action, Tensor)
            traffic = state.traffic
            controls = decode_action(self.model, state, action, traffic)
            # Everything was set: the ages are 0 and only the slot goes on.
            clock = torch.addcmul(self._tick, state.clock, self._tick)
            return self._slot(state, controls, clock, noise, None, traffic=traffic)
        assert isinstance(action, dict)
        block = action["block"]
        new = decode_action(self.model, state, action["controls"])
        controls = mix_blocks(state.controls, new, block)
        clock = self._clock_after(state, block)
        return self._slot(state, controls, clock, noise, None, block.to(self.dtype))


class RisNomaSelect(RisNomaBase[RisNomaSelectParams]):
    """Choose in every slot which of three blocks an optimiser redoes; the others are held.

    The world, the observation, the reward and the starting state are those of `RisNoma`: row seed s
    is the same world in both.

    **Action**: ``Discrete(3)``: 0 traffic reshaping (volumes and factors), 1 channel
    reconfiguration (phases), 2 decoding order; with ``allow_noop`` 3, which redoes nothing. Held
    are phases, order, factors and volumes in bits (``hold="rate"``), or with ``hold="queue"`` the
    factors only, the volume following the backlog.

    **Cost**: ``solver_ops`` in ``info``: nominal operations of the optimiser that ran.
    """

    params_type = RisNomaSelectParams
    contains_solver = True

    def __init__(
        self,
        params: RisNomaSelectParams,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, dtype=dtype, device=device, info_level=info_level)
        self.num_actions = 4 if params.allow_noop else 3
        self.action_space = cast("Any", spaces.Discrete(self.num_actions))
        ops = [solver_ops(self.model, block) for block in range(NOOP + 1)]
        self._ops = torch.tensor(ops, dtype=self.dtype, device=self.device)

    def advance(self, state: State, action: Action, noise: Draws) -> tuple[State, Step]:
        """One slot after the chosen block was redone, of the rows that chose it only."""
        if not isinstance(action, Tensor):
            raise ActionError("action: allowed: one integer a row")
        controls = state.controls
        for block in range(NOOP):
            rows = (action == block).nonzero().squeeze(-1)
            count = rows.shape[0]
            if count == action.shape[0]:
                controls = solve_block(self.model, state, block)
                break
            if count:
                part = State(*(leaf[rows] for leaf in state))
                solved = solve_block(self.model, part, block)
                fresh = Controls(
                    *(c.index_copy(0, rows, s) for c, s in zip(controls, solved, strict=True))
                )
                controls = take_block(controls, fresh, block)
        clock = self._clock_after(state, action)
        return self._slot(state, controls, clock, noise, self._ops[action], action.to(self.dtype))
