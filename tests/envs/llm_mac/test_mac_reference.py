"""The batched game against one played user by user in plain Python; conservation; symmetry."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mac_cases import draws, first, game, random_moves
from plain_mac import PlainMac, User

from sixgym.envs.llm_mac.metrics import METRICS

ROWS = 8
VARIANTS: list[dict[str, Any]] = [
    {},
    {"timing": "delayed", "mode": "selfish", "buffer_size": 2},
    {"mode": "selfish", "alpha": 0.4, "share_fairness": True, "fairness": 0.5, "cost_ack": 0.2},
    {"reward": "llm4mac_early", "row_arrival_prob": (0.9, 0.1), "tbler": 0.3, "pag_level": 0},
    {"population": "birth_death", "p_join": 0.4, "p_leave": 0.4, "n_lo": 1, "n_hi": 4},
    {"population": "schedule", "schedule": ((0, 4), (7, 1), (12, 3)), "tbler": 0.2},
]


@pytest.mark.parametrize("params", VARIANTS, ids=lambda p: ",".join(p) or "default")
def test_every_slot_is_that_of_the_plain_game(params: dict[str, Any]) -> None:
    """States, rewards, events, delays and Jain's index, for 40 slots of 8 rows, users leaving."""
    slots = 40
    system = game(4, dtype="float64", horizon_slots=slots, **{"tbler": 0.1, **params})
    p = system.params
    state = first(system, ROWS)
    plain = [
        PlainMac(p, {r: User() for r in range(p.n_max) if state.here[i, r]}) for i in range(ROWS)
    ]
    generator = torch.Generator().manual_seed(3)
    for t in range(1, slots + 1):
        moves, noise = random_moves(system, ROWS, generator), draws(system, ROWS, t)
        comes = system.traffic.arrivals(state, noise)
        erased = noise["channel"] < p.tbler
        new, step = system.play(state, moves, noise)
        for i, row in enumerate(plain):
            seats = list(row.seats)
            m = {r: int(moves["bs"][i, 0, r]) for r in seats}
            a = {r: int(moves["ue"][i, r]) // 2 for r in seats}
            u = {r: int(moves["ue"][i, r]) % 2 for r in seats}
            told = row.step(m, a, u, {r: int(comes[i, r]) for r in seats}, bool(erased[i]))
            assert float(step.metrics[told.outcome][i]) == 1.0
            assert int(new.o[i]) == told.o
            assert float(step.reward[i, 0]) == pytest.approx(told.leader, abs=1e-9)
            assert step.reward[i, 1:].tolist() == pytest.approx(told.users, abs=1e-9)
            assert int(step.metrics["delay"][i]) == told.delay
            assert {k: int(step.metrics[k][i]) for k in told.counts} == told.counts
            assert float(new.jain[i, 0]) == pytest.approx(row.index())
            assert float(new.jain[i, 1]) == pytest.approx(row.index(by_demand=True))
            left = [r for r in seats if int(new.agent_id[i, r]) != int(state.agent_id[i, r])]
            assert int(step.metrics["abandoned"][i]) == sum(row.leave(r) for r in left)
            for r in range(p.n_max):
                if new.here[i, r] and r not in row.seats:
                    row.join(r)
            assert {r: len(x.queue) for r, x in row.seats.items()} == {
                r: int(new.q[i, r]) for r in range(p.n_max) if new.here[i, r]
            }
            assert all(bool(new.d[i, r]) == x.known for r, x in row.seats.items())
        state = new


@settings(max_examples=30)
@given(
    params=st.fixed_dictionaries(
        {
            "timing": st.sampled_from(["stackelberg", "delayed"]),
            "traffic": st.sampled_from(["bernoulli", "poisson", "finite", "saturated"]),
            "population": st.sampled_from(["fixed", "episodic", "schedule", "birth_death"]),
            "buffer_size": st.integers(1, 6),
            "arrival_prob": st.floats(0.0, 1.0),
            "tbler": st.floats(0.0, 1.0),
            "arrivals_first": st.booleans(),
            "auto_delete": st.booleans(),
            "random_rows": st.booleans(),
            "pag_level": st.integers(-1, 3),
            "mode": st.sampled_from(["team", "mfsg", "selfish"]),
            "bs_action": st.sampled_from(["multi", "pointer"]),
        }
    ),
    seed=st.integers(0, 2**32),
)
def test_packets_are_conserved_and_indices_bounded(params: dict[str, Any], seed: int) -> None:
    """generated = delivered + dropped + lost + abandoned + residual, in every slot and row."""
    more = {"p_join": 0.3, "p_leave": 0.3, "n_lo": 1, "n_hi": 5, "population_sizes": (1, 3, 5)}
    system = game(5, schedule=((0, 4), (5, 1), (9, 5)), **more, **params)
    state = first(system, 4, seed)
    generator = torch.Generator().manual_seed(seed)
    told_jain = torch.zeros(4)
    for t in range(1, 16):
        before = state
        moves = random_moves(system, 4, generator)
        state, step = system.play(state, moves, draws(system, 4, t, seed))
        x = step.metrics
        out = x["delivered"] + x["dropped"] + x["lost"] + x["abandoned"] + x["residual"]
        assert torch.equal(x["generated"], out)
        assert torch.equal(x["residual"], _undelivered(state, before, system, x))
        events = x["idle"] + x["collision"] + x["erasure"] + x["duplicate"] + x["delivered"]
        assert torch.equal(events, torch.ones(4))
        told_jain += x["jain"]
        assert torch.allclose(told_jain, state.jain[:, 0], atol=1e-5)
        assert ((state.jain <= 1.0 + 1e-6) & (state.jain >= 1.0 / 24)).all()
        assert (state.q >= 0).all()
        assert (state.q <= params["buffer_size"]).all()
        assert (state.d <= (state.q > 0).long()).all()
        assert set(x) == {m.name for m in METRICS}
        empty = ~before.here
        assert (step.reward[:, 1:][empty] == 0).all()
        assert step.reward.isfinite().all()
        for name in ("q", "d", "a", "u", "m", "age", "delivered", "generated"):
            assert (getattr(state, name)[~state.here] == 0).all(), name


def _undelivered(state: Any, before: Any, system: Any, x: Any) -> torch.Tensor:
    growth = (state.q - state.d).sum(1) - (before.q - before.d).sum(1)
    if system.params.traffic == "saturated":  # who joins brings a full buffer, not generated
        growth = growth - system.params.buffer_size * x["joined"].long()
    return growth.to(x["residual"].dtype)


@pytest.mark.parametrize("params", [{}, {"timing": "delayed", "mode": "selfish", "tbler": 0.3}])
def test_renumbering_the_seats_renumbers_the_outcome(params: dict[str, Any]) -> None:
    """Seats of state, moves and arrivals permuted: the same slot on permuted seats."""
    system = game(6, dtype="float64", pag_level=1, **params)
    rows = 32
    order = torch.randperm(6, generator=torch.Generator().manual_seed(2))
    straight, turned = first(system, rows), first(system, rows)
    generator = torch.Generator().manual_seed(5)
    for t in range(1, 25):
        moves, noise = random_moves(system, rows, generator), draws(system, rows, t)
        straight, step = system.play(straight, moves, noise)
        others = {"bs": moves["bs"][..., order], "ue": moves["ue"][:, order]}
        turned, other = system.play(
            turned, others, {**noise, "arrivals": noise["arrivals"][:, order]}
        )
        for name in ("q", "d", "a", "u", "m", "age", "delivered", "generated"):
            assert torch.equal(getattr(turned, name), getattr(straight, name)[:, order]), name
        sender = (straight.o > 0) & (straight.o <= 6)
        moved = order.argsort()[(straight.o - 1).clamp(0, 5)] + 1
        assert torch.equal(turned.o, torch.where(sender, moved, straight.o))
        assert torch.allclose(other.reward[:, 0], step.reward[:, 0])
        assert torch.allclose(other.reward[:, 1:], step.reward[:, 1:][:, order])
        for name, value in step.metrics.items():
            assert torch.allclose(other.metrics[name], value), name
