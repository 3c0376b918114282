"""The closed loop with real agents: service, cloud answers as data, improvement, a fresh scorer.

Network, price and number of requests of a slot come from `sixgym/NetGptThreshold-v0`, stepped with
the threshold that was used. Each of its requests is a tool-calling item of the full law, drawn by
the same seed: the item's own difficulty replaces the environment's latent one, and the
environment's outcome metrics are not used, for success is that of the real answers. The edge agent
drafts greedily, the scorer rates the draft (an invalid one scores 0), FuncDyn gives the threshold
from bandwidth, RTT and price, and what scores below goes to the cloud agent, whose answer is
returned. (request, draft, cloud answer) joins the buffer, on which the edge is improved every U
slots, and every M-th update the scorer is refitted.

Selection bias. What is offloaded scores low, and what the edge was trained on it does too well. So
the scorer is not fitted to either, but to requests set aside for it: ``scorer.requests`` before the
first slot, and of each slot those that a coin picks (``explore_eps``). Both agents answer these
whatever their score, nobody learns from them, and so they stand for all requests as they are. At a
refit the edge drafts all of them anew, as it is after its update. [our choice]

Weighting the offloaded requests of a round by 1 / P(offloaded) instead is unbiased, too, but some
25 requests picked by chance then stand for all 400 that were kept, and are of an edge that is one
update older: of five seeds one got a scorer that sent more to the cloud at the end than at the
beginning, although its edge had become better.

A model behind an endpoint may be edge or cloud. It is not trained here: with an endpoint edge
``train`` must be false. Latency and price stay those of the environment's system model, so that
runs compare; what the servers really took is told as ``usage`` in ``run.json``. [our choice]
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple, Protocol

import numpy as np

from sixgym.agents.llm.endpoint import Endpoint
from sixgym.agents.llm.replies import Usage
from sixgym.agents.toolcall.grading import answer
from sixgym.agents.toolcall.improve import Buffer, Improver, Progress
from sixgym.agents.toolcall.language import Call
from sixgym.agents.toolcall.llm import EndpointAgent
from sixgym.agents.toolcall.loop_config import LoopConfig
from sixgym.agents.toolcall.loop_world import Bools, Floats, Moment, World
from sixgym.agents.toolcall.model import Draft, ToolNet
from sixgym.agents.toolcall.scorer import Scorer, features_of, fit_scorer
from sixgym.agents.toolcall.sft import sft_data
from sixgym.agents.toolcall.task import FULL, Item, cloud_answer, draw, generator
from sixgym.envs.core.errors import SixgymError

REQUESTS, FIRST_REQUESTS = "loop requests", "loop scorer"
"""Streams of the items that are served, and of those for the first fit of the scorer."""


class Slot(NamedTuple):
    """One slot of service; shares and means are over its requests, None where there are none."""

    requests: int
    tau: float
    """The threshold."""
    bandwidth: float
    """Mbit/s."""
    rtt: float
    """s."""
    price_mult: float
    """m."""
    explored: int
    """Requests that a coin alone sent to the cloud, not their score."""
    offload: float | None
    """Share sent to the cloud, explored ones included."""
    offload_mix: float | None
    """Share of these drafts that would score below the threshold, in the mean over the network's
    and the price's law: what routing is like apart from the network of the moment."""
    score: float | None
    """Mean score of the drafts."""
    success: float | None
    """Returned answers that are the true call."""
    valid: float | None
    """Returned answers that the validator takes."""
    draft_success: float | None
    """Drafts that are the true call."""
    draft_valid: float | None
    """Drafts that the validator takes."""
    latency: float | None
    """s."""
    price: float | None
    """m$."""
    utility: float | None
    """By the environment's weights."""
    collected: int
    """Cloud answers collected so far."""
    updates: int
    """Updates before this slot."""


