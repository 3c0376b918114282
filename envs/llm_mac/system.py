"""`sixgym/LlmMac-v0`: a base station leads, users who come and go follow, one channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.game import Game, GameStep, Group, Joint, Moves
from sixgym.envs.core.system import Metric, Observation, Score
from sixgym.envs.llm_mac.account import Account
from sixgym.envs.llm_mac.codes import NUM_ACTIONS
from sixgym.envs.llm_mac.fairness import contributions, jain_index
from sixgym.envs.llm_mac.levels import Level
from sixgym.envs.llm_mac.metrics import METRICS, SCORES
from sixgym.envs.llm_mac.observation import Observer
from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.population import Change, Population, Streams
from sixgym.envs.llm_mac.rewards import Rewards
from sixgym.envs.llm_mac.scene import draw_scene, pack
from sixgym.envs.llm_mac.slot import Channel, Slot
from sixgym.envs.llm_mac.speech import BS, UE, Said, Speech
from sixgym.envs.llm_mac.state import LOG_SLOTS, MacState
from sixgym.envs.llm_mac.traffic import Traffic

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

ROWS = "rows"
"""No draw: tells `LlmMac.start` the number of rows."""
HIDDEN = "hidden"
"""Key of what only a privileged controller sees."""


class LlmMac(Game[LlmMacParams, MacState]):
    r"""A base station and a changing set of users share one uplink channel.

    A user has a buffer of packets. Only the packet at the head can be sent; it stays in the buffer
    until the user deletes it, which loses it unless the base station has decoded it. Two who send
    at once collide. In each slot the base station sends every user a message (null, schedule grant,
    acknowledgement), then the users move (``timing="stackelberg"``), or all move at once and
    messages are read in the next slot (``"delayed"``). Messages cost nothing on the channel and
    never get lost; they bind nobody.

    **Agents**: ``bs_0``, and users ``ue_0``, ``ue_1``, ... who may join and leave; a number is
    never used again in an episode, a seat is. ``role`` leaves one side to a fixed partner.

    **Action** of a user: ``Discrete(6)``, 2 a + u with a in nothing, transmit, delete and u in
    null, schedule request. Of the base station: ``MultiDiscrete([3] * n_max)``, a message for each
    seat, or with ``bs_action="pointer"`` ``MultiDiscrete([n_max + 1] * 2)``: seat + 1 that is
    granted, seat + 1 that is acknowledged, 0 for nobody; the same for both acknowledges. What the
    level of the action grammar forbids (``pag_level``) becomes silence, and is counted.

    **Observation** of a user: ``Box(10,)``; of the base station ``Dict(rows=Box(n_max, 7),
    glob=Box(4,))``; see `sixgym.envs.llm_mac.observation`. ``infos[agent]["x"]`` holds the
    integers of the paper's predecessor: (q, a, u, m) of a user, (o, all u, all m) of the base
    station.

    **Reward**: utilities of leader and followers, see `sixgym.envs.llm_mac.rewards`. One controller
    of all agents is paid the base station's, one of all users the sum of theirs.

    **Starting state**: empty buffers, nobody has said anything.

    **Episode end**: truncated after 24 slots unless made otherwise; terminated only with finite
    traffic, when all packets are delivered and deleted.
    """

    params_type = LlmMacParams
    metrics: ClassVar[tuple[Metric, ...]] = METRICS
    scores: ClassVar[tuple[Score, ...]] = SCORES

    def __init__(
        self,
        params: LlmMacParams,
        *,
        joint: Joint | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, joint=joint, dtype=dtype, device=device, info_level=info_level)
        p, where = params, self.device
        self.population = Population(p, where)
        self.traffic = Traffic(p, dtype, where)
        self.channel = Channel(p, dtype, where)
        self.rewards = Rewards(p, dtype, where)
        self.observer = Observer(p, where)
        self.speech = Speech(p, where)
        self.account = Account(p, dtype, where)
        self._seat_groups()
        self._set_draws()

    def _seat_groups(self) -> None:
        p, observer = self.params, self.observer
        message = [p.n_max + 1] * 2 if p.bs_action == "pointer" else [p.num_dcm] * p.n_max
        leader = Group(BS, 1, observer.bs_space, spaces.MultiDiscrete(message), is_masked=True)
        stays = p.population == "fixed" and p.num_users == p.n_max
        follower = Group(
            UE,
            p.n_max,
            observer.user_space,
            spaces.Discrete(NUM_ACTIONS * p.num_ucm),
            agents=p.agents,
            is_masked=True,
            may_leave=not stays,
        )
        if p.role == "leader":
            self.set_groups((leader,))
        elif p.role == "follower":
            self.set_groups((follower,))
        else:
            self.set_groups((leader, follower), ((BS,), (UE,)) if self.speech.leads else None)
        self.metrics = (  # type: ignore[misc]
            *self.metrics,
            Metric("x_bs", "1", "(o, all u, all m) after the slot.", 1, (1 + 2 * p.n_max,)),
            Metric("x_ue", "1", "(q, a, u, m) of each seat after the slot.", 1, (p.n_max, 4)),
        )
        if p.privileged:
            self._show_hidden()

    def _set_draws(self) -> None:
        p = self.params
        start: Streams = {
            ROWS: ("key", ()),
            **self.population.start_streams,
            **self.traffic.start_streams,
        }
        step: Streams = {
            **self.population.step_streams,
            **self.traffic.step_streams,
            **self.channel.step_streams,
        }
        if p.role == "follower" and p.partner_bs == "contention_free":
            start["coin"] = step["coin"] = ("uniform", (1,))
        if p.role == "leader" and p.partner_users == "aloha":
            step["partner"] = ("uniform", (p.n_max,))
        self.start_draws = self.draw_table(start)
        self.step_draws = self.draw_table(step)

    # -------------------------------------------------------------------------------------- start

    def start(self, noise: Draws) -> MacState:
        """First states."""
        p, where = self.params, self.device
        rows = noise[ROWS].shape[0]
        agent_id = self.population.start(noise, rows)
        zero = torch.zeros_like(agent_id)
        scalar = torch.zeros(rows, dtype=torch.int64, device=where)
        here = agent_id >= 0
        saturated = p.traffic == "saturated"
        first = p.buffer_size if saturated else p.initial_queue
        kept = 0 if saturated else p.buffer_size
        arrived = torch.full((rows, p.n_max, kept), -1, dtype=torch.int16, device=where)
        past = self.observer.no_past(rows, where)
        return MacState(
            agent_id=agent_id,
            q=first * here.to(torch.int64),
            d=zero,
            a=zero,
            u=zero,
            m=zero,
            o=scalar,
            slot=scalar,
            next_id=here.sum(1),
            age=zero,
            delivered=zero,
            generated=zero,
            arrived=arrived,
            head=zero,
            gone=torch.zeros(rows, 2, 3, dtype=self.dtype, device=where),
            jain=torch.ones(rows, 2, dtype=self.dtype, device=where),
            offset=self.traffic.first_offset(noise, scalar),
            coin=noise.get("coin", torch.zeros(rows, 0, dtype=self.dtype, device=where)),
            past_user=past.user,
            past_seat=past.seat,
            past_cell=past.cell,
            log=torch.zeros(rows, LOG_SLOTS, p.n_max, dtype=torch.int16, device=where),
        )

    def agent_ids(self, state: MacState) -> Tensor:
        """(rows, agents) int64: 0 for the base station, then the users' numbers by seat."""
        if self.params.role == "follower":
            return state.agent_id
        leader = torch.zeros_like(state.agent_id[:, :1])
        if self.params.role == "leader":
            return leader
        return torch.cat([leader, state.agent_id], 1)

    # ------------------------------------------------------------------------------------ messages

    def heard(self, state: MacState, moves: Moves) -> Tensor:
        """(rows, N) int64: the last message that each user has heard.

        Args:
            state: at the beginning of a slot.
            moves: of those whose turn is over.
        """
        return self.speech.heard(state, moves)

    def allowed(self, state: MacState, moves: Moves) -> dict[str, Tensor]:
        """Masks by the level of the grammar.

        The base station's mask is that of each seat by itself: that a second grant is forbidden
        depends on the first, see `sixgym.envs.llm_mac.levels.bs_free_masks`. Before the base
        station has moved users may do what some message allows.
        """
        return self.speech.allowed(state, moves)

    # ---------------------------------------------------------------------------------------- play

    def play(self, state: MacState, moves: Moves, noise: Draws) -> tuple[MacState, GameStep]:
        """One slot of all."""
        p = self.params
        said = self.speech.listen(state, moves, noise)
        arrivals = self.traffic.arrivals(state, noise)
        slot = self.channel(state, said.a, arrivals, noise)
        age = state.age + state.here
        delivered = state.delivered + slot.new
        generated = state.generated + slot.arrivals
        parts = contributions(age, delivered, generated, p.least_activity, self.dtype)
        jain = jain_index(state.gone + parts.sum(-1))
        new = state._replace(
            q=slot.q,
            d=slot.d,
            a=said.a,
            u=said.u,
            m=said.m,
            o=slot.o,
            slot=state.slot + 1,
            age=age,
            delivered=delivered,
            generated=generated,
            arrived=slot.arrived,
            head=slot.head,
            jain=jain,
            log=self._log(state, said, slot),
        )
        if state.coin.shape[1]:
            new = new._replace(coin=noise["coin"])
        new, change = self._move_people(state, new, noise, parts)
        stays = state.here if change is None else state.here & ~change.leaves
        past = self.observer.remember(state, said.heard, stays)
        new = new._replace(past_user=past.user, past_seat=past.seat, past_cell=past.cell)
        team = self.rewards.team(slot)
        metrics = self.account(state, new, said, slot, change, team)
        if self.info_level > 0:
            x_bs, x_ue = self.tuples(new, {})
            metrics |= {"x_bs": x_bs.to(self.dtype), "x_ue": x_ue.to(self.dtype)}
        growth = jain[:, 0] - state.jain[:, 0]
        reward = self._pay(state, said, slot, team, growth)
        return new, GameStep(reward, self._is_done(new), metrics)

    def _pay(self, state: MacState, said: Said, slot: Slot, team: Tensor, growth: Tensor) -> Tensor:
        """(rows, agents) the utilities of those who play."""
        role, rewards = self.params.role, self.rewards
        parts = []
        if role != "follower":
            parts.append(rewards.leader(team, said.m, growth).unsqueeze(1))
        if role != "leader":
            parts.append(rewards.users(slot, team, said.heard, said.u, state.here, growth))
        return torch.cat(parts, 1)

    def _is_done(self, new: MacState) -> Tensor:
        """(rows,) bool: all finite packets are delivered and deleted."""
        if self.params.traffic != "finite":
            return torch.zeros_like(new.slot, dtype=torch.bool)
        served = (new.delivered == self.params.packets) & (new.q == 0)
        return (served | ~new.here).all(1)

    def _move_people(
        self, state: MacState, new: MacState, noise: Draws, parts: Tensor
    ) -> tuple[MacState, Change | None]:
        """Who leaves and joins at the end of the slot; seats of both are wiped."""
        if not self.population.varies:
            return new, None
        change = self.population.change(new.agent_id, new.next_id, new.slot, noise)
        keep = new.here & ~change.leaves
        fresh = (change.agent_id >= 0) & ~keep
        q = new.q * keep
        if self.params.traffic == "saturated":
            q = q + self.params.buffer_size * fresh
        gone = new.gone + (parts * change.leaves[:, None, None]).sum(-1)
        return new._replace(
            agent_id=change.agent_id,
            next_id=change.next_id,
            q=q,
            d=new.d * keep,
            a=new.a * keep,
            u=new.u * keep,
            m=new.m * keep,
            age=new.age * keep,
            delivered=new.delivered * keep,
            generated=new.generated * keep,
            gone=gone,
        ), change

    def central_reward(self, reward: Tensor) -> Tensor:
        """The base station's utility; without one, the sum of the users'."""
        return reward.sum(1) if self.params.role == "follower" else reward[:, 0]

    # ------------------------------------------------------------------------------------- metrics

    def _log(self, state: MacState, said: Said, slot: Slot) -> Tensor:
        """The picture's memory with this slot in front; see `scene` for the bits."""
        code = pack(
            state.here, said.a, said.m, said.u, slot.outcome.unsqueeze(1), slot.correct, slot.sends
        )
        return torch.cat([code.unsqueeze(1), state.log[:, :-1]], 1)

    # ---------------------------------------------------------------------------- what is seen

    def perceive(self, state: MacState, moves: Moves) -> dict[str, Tensor]:
        """What the base station sees, and what each user does; see the class."""
        observer, role = self.observer, self.params.role
        seen = {}
        if role != "follower":
            rows = [observer.seats(state), state.past_seat]
            glob = [observer.cell(state), state.past_cell]
            seen[f"{BS}.rows"] = self._joined(rows).unsqueeze(1)
            seen[f"{BS}.glob"] = self._joined(glob).unsqueeze(1)
        if role != "leader":
            users = [observer.users(state, self.heard(state, moves)), state.past_user]
            seen[UE] = self._joined(users)
        return seen

    def hear(self, seen: Moves, moves: Moves) -> dict[str, Tensor]:
        """What users see once the base station has spoken."""
        if not self.speech.leads or BS not in moves or UE not in seen:
            return dict(seen)
        message = self.speech.message_of(moves[BS][:, 0])
        if self.speech.level >= Level.SINGLE_CHANNEL:
            facts = self.observer.facts(seen[f"{BS}.rows"][:, 0])
            message = self.speech.passed(message, *facts)
        return {**seen, UE: self.observer.with_heard(seen[UE], message)}

    def _joined(self, parts: list[Tensor]) -> Tensor:
        return torch.cat(parts, -1) if self.params.history else parts[0]

    def tuples(self, state: MacState, moves: Moves) -> tuple[Tensor, Tensor]:
        """The integers that the code of LLM4MAC shows its agents, int64.

        Args:
            state: at the beginning of a slot.
            moves: of those whose turn is over.

        Returns:
            (rows, 1 + 2 N): o, then u and m of all seats; and (rows, N, 4): q, a, u and the last
            message heard, of each seat.
        """
        x_bs = torch.cat([state.o.unsqueeze(1), state.u, state.m], 1)
        return x_bs, torch.stack([state.q, state.a, state.u, self.heard(state, moves)], -1)

    def tell(self, state: MacState, moves: Moves, group: str, place: int) -> dict[str, Any]:
        """The agent's integers ``x``; with ``prompts`` also the ``prompt`` in words."""
        x_bs, x_ue = self.tuples(state, moves)
        x = x_bs[0] if group == BS else x_ue[0, place]
        told: dict[str, Any] = {"x": tuple(x.tolist())}
        if self.params.prompts:
            from sixgym.envs.llm_mac.text import Cell

            words = Cell(self)
            if group == BS:
                told["prompt"] = words.bs_prompt(state, 0)
            else:
                told["prompt"] = words.ue_prompts(state, 0, moves).get(place, "")
        return told

    def _show_hidden(self) -> None:
        """Add every seat's q/B and d to what one controller sees."""
        hidden = spaces.Box(0.0, 1.0, (self.params.n_max, 2))
        space = self.observation_space
        if isinstance(space, spaces.Dict):
            self.observation_space = spaces.Dict({**space.spaces, HIDDEN: hidden})
        else:
            size = space.shape[0] + 2 * self.params.n_max  # type: ignore[index]
            self.observation_space = spaces.Box(0.0, 1.0, (size,))

    def observe(self, state: MacState) -> Observation:
        """What all see before anybody has moved; with ``privileged`` the buffers too."""
        seen = super().observe(state)
        if not self.params.privileged:
            return seen
        hidden = torch.stack([state.q / self.params.buffer_size, state.d.to(torch.float32)], -1)
        hidden = hidden.to(torch.float32)
        if isinstance(seen, dict):
            return {**seen, HIDDEN: hidden}
        return torch.cat([seen, hidden.flatten(1)], 1)

    def draw(self, state: MacState, row: int, canvas: Canvas) -> None:
        """Paint one row."""
        draw_scene(self, state, row, canvas)

    def describe(self, state: MacState, row: int) -> str:
        """The prompts of one row, as a language model would be given them."""
        from sixgym.envs.llm_mac.text import Cell

        return Cell(self).describe(state, row)


__all__ = ["BS", "UE", "LlmMac"]
