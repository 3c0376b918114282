"""What the systems share whose step is a slot: everything but how its requests are decided."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws, Kind
from sixgym.envs.core.system import Action, Score, Step, System
from sixgym.envs.netgpt.learning import Learner
from sixgym.envs.netgpt.metrics import (
    EACH,
    NETWORK,
    REWARD_PARTS,
    REWARD_SPACE,
    SCORES,
    SUMS,
    TAU,
    VECTOR,
    of_each,
    of_network,
    totals,
    vector_reward,
)
from sixgym.envs.netgpt.network import RESET_OPTIONS, Network
from sixgym.envs.netgpt.observation import Observer
from sixgym.envs.netgpt.outcomes import Judge, Result, fate
from sixgym.envs.netgpt.params import NetGptBaseParams
from sixgym.envs.netgpt.requests import RequestMaker, Requests, split_requests
from sixgym.envs.netgpt.service import Service
from sixgym.envs.netgpt.state import Desk, Link, Mind, SlotState, pack

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

P = TypeVar("P", bound=NetGptBaseParams)

AGREED_WEIGHT = 0.1
"""Weight of the newest slot in the moving average of agreement. [our choice]"""


def arrival_bounds(mean: int, most: int) -> list[float]:
    """Levels P(K <= k) of a Poisson law for k from 0 to ``most - 1``: at the last it is cut off."""
    term = total = math.exp(-mean)
    bounds = [total]
    for k in range(1, most):
        term *= mean / k
        total += term
        bounds.append(total)
    return bounds


class SlotSystem(System[P, SlotState]):
    """One slot a step.

    In each slot requests arrive at the edge, whose agent drafts an answer to each and scores it. A
    request is kept, or offloaded to a cloud agent that is better, slower (the network) and priced.
    Subclasses say how that
    is decided and what is seen of it.
    """

    scores: ClassVar[tuple[Score, ...]] = SCORES
    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS
    shows_features: ClassVar[bool]
    """Whether the agent sees tool and history of the requests."""
    has_threshold: ClassVar[bool] = False
    """Whether the action is a threshold."""

    def __init__(
        self,
        params: P,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, dtype=dtype, device=device, info_level=info_level)
        p = params
        self.width = p.num_requests if p.arrivals == "fixed" else p.max_requests
        """Requests for which there is room in the state."""
        self.network = Network(p, dtype, self.device)
        """Bandwidth, RTT and price."""
        self.maker = RequestMaker(
            p, self.width, with_features=self.shows_features, dtype=dtype, device=self.device
        )
        """Makes requests."""
        self.service = Service(p)
        """Latency, price and utility."""
        self.learner = Learner(p)
        """Self-improvement."""
        self.observer = Observer(p, self.width, self.maker.extras, dtype, self.device)
        """What is seen."""
        self._judge = Judge(p, self.service)
        self._expected = p.reward_mode == "expected"
        bounds = arrival_bounds(p.num_requests, p.max_requests)
        self._arrivals = torch.tensor(bounds, dtype=dtype, device=self.device)
        self._set_metrics()
        self._set_draws()

    def _set_metrics(self) -> None:
        is_vector = self.params.reward_mode == "vector"
        each = tuple(m._replace(shape=(self.width,)) for m in EACH)
        tau = (TAU,) if self.has_threshold else ()
        self.metrics = (  # type: ignore[misc]
            *SUMS,
            *(VECTOR if is_vector else ()),
            *NETWORK,
            *tau,
            *each,
        )
        if is_vector:
            self.reward_parts = REWARD_PARTS
            self.reward_space = REWARD_SPACE

    def _set_draws(self) -> None:
        shared: dict[str, tuple[Kind, tuple[int, ...]]] = dict(self.maker.streams())
        if self.params.arrivals == "poisson":
            shared["arrivals"] = ("uniform", ())
        self.start_draws = self.draw_table({**shared, **self.network.streams(first=True)})
        later = {**self.network.streams(first=False), **self.learner.streams()}
        self.step_draws = self.draw_table({**shared, **later})

    # -------------------------------------------------------------------------------------- start

    def start(self, noise: Draws) -> SlotState:
        """First states: stationary network and price, an edge agent that has learned nothing."""
        uniform = noise["request_difficulty"]
        zero = torch.zeros_like(uniform[:, 0])
        mind = self.learner.start(zero)
        requests = self.maker(noise, mind)
        desk = Desk(zero, self._count(noise, zero), zero, zero, zero - 1.0, zero, zero, zero, zero)
        vitals = pack(self.network.start(noise, zero), mind, desk)
        shown = torch.full_like(requests[:, :3], -1.0)
        return SlotState(vitals, requests, shown)

    def with_options(self, state: SlotState, options: Mapping[str, Any]) -> SlotState:
        """First states under options of the reset; see `Network.with_options`."""
        link = self.network.with_options(state.link, options)
        return state._replace(vitals=pack(link, state.mind, state.desk))

    def _count(self, noise: Draws, like: Tensor) -> Tensor:
        """(rows,) requests K_t of a slot."""
        if self.params.arrivals == "fixed":
            return torch.full_like(like, float(self.params.num_requests))
        return (noise["arrivals"].unsqueeze(-1) >= self._arrivals).sum(-1).to(like.dtype)

    # ------------------------------------------------------------------------------------ advance

    @abstractmethod
    def _decide(self, requests: Requests, action: Tensor) -> tuple[Tensor, Tensor | None]:
        """(rows, width) bool whom the action offloads, and the threshold, if there is one."""

    def advance(self, state: SlotState, action: Action, noise: Draws) -> tuple[SlotState, Step]:
        """One slot."""
        assert isinstance(action, Tensor)
        link, mind, desk = state.link, state.mind, state.desk
        requests = split_requests(state.requests)
        sent, tau = self._decide(requests, action)
        if self.maker.extras.explored is not None:
            sent = sent | (state.requests[:, self.maker.extras.explored] > 0.5)
        active = self.observer.active(desk.arrived)
        if active is not None:
            sent = sent & (active > 0.5)
        result, load = self._settle(requests, link, mind, desk, sent)
        learned, new_desk = self._remember(mind, desk, requests, sent, load)
        over = torch.ones_like(desk.slot, dtype=torch.bool)
        new_mind = self.learner.end_slot(learned, desk.slot, noise, over)
        new_desk = new_desk._replace(
            arrived=self._count(noise, desk.slot),
            tau=desk.tau if tau is None else tau,
        )
        new_link = self.network.next(link, noise, new_desk.slot)
        done = fate(sent.to(self.dtype), result.chosen.success)
        if active is not None:
            done = torch.where(active > 0.5, done, -1.0)
        shown = torch.stack([requests.score, requests.difficulty, done], 1)
        made = self.maker(noise, new_mind)
        new = SlotState(pack(new_link, new_mind, new_desk), made, shown)
        return new, self._account(state, new_mind, result, sent, active, tau)

    def _settle(
        self, requests: Requests, link: Link, mind: Mind, desk: Desk, sent: Tensor
    ) -> tuple[Result, Tensor]:
        """Outcomes of the slot, and (rows,) how many requests used the edge.

        A request's own choice is part of the load that it meets, so that each side is what it would
        be if this request alone had been decided otherwise.
        """
        p = self.params
        away = sent.to(self.dtype)
        num_sent = away.sum(-1)
        load = desk.arrived - num_sent if p.mode == "pre" else desk.arrived
        training = (mind.training > 0.5).to(self.dtype)
        own_load = load.unsqueeze(-1)
        if p.mode == "pre":
            own_load = own_load + away
        wait = self.service.wait_s(desk.backlog.unsqueeze(-1), own_load, training.unsqueeze(-1))
        sharers = num_sent.unsqueeze(-1) + (1.0 - away) if p.share_uplink else 1.0
        return self._judge(requests, link, sent, sharers, wait), load

    def _remember(
        self, mind: Mind, desk: Desk, requests: Requests, sent: Tensor, load: Tensor
    ) -> tuple[Mind, Desk]:
        """Samples join the buffer; clock, queue and agreement go on."""
        away = sent.to(self.dtype)
        training = (mind.training > 0.5).to(self.dtype)
        agreed = desk.agreed
        if self.params.mode == "cascade":
            matched = (away * requests.edge_success * requests.cloud_success).sum(-1)
            agreed = average_agreement(agreed, matched, away.sum(-1))
        return self.learner.collect(mind, requests, away), desk._replace(
            slot=desk.slot + 1.0,
            backlog=self.service.next_backlog(desk.backlog, load, training),
            agreed=agreed,
        )

    def _account(
        self,
        before: SlotState,
        mind: Mind,
        result: Result,
        sent: Tensor,
        active: Tensor | None,
        tau: Tensor | None,
    ) -> Step:
        """Reward and metrics of a slot; (rows, width) decisions, ``mind`` is the next slot's."""
        requests, count = split_requests(before.requests), before.desk.arrived
        sums = totals(result, requests, sent, active, expected=self._expected)
        reward = sums[:, 0] / count.clamp_min(1.0)
        names = [m.name for m in SUMS]
        metrics = dict(zip(names, [count, *sums.unbind(1)], strict=True))
        if self.params.reward_mode == "vector":
            metrics |= vector_reward(sums, count)
        if self.info_level > 0:
            metrics |= of_network(before.link, before.mind, mind, self.learner.in_buffer(mind))
            metrics |= of_each(result, requests, sent, active, expected=self._expected)
            if tau is not None:
                metrics["tau"] = tau
        return Step(reward, torch.zeros_like(count, dtype=torch.bool), metrics)

    def draw(self, state: SlotState, row: int, canvas: Canvas) -> None:
        """Paint one row; see `draw_scene`."""
        from sixgym.envs.netgpt.scene import draw_scene

        tau = float(state.desk.tau[row]) if self.has_threshold else None
        one = SlotState(*(leaf[row : row + 1].cpu() for leaf in state))
        draw_scene(self, one, tau, canvas)


def average_agreement(agreed: Tensor, matched: Tensor, sent: Tensor) -> Tensor:
    """(rows,) the moving average after a slot; unchanged where nothing was offloaded."""
    share = matched / sent.clamp_min(1.0)
    moved = (1.0 - AGREED_WEIGHT) * agreed + AGREED_WEIGHT * share
    return torch.where(sent > 0.0, moved, agreed)