class Update(NamedTuple):
    """What was done between two slots."""

    slot: int
    """The slot that is the first to feel it."""
    iterations: int
    """Of improvement; 0 where there was nothing to learn from or nobody to train."""
    buffer: int
    """Requests that it was trained on."""
    fresh: int
    """Cloud answers of the round that the edge learns from."""
    refreshed: bool
    """Whether the scorer was refitted; not where all labels are the same."""
    agrees: float | None
    """Share of the scorer's requests whose draft is the cloud's answer, where a refit was due."""
    reward: float | None
    """Mean of the samples of the improvement."""
    kl_sft: float | None
    """Mean forward KL to the supervised start on the anchor, nats."""


class Drafts(NamedTuple):
    """What the edge said to some requests."""

    calls: list[Call | None]
    features: Floats
    """(rows, 4) for the scorer."""
    draft: Draft | None
    """Its tokens; None of a served model."""

    def take(self, rows: Sequence[int]) -> Drafts:
        """Some of the rows."""
        draft = None if self.draft is None else self.draft.take(rows)
        return Drafts([self.calls[i] for i in rows], self.features[rows], draft)


class Edge(Protocol):
    """Who drafts."""

    def draft(self, items: Sequence[Item]) -> Drafts:
        """Greedy answers."""
        ...  # pragma: no cover


class Cloud(Protocol):
    """Who answers what is offloaded."""

    def answer(
        self, items: Sequence[Item], stream: str, places: Sequence[int]
    ) -> list[Call | None]:
        """Calls, None where the answer is invalid; ``places`` are those in the items' stream."""
        ...  # pragma: no cover


class OwnEdge:
    """The transformer of this package.

    Args:
        net: it, which may be trained meanwhile.
    """

    def __init__(self, net: ToolNet) -> None:
        self.net = net

    def draft(self, items: Sequence[Item]) -> Drafts:
        """Greedy answers."""
        draft = answer(self.net, items)
        return Drafts(draft.calls(), features_of(draft), draft)


class ServedEdge:
    """A model behind a server; where it sends no log-probabilities, those features are 0.

    Args:
        agent: it.
    """

    def __init__(self, agent: EndpointAgent) -> None:
        self._agent = agent

    def draft(self, items: Sequence[Item]) -> Drafts:
        """Its answers."""
        found = self._agent.answers(items)
        rows = [
            (sum(a.log_probs), min(a.log_probs, default=0.0), a.tokens, a.verdict.is_valid)
            for a in found
        ]
        features = np.array(rows, dtype=np.float64).reshape(-1, 4)
        return Drafts([a.verdict.call for a in found], features, None)


class OwnCloud:
    """The truth, now and then with one argument wrong.

    Args:
        seed: of the mistakes.
        accuracy: chance to be right.
    """

    def __init__(self, seed: int, accuracy: float) -> None:
        self._seed, self._accuracy = seed, accuracy

    def answer(
        self, items: Sequence[Item], stream: str, places: Sequence[int]
    ) -> list[Call | None]:
        """Calls, always valid, the same whatever else is offloaded."""
        return [
            cloud_answer(item, generator(self._seed, f"{stream} cloud", k), self._accuracy)
            for item, k in zip(items, places, strict=True)
        ]


class ServedCloud:
    """A model behind a server.

    Args:
        agent: it.
    """

    def __init__(self, agent: EndpointAgent) -> None:
        self._agent = agent

    def answer(
        self, items: Sequence[Item], stream: str, places: Sequence[int]
    ) -> list[Call | None]:
        """Its calls."""
        return self._agent.calls(items)


class Answered(NamedTuple):
    """A request with a valid cloud answer."""

    item: Item
    drafts: Drafts
    """One row, as it was served."""
    call: Call
    """The cloud's answer."""


