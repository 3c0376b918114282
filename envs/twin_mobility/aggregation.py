"""`sixgym/AgentAggregation-v0`: agents hand over what they know, in pairs, until one has all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.game import ALIVE, Game, GameStep, Group, Joint, Moves
from sixgym.envs.core.system import Metric, Observation, Score
from sixgym.envs.twin_mobility.aggregation_areas import Raster, union_jaccard
from sixgym.envs.twin_mobility.aggregation_instance import RESET_OPTIONS, scenario_of
from sixgym.envs.twin_mobility.aggregation_metrics import METRICS, SCORES
from sixgym.envs.twin_mobility.aggregation_moves import (
    KEEP_RATIO,
    NUM_CONTROLS,
    SEND_RATIO,
    Way,
    keep_ratio,
    send_ratio,
    way_of,
)
from sixgym.envs.twin_mobility.aggregation_observation import ACTIVE, BOUND, OWN, Observer
from sixgym.envs.twin_mobility.aggregation_pairing import (
    NOBODY,
    Pairing,
    Pairs,
    by_bids,
    by_costs,
    by_scores,
)
from sixgym.envs.twin_mobility.aggregation_params import AgentAggregationParams
from sixgym.envs.twin_mobility.aggregation_round import (
    Link,
    move_energy_j,
    potential_field_cost,
    potential_j,
    ready_s,
    send,
    work_flop,
)
from sixgym.envs.twin_mobility.aggregation_state import (
    FAILED_GIVING,
    FAILED_TAKING,
    GAVE,
    IDLE,
    TOOK,
    AggregationState,
)

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

GROUP = "agent"
BID, CONTROLS = "bid", "u"
"""Parts of an action."""


class Round(NamedTuple):
    """What the agents did in a round; tensors (rows, N)."""

    pairs: Pairs
    way: Way
    ratio: Tensor
    """Of the agent's role; 1 of who sits idle."""
    left_s: Tensor
    """Time left for the link; 0 of who sits idle."""
    link: Link
    """Of those who send; of the others power and energy are 0."""
    fused: Tensor
    """bool: in a pair whose link was made."""
    energy_j: Tensor
    """(rows, N, 3) moving, computing, sending."""


