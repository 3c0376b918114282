"""Segment mixture: what the bound promises, what policies are put together of, what is kept."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from team_cases import flat_table, opinionated, small_team
from torch import Tensor

from sixgym.agents.algorithms import Mixing
from sixgym.agents.team.mixing import SegmentMixer, promise, references
from sixgym.agents.team.policy import MAPPO
from sixgym.envs.core.errors import ConfigError

pytestmark = pytest.mark.filterwarnings(
    "ignore:You have specified a mini-batch size", "ignore:.torch.jit.script. is deprecated"
)
OWN = {"sharing": "none"}


def apart(rows: int = 3, seed: int = 0, **changes: Any) -> MAPPO:
    """Users with policies of their own, after a rollout and a step away from it."""
    full = {"env_n_lo": 2, "env_n_hi": 4, "env_p_join": 0.8}
    model = small_team(rows=rows, seed=seed, net=OWN, mixing=Mixing(), **full, **changes)
    opinionated(model.policy)
    model.train = lambda: None  # type: ignore[method-assign]
    model.learn(1)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.policy.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=draw))
    del model.train  # type: ignore[method-assign]
    return model


def own_parameters(model: MAPPO) -> Tensor:
    """(agents, parameters) of the users."""
    mixer: Any = model._mix
    named: dict[str, Tensor] = dict(model.policy.actor.named_parameters())  # type: ignore[union-attr, operator, arg-type]
    return torch.cat([named[n].detach().flatten(1) for n in mixer.names], 1).clone()


# --------------------------------------------------------------------------------------- the bound


@pytest.mark.parametrize("penalty", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("largest", [0.05, 0.5, 1.0])
def test_the_promised_factor_is_the_best_of_all(largest: float, penalty: float) -> None:
    """Against a grid of 20,001 factors, for slopes of both signs and flat bounds."""
    draw = torch.Generator().manual_seed(0)
    slope = torch.randn(50, generator=draw, dtype=torch.float64)
    curvature = torch.rand(50, generator=draw, dtype=torch.float64) * 4.0
    curvature[:5] = 0.0
    slope[5] = 0.0
    found = promise(slope, curvature, largest=largest, penalty=penalty)
    zeta = torch.linspace(0.0, largest, 20_001, dtype=torch.float64)[:, None]
    bound = zeta * slope - 0.5 * penalty * zeta**2 * curvature
    best = bound.max(0)
    torch.testing.assert_close(found.gain, best.values, atol=1e-6, rtol=1e-6)
    assert (found.gain >= best.values - 1e-12).all(), "no factor of the grid is better"
    clear = slope != 0
    assert (abs(found.factor - zeta[best.indices, 0])[clear] <= largest / 20_000).all()
    assert (found.factor[slope <= 0] == 0).all()
    assert (found.factor <= largest).all()


def test_nothing_is_promised_where_nothing_would_change() -> None:
    found = promise(torch.zeros(3), torch.zeros(3), largest=0.5, penalty=1.0)
    assert found.factor.tolist() == found.gain.tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("agents", "neighbours", "givers"),
    [(2, 1, {1}), (2, 2, {1}), (4, 1, {1}), (4, 2, {1, 3}), (5, 4, {1, 2, 3, 4}), (3, 9, {1, 2})],
)
def test_references_are_segments_of_the_neighbours(
    agents: int, neighbours: int, givers: set[int]
) -> None:
    """On a ring, the nearest first; every parameter stays in its place."""
    size, segments = 23, 5
    place = torch.arange(size, dtype=torch.float64)
    own = place + 1000.0 * torch.arange(agents, dtype=torch.float64)[:, None]
    kept = own.clone()
    bounds = np.linspace(0, size, segments + 1).astype(int)
    met: set[int] = set()
    whole = 0
    draw = np.random.RandomState(0)
    for _ in range(40):
        found = references(own, segments=segments, neighbours=neighbours, draw=draw)
        assert torch.equal(found % 1000.0, place.expand(agents, -1))
        giver = (found // 1000.0).long()
        away = (giver - torch.arange(agents)[:, None]) % agents
        met |= set(away.flatten().tolist())
        for a, b in itertools.pairwise(bounds.tolist()):
            assert (giver[:, a:b] == giver[:, a : a + 1]).all(), "a segment has one giver"
        whole += int((giver == giver[:, :1]).all(1).sum())
    assert met == givers
    assert torch.equal(own, kept)
    if len(givers) > 1:
        assert whole < 20 * agents, "segments are drawn by themselves"


# --------------------------------------------------------------------- its slope and its curvature


def samples(model: MAPPO) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Tensor, Tensor]:
    """Sights, moves, old log-probabilities, advantages and who was there, of all slots of a row."""
    policy: Any = model.policy
    table = flat_table(model)
    flat = {k: torch.as_tensor(v).flatten(0, 2) for k, v in table.items() if k.startswith("seen.")}
    seen = policy._seen({k.removeprefix("seen."): v for k, v in flat.items()})
    moves, _ = policy._moves(torch.as_tensor(table["actions"]).flatten(0, 2))
    names = ("log_probs", "advantages")
    old, advantage = (torch.as_tensor(table[n]).flatten(0, 1) for n in names)
    return seen, moves, old, advantage, seen["alive"] > 0


def test_moments_are_those_of_gradients_of_every_sample() -> None:
    model = apart()
    mixer: Any = model._mix
    policy: Any = model.policy
    direction = torch.randn(own_parameters(model).shape, generator=torch.Generator().manual_seed(2))
    slope, curvature = mixer._moments(model, direction)
    seen, moves, old, advantage, there = samples(model)
    log_prob = policy.actor.judge(seen, moves).log_prob
    named = dict(policy.actor.named_parameters())
    own = [named[n] for n in mixer.names]
    weight = (log_prob.detach() - old).exp()
    assert abs(weight[there] - 1.0).max() > 0.02, "importance matters"
    for agent in range(4):
        seat, first, second, count = 1 + agent, 0.0, 0.0, 0
        for i in np.flatnonzero(there[:, seat].numpy()):
            grads = torch.autograd.grad(log_prob[i, seat], own, retain_graph=True)
            flat = torch.cat([g.flatten(1) for g in grads], 1)
            others = [a for a in range(4) if a != agent]
            assert not flat[others].any(), "nobody's policy moves another"
            d = float(flat[agent] @ direction[agent])
            first += float(weight[i, seat] * advantage[i, seat]) * d
            second += float(weight[i, seat]) * d * d
            count += 1
        assert count > 0
        assert slope[agent].item() == pytest.approx(first / count, rel=1e-3, abs=1e-4)
        assert curvature[agent].item() == pytest.approx(second / count, rel=1e-3, abs=1e-4)


def test_the_slope_is_the_growth_of_the_surrogate() -> None:
    """Finite differences in double precision of E[w A] and of the mean log-ratio."""
    model = apart(seed=3)
    mixer: Any = model._mix
    own = own_parameters(model)
    direction = torch.randn(own.shape, generator=torch.Generator().manual_seed(4))
    slope, curvature = mixer._moments(model, direction)
    seen, moves, old, advantage, there = samples(model)
    actor: Any = copy.deepcopy(model.policy.actor).double()  # type: ignore[operator]
    named = dict(actor.named_parameters())
    seen = {k: v.double() for k, v in seen.items()}
    start = {n: named[n].detach().clone() for n in mixer.names}

    def log_prob(step: float) -> Tensor:
        parts = mixer._parts(own.double() + step * direction.double(), named)
        with torch.no_grad():
            for name, part in zip(mixer.names, parts, strict=True):
                named[name].copy_(part)
            found: Tensor = actor.judge(seen, moves).log_prob[:, 1:]
        return found

    eps = 1e-4
    up, down, now = log_prob(eps), log_prob(-eps), log_prob(0.0)
    assert all(torch.allclose(named[n], start[n]) for n in start)
    d = (up - down) / (2.0 * eps)
    w, is_there = (now - old[:, 1:].double()).exp(), there[:, 1:]
    count = is_there.sum(0)
    grown = ((up - now).exp() - (down - now).exp()) / (2.0 * eps) * w * advantage[:, 1:]
    near(slope, (grown * is_there).sum(0) / count)
    near(curvature, (w * d * d * is_there).sum(0) / count)


def near(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a.double(), b.double(), atol=2e-4, rtol=2e-3)


# -------------------------------------------------------------------------------------- the mixture


def test_each_moves_towards_its_reference_by_its_factor_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = apart()
    before = own_parameters(model)
    rest = {
        n: p.clone() for n, p in model.policy.named_parameters() if not n.startswith("actor.user.")
    }
    mixer: Any = model._mix
    told: list[Tensor] = []

    def moments(_: Any, direction: Tensor) -> tuple[Tensor, Tensor]:
        told.append(direction.clone())
        return torch.tensor([-1.0, 0.0, 0.2, 9.0]), torch.tensor([1.0, 1.0, 1.0, 1.0])

    monkeypatch.setattr(mixer, "_moments", moments)
    logged = mixer(model)
    factor = torch.tensor([0.0, 0.0, 0.2, 0.5])[:, None]
    after = own_parameters(model)
    torch.testing.assert_close(after, before + factor * told[0])
    assert torch.equal(after[:2], before[:2]), "nothing is mixed where nothing is promised"
    assert all(torch.equal(rest[n], p) for n, p in model.policy.named_parameters() if n in rest)
    assert logged == pytest.approx(
        {
            "mixing/agents": 0.5,
            "mixing/factor": 0.7 / 4.0,
            "mixing/promised": (0.2 * 0.2 - 0.02 + 0.5 * 9.0 - 0.125) / 4.0,
            "mixing/parameters_sent": float(before.numel()),
        }
    )


def test_identical_policies_stay_as_they_are() -> None:
    model = apart()
    named: dict[str, Tensor] = dict(model.policy.actor.named_parameters())  # type: ignore[union-attr, operator, arg-type]
    mixer: Any = model._mix
    with torch.no_grad():
        for name in mixer.names:
            named[name].copy_(named[name][:1].expand_as(named[name]).clone())
    before = own_parameters(model)
    logged = mixer(model)
    assert torch.equal(own_parameters(model), before)
    assert logged["mixing/factor"] == logged["mixing/promised"] == 0.0


def test_what_is_promised_is_kept_for_small_steps() -> None:
    """The surrogate grows by slope times factor, to first order, when nobody may go far."""
    model = apart(rows=4, n_steps=8)
    mixer = SegmentMixer(
        Mixing(largest=1e-3),
        model.policy.actor,
        prefix="user.",
        seats=slice(1, 5),  # type: ignore[arg-type]
    )
    seen, moves, old, advantage, there = samples(model)

    def surrogate() -> Tensor:
        actor: Any = copy.deepcopy(model.policy.actor).double()  # type: ignore[operator]
        with torch.no_grad():
            now = actor.judge({k: v.double() for k, v in seen.items()}, moves).log_prob
        weight = (now - old).exp() * there
        return ((weight * advantage).sum(0) / there.sum(0))[1:]

    before = surrogate()
    promised = mixer(model)["mixing/promised"]
    assert promised > 0
    gained = float((surrogate() - before).mean())
    assert gained == pytest.approx(promised, rel=0.1)


def test_a_team_trains_and_mixes_every_second_update() -> None:
    model = small_team(rows=4, n_steps=6, net=OWN, mixing=Mixing(every=2, segments=3))
    seen: list[dict[str, float]] = []
    train = model.train

    def watched() -> None:
        train()
        mixed = {k: v for k, v in model.logger.name_to_value.items() if k.startswith("mixing/")}
        seen.append(mixed)
        for key in mixed:
            del model.logger.name_to_value[key]

    model.train = watched  # type: ignore[method-assign]
    model.learn(4 * 6 * 5 * 4)
    assert [bool(m) for m in seen] == [False, True, False, True]
    names = {"mixing/agents", "mixing/factor", "mixing/promised", "mixing/parameters_sent"}
    assert set(seen[1]) == names
    assert seen[1]["mixing/parameters_sent"] == own_parameters(model).numel()
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"env_role": "leader"},
        {"net": OWN, "env_n_max": 1, "env_n_hi": 1},
        # As many users as hidden units and moves: by their shapes the layers could be theirs.
        {"env_n_max": 6, "net": {"width": 6, "heads": 2}},
    ],
    ids=["shared", "no users", "one user", "shapes that deceive"],
)
def test_mixing_is_refused_where_policies_are_shared(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="mixing: allowed where each of at least 2 users has"):
        small_team(mixing=Mixing(), **changes)


def test_mixing_wants_the_ratio_of_each_agent() -> None:
    """Its importance weights are each user's own; the rollout keeps the mean over all."""
    with pytest.raises(ConfigError, match="ratio='mean': allowed with mixing: agent"):
        small_team(mixing=Mixing(), net={**OWN, "ratio": "mean"})