class Loop:
    """One seed of the closed loop.

    Args:
        config: of the loop.
        seed: of world, requests, mistakes, exploration and training.
        start: the supervised start; None with an endpoint edge.

    Raises:
        EndpointError: an endpoint has no key, or refuses.
        SixgymError: the scorer's first requests are all right or all wrong.
    """

    def __init__(self, config: LoopConfig, seed: int, start: ToolNet | None) -> None:
        self.config, self.seed = config, seed
        self.net = copy.deepcopy(start)
        self._served = _endpoint_agents(config)
        self._edge = _edge(self.net, self._served.get("edge"))
        cloud = self._served.get("cloud")
        own = OwnCloud(seed, config.cloud.accuracy)
        self._cloud: Cloud = own if cloud is None else ServedCloud(cloud)
        self._improver: Improver | None = None
        if config.train and self.net is not None and start is not None:
            anchor = sft_data(config.sft, seed)
            self._improver = Improver(self.net, start, anchor, config.improve, seed)
        self.buffer: Buffer | None = None
        """What the edge is trained on."""
        self.fresh: list[Answered] = []
        """Cloud answers since the last update, for the edge to learn from."""
        self.set_aside: list[Answered] = []
        """Requests that the scorer is fitted to, which the edge does not learn from."""
        self.slots: list[Slot] = []
        self.updates: list[Update] = []
        self._places = self._collected = 0
        self.scorer = self._first_scorer()
        self.world = World(config, seed)

    @property
    def usage(self) -> dict[str, Usage]:
        """What the endpoints, if any, have cost."""
        return {name: agent.usage for name, agent in self._served.items()}

    def _first_scorer(self) -> Scorer:
        """Fitted on requests that both agents answer, of another stream."""
        items = draw(FULL, self.config.scorer.requests, self.seed, FIRST_REQUESTS)
        drafts = self._edge.draft(items)
        calls = self._cloud.answer(items, FIRST_REQUESTS, range(len(items)))
        for i, call in enumerate(calls):
            if call is not None:
                self.set_aside.append(Answered(items[i], drafts.take([i]), call))
        try:
            return fit_scorer(*self._examples())
        except SixgymError as error:
            raise SixgymError(f"scorer.requests={len(items)}: {error}") from None

    def _examples(self) -> tuple[Floats, list[bool]]:
        """Features of the drafts of what was set aside, and whether each is the cloud's answer.

        An edge that learns drafts anew, any other would say the same again.
        """
        if self._improver is None or not self.set_aside:
            calls = [a.drafts.calls[0] for a in self.set_aside]
            features = np.concatenate(
                [NO_DRAFTS.features, *(a.drafts.features for a in self.set_aside)]
            )
        else:
            calls, features, _ = self._edge.draft([a.item for a in self.set_aside])
        return features, [c == a.call for c, a in zip(calls, self.set_aside, strict=True)]

    # --------------------------------------------------------------------------------- service

    def serve(self) -> Slot:
        """One slot."""
        moment = self.world.now()
        tau = float(self.world.rule(moment.seen))
        first = self._places
        items = draw(FULL, moment.requests, self.seed, REQUESTS, first)
        drafts = self._edge.draft(items) if items else NO_DRAFTS
        score = self.scorer.score(drafts.features)
        below = score < tau
        coins = generator(self.seed, "loop exploration", len(self.slots)).random(len(items))
        picked = coins < self.config.scorer.explore_eps
        sent = below | picked
        gone = np.flatnonzero(sent).tolist()
        found = self._cloud.answer([items[i] for i in gone], REQUESTS, [first + i for i in gone])
        calls = list(drafts.calls)
        for i, call in zip(gone, found, strict=True):
            calls[i] = call
            if call is not None:
                place = self.set_aside if picked[i] else self.fresh
                place.append(Answered(items[i], drafts.take([i]), call))
                self._collected += 1
        self._places += len(items)
        slot = self._account(moment, tau, items, drafts, score, calls, sent, sent & ~below)
        self.world.step(tau)
        self.slots.append(slot)
        return slot

    def _account(
        self,
        moment: Moment,
        tau: float,
        items: Sequence[Item],
        drafts: Drafts,
        score: Floats,
        calls: Sequence[Call | None],
        sent: Bools,
        explored: Bools,
    ) -> Slot:
        """What came of a slot, by the truth that only the generator knows."""
        success = np.array([c == i.answer for c, i in zip(calls, items, strict=True)], dtype=bool)
        valid = np.array([c is not None for c in calls], dtype=bool)
        bill = self.world.bill(moment, sent, success, valid)
        return Slot(
            len(items),
            tau,
            float(moment.network.bandwidth),
            float(moment.network.rtt),
            float(moment.network.mult),
            int(explored.sum()),
            _mean(sent),
            _mean(self.world.chance_below(score)),
            _mean(score),
            _mean(success),
            _mean(valid),
            _mean([c == i.answer for c, i in zip(drafts.calls, items, strict=True)]),
            _mean([c is not None for c in drafts.calls]),
            _mean(bill.latency),
            _mean(bill.price),
            _mean(bill.utility),
            self._collected,
            len(self.updates),
        )

    # -------------------------------------------------------------------------------- learning

    def is_due(self) -> bool:
        """Whether an update comes now; not after the last slot, when it would serve nobody."""
        done = len(self.slots)
        return 0 < done < self.config.slots and done % self.config.update_every == 0

    def update(self) -> Update:
        """Improve the edge, and refit the scorer where that is due."""
        every = self.config.scorer.refresh_every
        is_due = every > 0 and (len(self.updates) + 1) % every == 0
        count = len(self.fresh)
        self._remember()
        progress = self._improve()
        refreshed, agrees = self._refit() if is_due else (False, None)
        update = Update(
            len(self.slots),
            len(progress),
            0 if self.buffer is None else len(self.buffer.calls),
            count,
            refreshed,
            agrees,
            _measured([p.reward for p in progress]),
            _measured([p.kl_sft for p in progress]),
        )
        self.updates.append(update)
        return update

    def _remember(self) -> None:
        """The round's answers join the buffer."""
        drafts = [a.drafts.draft for a in self.fresh if a.drafts.draft is not None]
        if drafts:  # those of a served edge have no tokens, nor is it trained
            items, calls = [a.item for a in self.fresh], [a.call for a in self.fresh]
            round_ = Buffer.of(items, calls, reduce(Draft.then, drafts))
            self.buffer = round_ if self.buffer is None else self.buffer.then(round_)
        self.fresh = []

    def _improve(self) -> list[Progress]:
        if self._improver is None or self.buffer is None:
            return []
        return [self._improver.iterate(self.buffer) for _ in range(self.config.improve.iterations)]

    def _refit(self) -> tuple[bool, float | None]:
        """Fit the scorer to the edge as it is now; whether it was, and the drafts' agreement."""
        features, label = self._examples()
        agrees = float(np.mean(label))
        if len(set(label)) < 2:
            return False, agrees
        self.scorer = fit_scorer(features, label)
        return True, agrees


NO_DRAFTS = Drafts([], np.zeros((0, 4)), None)
"""Of a slot without requests."""


def _endpoint_agents(config: LoopConfig) -> dict[str, EndpointAgent]:
    """The agents behind servers, by their part."""
    found: dict[str, EndpointAgent] = {}
    if config.edge.endpoint is not None:
        edge = config.edge
        endpoint = Endpoint(config.edge.endpoint)
        found["edge"] = EndpointAgent(endpoint, edge.ask, logprobs=edge.logprobs)
    if config.cloud.endpoint is not None:
        found["cloud"] = EndpointAgent(Endpoint(config.cloud.endpoint), config.cloud.ask)
    return found


def _edge(net: ToolNet | None, agent: EndpointAgent | None) -> Edge:
    if agent is not None:
        return ServedEdge(agent)
    if net is None:
        raise SixgymError("edge: neither an endpoint nor a network; allowed: one of them")
    return OwnEdge(net)


def _mean(values: Sequence[float] | Bools | Floats) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _measured(values: Sequence[float]) -> float | None:
    """The mean; None where nothing was measured, which is told by NaN."""
    mean = _mean(values)
    return None if mean is None or math.isnan(mean) else mean
