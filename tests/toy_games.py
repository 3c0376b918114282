"""Small games for the tests of the multi-agent views."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.game import Game, GameStep, Group, Moves
from sixgym.envs.core.params import Params, param
from sixgym.envs.core.render import Canvas
from sixgym.envs.core.system import Metric


class CrowdParams(Params):
    """Parameters of `Crowd`."""

    seats: int = param(3, unit="1", source="ours", description="Users at one time.", ge=1, le=8)
    coming: float = param(0.3, unit="1", source="ours", description="Of joining.", ge=0.0, le=1.0)


class CrowdState(NamedTuple):
    """Users who come and go."""

    who: Tensor  # (rows, seats) int64, -1 where nobody sits
    waiting: Tensor  # (rows, seats) int64, packets
    next_id: Tensor  # (rows,) int64


class Crowd(Game[CrowdParams, CrowdState]):
    """Users share a channel, where two at once collide; they leave and join at random.

    Seat 0 never empties, so that somebody is always there.
    """

    params_type = CrowdParams
    metrics = (Metric("sent", "1", "Packets that came through."),)
    pool = 24

    def __init__(self, params: CrowdParams, **kwargs: object) -> None:
        super().__init__(params, **kwargs)  # type: ignore[arg-type]
        n = params.seats
        seen = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.set_groups(
            (Group("ue", n, seen, spaces.Discrete(2), agents=n + self.pool, is_masked=True),)
        )
        self.start_draws = self.draw_table({"packet": ("uniform", (n,))})
        self.step_draws = self.draw_table(
            {"packet": ("uniform", (n,)), "leave": ("uniform", (n,)), "join": ("uniform", (n,))}
        )

    def start(self, noise: Draws) -> CrowdState:
        packet = noise["packet"]
        seat = torch.arange(self.params.seats).expand_as(packet)
        who = torch.where((seat == 0) | (packet < 0.7), seat, -1)
        who = torch.where(who >= 0, (who >= 0).cumsum(1) - 1, -1)
        waiting = torch.where(who >= 0, 1, 0)
        return CrowdState(who, waiting, (who >= 0).sum(1))

    def play(self, state: CrowdState, moves: Moves, noise: Draws) -> tuple[CrowdState, GameStep]:
        here = state.who >= 0
        tries = (moves["ue"] == 1) & here & (state.waiting > 0)
        alone = tries.sum(1, keepdim=True) == 1
        sent = tries & alone
        waiting = state.waiting - sent.to(torch.int64)
        waiting = (waiting + (noise["packet"] < 0.4)).clamp(max=3) * here
        seat = torch.arange(self.params.seats)
        stays = here & ((noise["leave"] > 0.2) | (seat == 0))
        # An emptied seat may be taken again in the same step.
        joins = ~stays & (noise["join"] < self.params.coming)
        number = state.next_id[:, None] + joins.to(torch.int64).cumsum(1) - 1
        joins &= number < self.groups[0].agents
        who = torch.where(stays, state.who, torch.where(joins, number, -1))
        new = CrowdState(who, waiting * stays, state.next_id + joins.sum(1))
        reward = sent.to(self.dtype) - 0.5 * (tries & ~alone).to(self.dtype)
        ended = torch.zeros_like(new.next_id, dtype=torch.bool)
        return new, GameStep(reward, ended, {"sent": sent.sum(1).to(self.dtype)})

    def perceive(self, state: CrowdState, moves: Moves) -> dict[str, Tensor]:
        here = (state.who >= 0).to(torch.float32)
        others = (here.sum(1, keepdim=True) - here) / self.params.seats
        return {"ue": torch.stack((here, state.waiting / 3.0, others * here), -1)}

    def agent_ids(self, state: CrowdState) -> Tensor:
        return state.who

    def allowed(self, state: CrowdState, moves: Moves) -> dict[str, Tensor]:
        can = state.waiting > 0
        return {"ue": torch.stack((torch.ones_like(can), can), -1)}

    def draw(self, state: CrowdState, row: int, canvas: Canvas) -> None:
        for seat, number in enumerate(state.who[row].tolist()):
            canvas.text((20, 20 + 30 * seat), f"seat {seat}: {number}")


class GrantState(NamedTuple):
    """Who wants to send."""

    wants: Tensor  # (rows, users) bool
    slot: Tensor  # (rows,) int64


class Grant(Game[Params, GrantState]):
    """A leader grants, then followers, who see the grant, send. Ends at random."""

    params_type = Params
    users = 2
    metrics = (Metric("useful", "1", "Granted, wanted and sent."),)

    def __init__(self, params: Params, **kwargs: object) -> None:
        super().__init__(params, **kwargs)  # type: ignore[arg-type]
        leader = Group(
            "bs",
            1,
            spaces.Dict(
                wants=spaces.Box(0.0, 1.0, (self.users,), np.float32),
                time=spaces.Box(0.0, 1.0, (2,), np.float32),
            ),
            spaces.MultiDiscrete([2] * self.users),
            is_masked=True,
        )
        follower = Group(
            "ue", self.users, spaces.Box(0.0, 1.0, (2,), np.float32), spaces.Discrete(2)
        )
        self.set_groups((leader, follower), turns=(("bs",), ("ue",)))
        self.start_draws = self.draw_table({"want": ("uniform", (self.users,))})
        self.step_draws = self.draw_table(
            {"want": ("uniform", (self.users,)), "end": ("uniform", ())}
        )

    def start(self, noise: Draws) -> GrantState:
        wants = noise["want"] < 0.5
        return GrantState(wants, torch.zeros(wants.shape[0], dtype=torch.int64))

    def play(self, state: GrantState, moves: Moves, noise: Draws) -> tuple[GrantState, GameStep]:
        granted, sends = moves["bs"][:, 0] == 1, moves["ue"] == 1
        good = (granted & sends & state.wants).to(self.dtype)
        waste = (sends & ~granted).to(self.dtype)
        cost = 0.1 * granted.to(self.dtype).sum(1)
        reward = torch.cat(((good.sum(1) - cost)[:, None], good - waste), 1)
        new = GrantState(noise["want"] < 0.5, state.slot + 1)
        return new, GameStep(reward, noise["end"] < 0.02, {"useful": good.sum(1)})

    def perceive(self, state: GrantState, moves: Moves) -> dict[str, Tensor]:
        wants = state.wants.to(torch.float32)
        time = (state.slot.to(torch.float32) / 100).clamp(max=1.0)
        grant = moves["bs"][:, 0].to(torch.float32) if "bs" in moves else torch.zeros_like(wants)
        return {
            "bs.wants": wants[:, None],
            "bs.time": torch.stack((time, 1.0 - time), -1)[:, None],
            "ue": torch.stack((wants, grant), -1),
        }

    def hear(self, seen: Moves, moves: Moves) -> dict[str, Tensor]:
        if "bs" not in moves:
            return dict(seen)
        grant = moves["bs"][:, 0].to(torch.float32)
        return {**seen, "ue": torch.stack((seen["ue"][..., 0], grant), -1)}

    def allowed(self, state: GrantState, moves: Moves) -> dict[str, Tensor]:
        both = torch.stack((torch.ones_like(state.wants), state.wants), -1)
        return {"bs": both.flatten(1)[:, None]}

    def central_reward(self, reward: Tensor) -> Tensor:
        return reward[:, 0]


class Drones(Game[Params, GrantState]):
    """Two alike with continuous moves, none of whom leaves."""

    params_type = Params

    def __init__(self, params: Params, **kwargs: object) -> None:
        super().__init__(params, **kwargs)  # type: ignore[arg-type]
        box = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.set_groups((Group("drone", 2, box, box),))
        self.start_draws = self.draw_table({"place": ("uniform", (2, 2))})
        self.step_draws = self.draw_table({"wind": ("normal", (2, 2)), "end": ("uniform", ())})

    def start(self, noise: Draws) -> GrantState:
        place = 2.0 * noise["place"] - 1.0
        return GrantState(place, torch.zeros(place.shape[0], dtype=torch.int64))

    def play(self, state: GrantState, moves: Moves, noise: Draws) -> tuple[GrantState, GameStep]:
        place = state.wants + 0.1 * moves["drone"] + 0.01 * noise["wind"]
        new = GrantState(place.clamp(-1.0, 1.0), state.slot + 1)
        return new, GameStep(-new.wants.square().sum(-1), noise["end"] < 0.05, {})

    def perceive(self, state: GrantState, moves: Moves) -> dict[str, Tensor]:
        return {"drone": state.wants.to(torch.float32).clone()}