class AgentAggregation(Game[AgentAggregationParams, AggregationState]):
    r"""Agents in patrol discs gather what they know at one of them, round by round.

    Every agent holds a payload L of bits about the discs of its sources. In a round the active
    agents pair up; all paired agents move within their discs and compress, the sender i transmits
    eta_i L_i, the receiver j keeps eta_j L_j, and L_j becomes eta_j L_j + eta_i L_i. The sender
    has then done its part. Compressing by eta costs L (C_base + C_gen gamma (1 - rho) ln(1 / eta))
    FLOP, where rho is the Jaccard index of the areas that an agent and the one it took over from
    last had covered, as they were before; at the start it is 1, so the first compression is cheap.
    What is left of the round after moving and computing, on both sides, is for the link; the sender
    transmits with the least power that fills it. If that is more than P_max, or no more than 10 ms
    are left, the link fails: nothing is handed over, both stay active, and what they spent on
    moving and computing is spent.

    **Agents**: ``agent_0``, ``agent_1``, ...; who has handed over stays, idle, unless
    ``death_mode="remove"``.

    **Action** of each: ``Dict(bid=Box(0, 1, (N,)), u=Box(0, 1, (5,)))`` with
    ``action_mode="hybrid"``, ``Box(0, 1, (N + 5,))`` with ``"flat"``, bids first. ``bid[j]`` is for
    agent j as a partner; ``u`` is read as `sixgym.envs.twin_mobility.aggregation_moves` says. With
    ``pairing="hmap"`` there are no bids. With ``pairing="central"`` the bids of all agents are one
    N x N matrix of scores, row i being agent i's: entry (i, j) scores i sending to j. In the flat
    action of one controller the matrix therefore stands in rows: agent by agent N scores and 5
    controls, or in hybrid mode all N x N scores, then all N x 5 controls. In ``infos`` of an agent
    by name ``bid_mask`` and ``component_mask`` tell which of these numbers can matter.

    **Observation** of each: ``Box(10 + 8 (N - 1),)``: itself, then the others in order of seats;
    of one controller of all: the own blocks, then the N x N Jaccard matrix. See
    `sixgym.envs.twin_mobility.aggregation_observation`.

    **Reward** of the team, the same for each agent: minus the energy of the round over
    ``energy_ref_j``, minus ``failure_penalty`` for each failed link; when an episode fails minus
    ``stranded_j`` over ``energy_ref_j`` for each active agent but one; optional shaping.

    **Starting state**: centres uniform in the square, agents uniform in their discs, payloads and
    radii uniform in their ranges. ``reset(options={"instance": {...}})`` sets some or all of
    disc_xy, radius, pos and payload.

    **Episode end**: terminated when one active agent is left (``completed``), or as failed after
    ceil(log2 N) + ``extra_rounds`` rounds. It is never truncated by the registered limit.
    """

    params_type = AgentAggregationParams
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    scores: ClassVar[tuple[Score, ...]] = SCORES
    starts_often = True
    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS

    def __init__(
        self,
        params: AgentAggregationParams,
        *,
        joint: Joint | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, joint=joint, dtype=dtype, device=device, info_level=info_level)
        n = params.num_agents
        self.raster = Raster(params, self.device)
        self.pairing = Pairing(n, self.device)
        self.observer = Observer(params)
        self._bits = 2 ** torch.arange(n, device=self.device)
        self._may_leave = params.death_mode == "remove"
        self._has_bids = params.pairing != "hmap"
        seen = spaces.Box(-BOUND, BOUND, (self.observer.size,))
        self.set_groups((Group(GROUP, n, seen, self._action_space(), may_leave=self._may_leave),))
        if self.joint == "flat":
            shares = [n * OWN, n * n]
            low = np.repeat([-BOUND, 0.0], shares).astype(np.float32)
            high = np.repeat([BOUND, 1.0], shares).astype(np.float32)
            self.observation_space = spaces.Box(low, high, dtype=np.float32)
        self.start_draws = self.draw_table(
            {
                "centre": ("uniform", (n, 2)),
                "radius": ("uniform", (n,)),
                "place": ("uniform", (n, 2)),
                "payload": ("uniform", (n,)),
            }
        )
        self.step_draws = self.draw_table({})

    def _action_space(self) -> spaces.Space[Any]:
        """The action space of an agent."""
        n, is_flat = self.params.num_agents, self.params.action_mode == "flat"
        bids = n if self._has_bids else 0
        if is_flat:
            return spaces.Box(0.0, 1.0, (bids + NUM_CONTROLS,))
        parts = {BID: spaces.Box(0.0, 1.0, (n,))} if bids else {}
        return spaces.Dict({**parts, CONTROLS: spaces.Box(0.0, 1.0, (NUM_CONTROLS,))})

    # -------------------------------------------------------------------------------------- start

    def start(self, noise: Draws) -> AggregationState:
        """First states: discs, places in them and payloads."""
        p = self.params
        low, high = p.radius_range_m
        centre = p.area_m * noise["centre"]
        radius = low + (high - low) * noise["radius"]
        angle = 2.0 * torch.pi * noise["place"][..., 0]
        # The square root makes places uniform in the disc.
        away = (radius * noise["place"][..., 1].sqrt()).unsqueeze(-1)
        position = centre + away * torch.stack([angle.cos(), angle.sin()], -1)
        low, high = p.payload_range_bit
        payload = low + (high - low) * noise["payload"]
        return self.first_state(centre, radius, position, payload)

    def first_state(
        self, centre: Tensor, radius: Tensor, position: Tensor, payload_bit: Tensor
    ) -> AggregationState:
        """The state at the start of an episode of given scenarios.

        Args:
            centre: (rows, N, 2) m.
            radius: (rows, N) m.
            position: (rows, N, 2) m, within the discs.
            payload_bit: (rows, N).
        """
        cells = self.raster.union_cells(centre, radius, self.dtype)
        sources = self._bits.expand(len(centre), -1)
        nobody = torch.full_like(sources, NOBODY)
        zero = torch.zeros_like(radius)
        return AggregationState(
            disc=torch.cat([centre, radius.unsqueeze(-1)], -1),
            union_cells=cells,
            position=position,
            payload_bit=payload_bit,
            redundancy=torch.ones_like(radius),
            sources=sources,
            round=torch.zeros_like(sources[:, 0]),
            jaccard=union_jaccard(cells, sources),
            spent_j=zero.unsqueeze(-1).repeat(1, 1, 3),
            before=position,
            partner=nobody,
            deed=torch.full_like(sources, IDLE),
            last_j=zero,
        )

    def with_options(self, state: AggregationState, options: Mapping[str, Any]) -> AggregationState:
        """First states of given scenarios, see `scenario_of`."""
        return self.first_state(*scenario_of(self.params, state, options))

    def agent_ids(self, state: AggregationState) -> Tensor:
        """(rows, N) the agent on its seat, -1 once it has left."""
        ids = super().agent_ids(state)
        return torch.where(state.active, ids, -1) if self._may_leave else ids

    # --------------------------------------------------------------------------------------- play

    def play(
        self, state: AggregationState, moves: Moves, noise: Draws
    ) -> tuple[AggregationState, GameStep]:
        """One round."""
        bid, u = self._read(moves)
        done = self._round(state, u, self.pair_up(state, bid))
        new = self._next(state, done)
        reward, account = self._account(state, new, done)
        over = (new.num_active == 1) | (new.round >= self.params.max_rounds)
        return new, GameStep(reward.unsqueeze(1).expand_as(new.radius), over, account)

    def _read(self, moves: Moves) -> tuple[Tensor | None, Tensor]:
        """Bids (rows, N, N), if there are any, and controls (rows, N, 5)."""
        if self.params.action_mode == "hybrid":
            return moves.get(f"{GROUP}.{BID}"), moves[f"{GROUP}.{CONTROLS}"]
        both = moves[GROUP]
        bid = both[..., :-NUM_CONTROLS] if self._has_bids else None
        return bid, both[..., -NUM_CONTROLS:]

    def pair_up(self, state: AggregationState, bid: Tensor | None) -> Pairs:
        """Who hands over to whom.

        Args:
            state: at the beginning of a round.
            bid: (rows, N, N), of agent i for (or to) agent j; None with ``pairing="hmap"``.
        """
        active = state.active
        if bid is None:
            cost = potential_field_cost(
                self.params, state.position, active, state.payload_bit, state.redundancy
            )
            return by_costs(self.pairing, cost, active)
        choose = by_scores if self.params.pairing == "central" else by_bids
        return choose(self.pairing, bid, active, state.payload_bit)

    def _round(self, state: AggregationState, u: Tensor, pairs: Pairs) -> Round:
        """Paired agents move and compress, then senders transmit in the time that is left."""
        p = self.params
        paired, other = pairs.is_paired, pairs.other
        way = way_of(p, state.position, state.disc, u, paired)
        asked = torch.where(
            pairs.sends, send_ratio(p, u[..., SEND_RATIO]), keep_ratio(p, u[..., KEEP_RATIO])
        )
        ratio = torch.where(paired, asked, 1.0)
        flop = work_flop(p, state.payload_bit, state.redundancy, ratio) * paired
        ready = ready_s(p, way.time_s, flop / p.cpu_flops)
        left = p.round_time_s - torch.maximum(ready, ready.gather(1, other))
        across = way.end - way.end.gather(1, other.unsqueeze(-1).expand_as(way.end))
        bits = ratio * state.payload_bit
        link = send(p, bits, left, across.square().sum(-1).sqrt())
        fails = torch.where(pairs.sends, link.fails, link.fails.gather(1, other)) & paired
        goes = pairs.sends & ~fails
        link = Link(link.power_w * goes, torch.where(goes, link.energy_j, 0.0), fails)
        moved = move_energy_j(p, way.distance_m, way.time_s)
        energy = torch.stack([moved, p.joule_per_flop * flop, link.energy_j], -1)
        left = torch.where(paired, left, 0.0)
        return Round(pairs, way, ratio, left, link, paired & ~fails, energy)

    def _next(self, state: AggregationState, done: Round) -> AggregationState:
        """Receivers take over, senders have done their part."""
        pairs, fused, other = done.pairs, done.fused, done.pairs.other
        gave, took = pairs.sends & fused, ~pairs.sends & fused
        bits = done.ratio * state.payload_bit
        payload = torch.where(took, bits + bits.gather(1, other), state.payload_bit)
        shared = state.jaccard.gather(2, other.unsqueeze(2)).squeeze(2)
        sources = torch.where(took, state.sources | state.sources.gather(1, other), state.sources)
        sources = torch.where(gave, 0, sources)
        deed = torch.where(pairs.sends, FAILED_GIVING, FAILED_TAKING)
        deed = torch.where(fused, torch.where(gave, GAVE, TOOK), deed)
        return AggregationState(
            disc=state.disc,
            union_cells=state.union_cells,
            position=done.way.end,
            payload_bit=torch.where(gave, 0.0, payload),
            redundancy=torch.where(took, shared, state.redundancy),
            sources=sources,
            round=state.round + 1,
            jaccard=union_jaccard(state.union_cells, sources),
            spent_j=state.spent_j + done.energy_j,
            before=state.position,
            partner=pairs.partner,
            deed=torch.where(pairs.is_paired, deed, IDLE),
            last_j=done.energy_j.sum(-1),
        )

    # ------------------------------------------------------------------------- reward and metrics

    def central_reward(self, reward: Tensor) -> Tensor:
        """The team's reward, once."""
        return reward[:, 0]

    def _potential(self, state: AggregationState) -> Tensor:
        """(rows,) minus the potential of the active agents over E_ref; 0 with one of them."""
        p = self.params
        field = potential_j(p, state.position, state.active, state.payload_bit)
        return -(field * state.active).sum(1) / p.energy_ref_j

    def _account(
        self, state: AggregationState, new: AggregationState, done: Round
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The team's reward (rows,) and the metrics of a round."""
        p = self.params
        parts = done.energy_j.sum(1)
        energy = parts.sum(1)
        failures = (done.link.fails & done.pairs.sends).sum(1).to(self.dtype)
        completed = new.num_active == 1
        failed = (new.round >= p.max_rounds) & ~completed
        stranded = ((new.num_active - 1) * failed).to(self.dtype)
        mission = energy + p.stranded_j * stranded
        reward = -mission / p.energy_ref_j - p.failure_penalty * failures
        if p.shaping_weight > 0.0:
            after = torch.where(completed | failed, 0.0, self._potential(new))
            reward = reward + p.shaping_weight * (
                p.shaping_discount * after - self._potential(state)
            )
        worst = new.spent_j.sum(-1).amax(1)
        metrics = {
            "mission_j": mission,
            "energy_j": energy,
            "move_j": parts[:, 0],
            "compute_j": parts[:, 1],
            "send_j": parts[:, 2],
            "failures": failures,
            "handovers": (done.fused & done.pairs.sends).sum(1).to(self.dtype),
            "rounds": torch.ones_like(energy),
            "completed": completed.to(self.dtype),
            "stranded": stranded,
            "root_bit": torch.where(completed, new.payload_bit.sum(1), 0.0),
            "worst_agent_j": torch.where(completed | failed, worst, 0.0),
            "agent_energy_j": new.last_j,
        }
        if self.info_level > 0:
            metrics |= {
                "agent_partner": done.pairs.partner.to(self.dtype),
                "agent_deed": new.deed.to(self.dtype),
                "agent_moved_m": done.way.distance_m,
                "agent_ratio": done.ratio,
                "agent_power_w": done.link.power_w,
                "agent_time_left_s": done.left_s,
                "agent_payload_bit": new.payload_bit,
                "agent_active": new.active.to(self.dtype),
            }
        return reward, metrics

    # ------------------------------------------------------------------------------- what is seen

    def perceive(self, state: AggregationState, moves: Moves) -> dict[str, Tensor]:
        """(rows, N, 10 + 8 (N - 1)) float32 of each agent; see the class."""
        return {GROUP: self.observer.agents(state)}

    def overview(self, state: AggregationState) -> Tensor:
        """(rows, 10 N + N^2) float32: the own blocks and the Jaccard matrix."""
        own, jaccard = self.observer.own(state), state.jaccard.to(torch.float32)
        return torch.cat([own.flatten(1), jaccard.flatten(1)], 1)

    def observe(self, state: AggregationState) -> Observation:
        """What one controller sees: `overview` in the layout ``"flat"``."""
        return self.overview(state) if self.joint == "flat" else super().observe(state)

    def seen(self, observation: Observation) -> dict[str, Tensor]:
        """What each agent sees, from what one controller sees; differs by rounding alone."""
        if isinstance(observation, dict):
            return super().seen(observation)
        n = self.params.num_agents
        own, jaccard = observation.split([n * OWN, n * n], 1)
        own, jaccard = own.unflatten(1, (n, OWN)), jaccard.unflatten(1, (n, n))
        seen = {GROUP: self.observer.rebuild(own, jaccard)}
        return {**seen, ALIVE: own[..., ACTIVE]} if self._may_leave else seen

    def tell(self, state: AggregationState, moves: Moves, group: str, place: int) -> dict[str, Any]:
        """``bid_mask`` (N,): whom to bid for; ``component_mask`` (5,): whether u can matter."""
        active = state.active[0].cpu().numpy()
        partners = active & active[place]
        partners[place] = False
        controls = np.full(NUM_CONTROLS, active[place])
        return {"bid_mask": partners.astype(np.int8), "component_mask": controls.astype(np.int8)}

    def draw(self, state: AggregationState, row: int, canvas: Canvas) -> None:
        """Paint one row."""
        from sixgym.envs.twin_mobility.aggregation_scene import draw_aggregation_scene

        draw_aggregation_scene(self, state, row, canvas)
