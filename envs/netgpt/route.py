"""`sixgym/NetGptRoute-v0`: one request a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.system import Action, Score, Step, System
from sixgym.envs.netgpt.learning import Learner
from sixgym.envs.netgpt.metrics import (
    EACH,
    NETWORK,
    REWARD_PARTS,
    REWARD_SPACE,
    SCORES,
    SUMS,
    VECTOR,
    of_each,
    of_network,
    totals,
    vector_reward,
)
from sixgym.envs.netgpt.network import RESET_OPTIONS, Network
from sixgym.envs.netgpt.observation import CONTEXT_ROWS, REQUEST_FEATURES, Observer, box
from sixgym.envs.netgpt.outcomes import Judge, Result, fate
from sixgym.envs.netgpt.params import NetGptRouteParams
from sixgym.envs.netgpt.requests import RequestMaker, Requests, split_requests
from sixgym.envs.netgpt.service import Service
from sixgym.envs.netgpt.slots import average_agreement
from sixgym.envs.netgpt.state import Desk, Link, Mind, RouteState, pack

if TYPE_CHECKING:
    from sixgym.envs.core.render import Canvas

OFFLOAD = 1
"""The action that offloads; 0 keeps."""


class NetGptRoute(System[NetGptRouteParams, RouteState]):
    """Keep or offload one request after another.

    The same worlds as `NetGptThreshold`: step n is request ``n mod K`` of slot ``n // K``, and an
    episode of a seed meets the same requests over the same network. Network, price, queue and
    learning go on every K steps.

    **Action**: ``Discrete(2)``: 0 keeps the request, 1 offloads it.

    **Observation**: ``Box(-10, 10, (25,))``: rows 0 to 5 and 12 to 15 of `Observer` (row 3 at mean
    sizes, since the other requests of the slot are not known yet), then of this request: score,
    validity of the draft (1 in mode pre), prompt over 1000, output over 100 (mode pre: the mean),
    ``ln(D / 4) / 3``, cloud price in m$, one-hot tool (8), completed steps over 2.
    ``observe_kappa`` appends the hidden skill and the scorer's.

    **Reward**: the utility of the request, see `NetGptThreshold`. The wait at the edge is the
    slot's backlog (queue mm1: by the load of the slot before, none in the first).

    **Starting state**: the first request of the first slot; options as of `NetGptThreshold`.

    **Episode end**: truncated after 1024 requests unless made otherwise.
    """

    params_type = NetGptRouteParams
    scores: ClassVar[tuple[Score, ...]] = SCORES
    reset_options: ClassVar[tuple[str, ...]] = RESET_OPTIONS

    def __init__(
        self,
        params: NetGptRouteParams,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, dtype=dtype, device=device, info_level=info_level)
        p = params
        self.network = Network(p, dtype, self.device)
        self.maker = RequestMaker(
            p, p.num_requests, with_features=True, dtype=dtype, device=self.device
        )
        self.service = Service(p)
        self.learner = Learner(p)
        self.observer = Observer(p, 1, self.maker.extras, dtype, self.device)
        self._judge = Judge(p, self.service)
        self._expected = p.reward_mode == "expected"
        vector = VECTOR if p.reward_mode == "vector" else ()
        self.metrics = (*SUMS, *vector, *NETWORK, *EACH)  # type: ignore[misc]
        if vector:
            self.reward_parts = REWARD_PARTS
            self.reward_space = REWARD_SPACE
        size = CONTEXT_ROWS + REQUEST_FEATURES + 1 + self.observer.num_hidden
        self.observation_space = cast("Any", box(size))
        self.action_space = cast("Any", spaces.Discrete(2))
        self.start_draws = self.draw_table({"world": ("key", ())})
        self.step_draws = self.draw_table({})
        self._first_draws = self.draw_table(self.network.streams(first=True))
        later = {**self.network.streams(first=False), **self.learner.streams()}
        self._slot_draws = self.draw_table(later)
        self._request_draws = self.draw_table(self.maker.streams())

    # -------------------------------------------------------------------------------------- start

    def start(self, noise: Draws) -> RouteState:
        """First states: the first request of slot 0."""
        key = noise["world"]
        zero = torch.zeros_like(key).to(self.dtype)
        link = self.network.start(self._first_draws.draw(key, torch.zeros_like(key)), zero)
        mind = self.learner.start(zero)
        count = torch.full_like(zero, float(self.params.num_requests))
        desk = Desk(zero, count, zero, zero, zero - 1.0, zero, zero, zero, zero)
        shown = zero[:, None, None].expand(-1, 3, self.params.num_requests) - 1.0
        return RouteState(key, pack(link, mind, desk), self._request(key, desk, mind), shown)

    def with_options(self, state: RouteState, options: Mapping[str, Any]) -> RouteState:
        """First states under options of the reset; see `Network.with_options`."""
        link = self.network.with_options(state.link, options)
        return state._replace(vitals=pack(link, state.mind, state.desk))

    def _request(self, key: Tensor, desk: Desk, mind: Mind) -> Tensor:
        """(rows, columns, 1) the request that stands at slot and place of the desk."""
        slot, place = desk.slot.to(torch.int64), desk.place.to(torch.int64)
        drawn = self._request_draws.draw_elements(key, slot, place)
        return self.maker({name: value.unsqueeze(-1) for name, value in drawn.items()}, mind)

    # ------------------------------------------------------------------------------------ advance

    def advance(self, state: RouteState, action: Action, noise: Draws) -> tuple[RouteState, Step]:
        """One request."""
        assert isinstance(action, Tensor)
        link, mind, desk = state.link, state.mind, state.desk
        requests = split_requests(state.requests)
        sent = (action == OFFLOAD).unsqueeze(-1)
        if self.maker.extras.explored is not None:
            sent = sent | (state.requests[:, self.maker.extras.explored] > 0.5)
        wait = self._wait(mind, desk).unsqueeze(-1)
        result = self._judge(requests, link, sent, 1.0, wait)
        is_over = desk.place + 1.0 >= self.params.num_requests
        coming = self._slot_draws.draw(state.key, desk.slot.to(torch.int64) + 1)
        new_desk = self._next_desk(mind, desk, requests, sent, is_over)
        learned = self.learner.collect(mind, requests, sent.to(self.dtype))
        new_mind = self.learner.end_slot(learned, desk.slot, coming, is_over)
        next_link = self.network.next(link, coming, desk.slot + 1.0)
        new_link = Link(*(torch.where(is_over, n, o) for n, o in zip(next_link, link, strict=True)))
        made = self._request(state.key, new_desk, new_mind)
        done = fate(sent.to(self.dtype), result.chosen.success)
        point = torch.stack([requests.score, requests.difficulty, done], 1)
        shown = torch.cat([state.shown[:, :, 1:], point], 2)
        new = RouteState(state.key, pack(new_link, new_mind, new_desk), made, shown)
        return new, self._account(state, new_mind, result, requests, sent)

    def _wait(self, mind: Mind, desk: Desk) -> Tensor:
        """(rows,) wait at the edge, s: what is known of it before the slot's load is."""
        training = (mind.training > 0.5).to(self.dtype)
        load = desk.edge_before if self.params.queue == "mm1" else torch.zeros_like(desk.backlog)
        return self.service.wait_s(desk.backlog, load, training)

    def _next_desk(
        self, mind: Mind, desk: Desk, requests: Requests, sent: Tensor, is_over: Tensor
    ) -> Desk:
        """The desk at the next request; ``is_over`` where it is the first of the next slot."""
        p = self.params
        away = sent[:, 0].to(self.dtype)
        both = requests.edge_success[:, 0] * requests.cloud_success[:, 0]
        num_sent = desk.sent + away
        matched = desk.matched + away * both
        agreed = desk.agreed
        if p.mode == "cascade":
            agreed = torch.where(is_over, average_agreement(agreed, matched, num_sent), agreed)
        load = desk.arrived - num_sent if p.mode == "pre" else desk.arrived
        training = (mind.training > 0.5).to(self.dtype)
        backlog = self.service.next_backlog(desk.backlog, load, training)
        return desk._replace(
            slot=desk.slot + is_over.to(self.dtype),
            backlog=torch.where(is_over, backlog, desk.backlog),
            agreed=agreed,
            place=torch.where(is_over, 0.0, desk.place + 1.0),
            sent=torch.where(is_over, 0.0, num_sent),
            matched=torch.where(is_over, 0.0, matched),
            edge_before=torch.where(is_over, load, desk.edge_before),
        )

    def _account(
        self, before: RouteState, mind: Mind, result: Result, requests: Requests, sent: Tensor
    ) -> Step:
        """Reward and metrics of a request; ``mind`` is what is in force for the next one."""
        sums = totals(result, requests, sent, None, expected=self._expected)
        reward = sums[:, 0]
        one = torch.ones_like(reward)
        metrics = dict(zip([m.name for m in SUMS], [one, *sums.unbind(1)], strict=True))
        if self.params.reward_mode == "vector":
            metrics |= vector_reward(sums, one)
        if self.info_level > 0:
            metrics |= of_network(before.link, before.mind, mind, self.learner.in_buffer(mind))
            each = of_each(result, requests, sent, None, expected=self._expected)
            metrics |= {name: value[:, 0] for name, value in each.items()}
        return Step(reward, torch.zeros_like(reward, dtype=torch.bool), metrics)

    # ------------------------------------------------------------------------------ what is seen

    def observe(self, state: RouteState) -> Tensor:
        """(rows, 25) float32, or two more; see the class."""
        link, mind, desk = state.link, state.mind, state.desk
        seen = self.observer.features(state.requests)[:, 0]
        price = self.observer.price_of_each(state.requests, link).clamp(-10.0, 10.0).float()
        context = self.observer.clip(self.observer.context(link, mind, desk, None))
        parts = [context, seen[:, :5], price, seen[:, 5:]]
        hidden = self.observer.hidden(mind)
        return torch.cat([*parts, *([self.observer.clip(hidden)] if hidden else [])], 1)

    def draw(self, state: RouteState, row: int, canvas: Canvas) -> None:
        """Paint one row; see `draw_scene`."""
        from sixgym.envs.netgpt.scene import draw_scene

        one = RouteState(*(leaf[row : row + 1].cpu() for leaf in state))
        draw_scene(self, one, None, canvas)
