"""How a team chooses: sampling from given numbers, and what its networks may depend on."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from team_cases import STORMY, cell, opinionated, play_on, random_moves, sights, uniforms
from torch import Tensor
from toy_games import Crowd

from sixgym.agents.team.choices import TIE, Choice, choose_among
from sixgym.agents.team.mac_flat import FlatActor, FlatCritic
from sixgym.agents.team.mac_set import SetActor, SetCritic
from sixgym.agents.team.nets import ALIVE, SeatNets, SetEncoder
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.make import make_system
from sixgym.envs.llm_mac.codes import DCM_ACK, DCM_NULL, DCM_SG, NUM_ACTIONS
from sixgym.envs.llm_mac.levels import bs_language_size, protocol_language_size, shield_bs
from sixgym.envs.llm_mac.observation import decoded_last

BELOW_ONE = 1.0 - 2.0**-24
"""The largest float32 below 1."""

# -------------------------------------------------------------------------------------- sampling


def test_samples_have_the_probabilities_of_the_softmax() -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0])
    choice = choose_among(logits, torch.tensor([True, True, True, False]))
    n = 200_000
    grid = (torch.arange(n) + 0.5) / n
    picked = Choice(choice.log_p.expand(n, -1)).pick(grid, False)
    share = torch.bincount(picked, minlength=4) / n
    want = torch.softmax(logits[:3], 0)
    assert share[:3].tolist() == pytest.approx(want.tolist(), abs=1e-4)
    assert share[3] == 0
    assert choice.log_prob(torch.tensor(2)).exp() == pytest.approx(float(want[2]))
    assert float(choice.entropy()) == pytest.approx(float(-(want * want.log()).sum()), abs=1e-6)


@pytest.mark.parametrize("uniform", [0.0, BELOW_ONE, 1.0])
@pytest.mark.parametrize("deterministic", [False, True])
def test_extreme_numbers_never_choose_what_is_forbidden(
    uniform: float, deterministic: bool
) -> None:
    """1.0 is what a double just below it becomes in float32."""
    draw = torch.Generator().manual_seed(0)
    logits = 8.0 * torch.randn(2000, 7, generator=draw)
    allowed = torch.rand(2000, 7, generator=draw) < 0.4
    allowed[torch.arange(2000), torch.randint(7, (2000,), generator=draw)] = True
    choice = choose_among(logits, allowed)
    picked = choice.pick(torch.full((2000,), uniform), deterministic)
    assert allowed.gather(1, picked[:, None]).all()
    first, last = allowed.to(torch.int64).argmax(1), 6 - allowed.flip(1).to(torch.int64).argmax(1)
    if not deterministic:
        edge = first if uniform == 0.0 else last
        likely = choice.log_prob(edge) > -10.0
        assert torch.equal(picked[likely], edge[likely])


def test_of_the_best_choices_each_is_as_likely_and_no_other_is_taken() -> None:
    log_p = torch.log(torch.tensor([0.1, 0.3, 0.3, 0.0, 0.3]))
    log_p[4] -= TIE / 2.0
    n = 3000
    grid = (torch.arange(n) + 0.5) / n
    picked = Choice(log_p.expand(n, -1)).pick(grid, True)
    assert torch.bincount(picked, minlength=5).tolist() == [0, 1000, 1000, 0, 1000]
    apart = log_p.clone()
    apart[4] -= TIE
    assert set(Choice(apart.expand(n, -1)).pick(grid, True).tolist()) == {1, 2}


def test_forbidden_choices_have_no_gradient_and_no_entropy() -> None:
    logits = torch.tensor([0.5, 0.5, 3.0], requires_grad=True)
    choice = choose_among(logits, torch.tensor([True, True, False]))
    (choice.entropy() + choice.log_prob(torch.tensor(0))).backward()  # type: ignore[no-untyped-call]
    assert choice.entropy().item() == pytest.approx(math.log(2.0))
    assert logits.grad is not None
    assert logits.grad.tolist() == pytest.approx([0.5, -0.5, 0.0])


# ------------------------------------------------------------------- what is done and how likely

HEADS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pointer": ({"bs_action": "pointer", "pag_level": 2}, {}),
    "pointer, level 3": ({"bs_action": "pointer", "pag_level": 3}, {}),
    "autoregressive": ({}, {"head": "autoregressive"}),
    "autoregressive, level 2": ({"pag_level": 2}, {"head": "autoregressive"}),
    "autoregressive, level 3": ({"pag_level": 3, "history": 1}, {"head": "autoregressive"}),
    "independent": ({}, {"head": "independent"}),
    "no parameter in common": ({}, {"head": "autoregressive", "sharing": "none"}),
    "delayed": ({"timing": "delayed"}, {"head": "autoregressive", "users_see": "message"}),
    "base station": ({"role": "leader"}, {"head": "autoregressive"}),
    "users": ({"role": "follower"}, {}),
}


def set_actor(params: dict[str, Any], sizes: dict[str, Any], **more: Any) -> SetActor:
    system = cell(**{**STORMY, **params, **more})
    actor: SetActor = opinionated(SetActor(system, width=8, heads=2, **sizes))
    return actor


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(("params", "sizes"), HEADS.values(), ids=HEADS)
def test_what_is_done_is_judged_as_likely_as_it_was(
    params: dict[str, Any], sizes: dict[str, Any], deterministic: bool
) -> None:
    actor = set_actor(params, sizes)
    agree(actor, deterministic)


def test_plain_networks_judge_as_they_act() -> None:
    for params in ({}, {"opaque": True, "num_ucm": 3, "num_dcm": 4, "timing": "delayed"}):
        actor = opinionated(FlatActor(cell(**STORMY, history=1, **params), width=8))
        agree(actor, False)


def agree(actor: Any, deterministic: bool) -> None:
    """Act and judge tell one log-probability, and moves are within the rules."""
    system, seen = actor.game, sights(actor.game, rows=64)
    uniform = uniforms(64, actor.num_uniforms)
    acted = actor.act(seen, uniform, deterministic)
    judged = actor.judge(seen, acted.moves)
    assert acted.log_prob.shape == (64, system.num_seats)
    torch.testing.assert_close(acted.log_prob, judged.log_prob, atol=1e-5, rtol=1e-5)
    empty = seen[ALIVE] == 0
    assert int(empty.sum()) > 0 or system.params.role == "leader"
    assert not acted.log_prob[empty].any()
    assert not judged.entropy[empty].any()
    assert (acted.log_prob <= 0).all()
    assert (judged.entropy >= -1e-6).all()
    for group in system.groups:
        space: Any = group.action_space
        assert all(space.contains(m.numpy()) for m in acted.moves[group.name].flatten(0, 1))


@pytest.mark.parametrize(("params", "sizes"), HEADS.values(), ids=HEADS)
def test_nothing_that_a_level_forbids_is_done(
    params: dict[str, Any], sizes: dict[str, Any]
) -> None:
    actor = set_actor(params, sizes)
    system, level = actor.game, int(actor.level)
    state = play_on(system, rows=128)
    seen = {**system.perceive(state, {}), ALIVE: system.alive(state).to(torch.float32)}
    for uniform in (uniforms(128, actor.num_uniforms), torch.full((128, actor.num_uniforms), 1.0)):
        moves = actor.act(seen, uniform, False).moves
        masks = system.allowed(state, moves)
        if "ue" in moves:
            assert masks["ue"].gather(2, moves["ue"].unsqueeze(2)).all()
        if "bs" in moves and actor.head != "independent":
            message = system.speech.message_of(moves["bs"][:, 0])
            allowed = system.speech._bs_allowed(state)
            assert not shield_bs(level, allowed, message).invalid.any()


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("head", ["autoregressive", "independent", "pointer"])
def test_probabilities_of_all_messages_sum_to_one(level: int, head: str) -> None:
    """Also their number is that of the language, where the head knows what it has said."""
    params: dict[str, Any] = {"bs_action": "pointer"} if head == "pointer" else {}
    system = cell(**{**STORMY, "n_max": 3, **params, "pag_level": level})
    actor = opinionated(SetActor(system, width=8, heads=2, head=head))  # type: ignore[arg-type]
    state = play_on(system, rows=12, slots=5)
    seen = {**system.perceive(state, {}), ALIVE: system.alive(state).to(torch.float32)}
    ends = [4, 4] if head == "pointer" else [3, 3, 3]
    every = torch.tensor(list(itertools.product(*map(range, ends))))
    rest = torch.zeros(len(every), 3, dtype=torch.int64)
    for i in range(12):
        one = {k: v[i : i + 1].expand(len(every), *v.shape[1:]) for k, v in seen.items()}
        log_p = actor.judge(one, {"bs": every.unsqueeze(1), "ue": rest}).log_prob[:, 0]
        assert log_p.double().exp().sum().item() == pytest.approx(1.0, abs=1e-5)
        here = state.here[i]
        asked, decoded = (state.u[i] == 1) & here, decoded_last(state)[i] > 0
        if head == "autoregressive":
            if level < 3:
                size = bs_language_size(level, int(here.sum()))
            else:
                both = bool((asked & decoded).any())
                size = protocol_language_size(int(asked.sum()), bool(decoded.any()), both)
            assert int((log_p > -torch.inf).sum()) == size


def test_probabilities_of_all_codes_of_plain_networks_sum_to_one() -> None:
    system = cell(**{**STORMY, "n_max": 3})
    actor = opinionated(FlatActor(system, width=8))
    seen = sights(system, rows=5)
    every = torch.tensor(list(itertools.product(range(3), repeat=3)))
    quiet = torch.zeros(27, 3, dtype=torch.int64)
    chance = torch.stack(
        [
            actor.judge(
                {k: v[i : i + 1].expand(27, *v.shape[1:]) for k, v in seen.items()},
                {"bs": every.unsqueeze(1), "ue": quiet},
            ).log_prob[:, 0]
            for i in range(5)
        ]
    ).exp()
    assert chance.sum(1).tolist() == pytest.approx([1.0] * 5, abs=1e-5)
    grid = (torch.arange(4000) + 0.5) / 4000
    uniform = torch.cat([grid[:, None], torch.zeros(4000, 3)], 1)
    many = {k: v[:1].expand(4000, *v.shape[1:]) for k, v in seen.items()}
    told = actor.act(many, uniform, False).moves["bs"][:, 0]
    code = (told * torch.tensor([9, 3, 1])).sum(1)
    share = torch.bincount(code, minlength=27) / 4000
    assert share.tolist() == pytest.approx(chance[0].tolist(), abs=1e-3)


@pytest.mark.parametrize(("params", "sizes"), HEADS.values(), ids=HEADS)
def test_how_often_a_move_is_made_is_how_likely_it_is(
    params: dict[str, Any], sizes: dict[str, Any]
) -> None:
    """A message and what the first user does then, 20,000 draws of the fullest row."""
    actor = set_actor(params, sizes)
    seen = sights(actor.game, rows=8)
    i, n = int(seen[ALIVE].sum(1).argmax()), 20_000
    many = {k: v[i : i + 1].expand(n, *v.shape[1:]) for k, v in seen.items()}
    with torch.no_grad():
        acted = actor.act(many, uniforms(n, actor.num_uniforms), False)
    done = [acted.moves["bs"][:, 0]] if "bs" in acted.moves else []
    seats = int("bs" in acted.moves)
    if "ue" in acted.moves:
        seats = seats + 1 + int(seen[ALIVE][i, seats:].argmax())
        done.append(acted.moves["ue"][:, seats - 1 - int("bs" in acted.moves), None])
    own = [0, seats - 1] if len(done) == 2 else [seats - 1]
    p = acted.log_prob[:, own].sum(1).double().exp()
    kinds, kind, count = torch.cat(done, 1).unique(dim=0, return_inverse=True, return_counts=True)
    told = torch.zeros(len(kinds), dtype=p.dtype).index_copy(0, kind, p)
    assert torch.allclose(told[kind], p), "one move has one probability"
    error = 5.0 * (told * (1.0 - told) / n).sqrt() + 1e-4
    assert (abs(count / n - told) < error).all()
    assert float(told.sum()) > 0.97


# ------------------------------------------------------------------------ what nothing depends on


def shuffled(seen: dict[str, Tensor], order: Tensor) -> dict[str, Tensor]:
    """The same cell with its users on other seats."""
    alive = seen[ALIVE]
    return {
        "bs.rows": seen["bs.rows"][:, :, order],
        "bs.glob": seen["bs.glob"],
        "ue": seen["ue"][:, order],
        ALIVE: torch.cat([alive[:, :1], alive[:, 1:][:, order]], 1),
    }


def test_users_who_change_seats_are_pointed_at_and_move_as_before() -> None:
    actor = set_actor(*HEADS["pointer"])
    seen, order = sights(actor.game, rows=16), torch.tensor([2, 0, 3, 1])
    logits, allowed = actor.grant_logits(seen)
    again, also = actor.grant_logits(shuffled(seen, order))
    place = torch.cat([torch.zeros(1, dtype=torch.int64), order + 1])
    assert torch.equal(allowed[:, :, place], also)
    near(logits[:, :, place][also], again[also])
    uniform = uniforms(16, actor.num_uniforms)
    acted = actor.act(seen, uniform, False)
    pointers = acted.moves["bs"][:, 0]
    back = order.argsort()
    moved = {
        "bs": torch.where(pointers > 0, back[(pointers - 1).clamp_min(0)] + 1, 0).unsqueeze(1),
        "ue": acted.moves["ue"][:, order],
    }
    judged = actor.judge(shuffled(seen, order), moved)
    near(judged.log_prob[:, 0], acted.log_prob[:, 0])
    near(judged.log_prob[:, 1:], acted.log_prob[:, 1:][:, order])


def near(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["pointer", "autoregressive", "delayed", "no parameter in common"])
def test_rows_do_not_meet(name: str) -> None:
    actor = set_actor(*HEADS[name])
    seen, uniform = sights(actor.game, rows=9), uniforms(9, actor.num_uniforms)
    whole = actor.act(seen, uniform, False)
    for i in range(9):
        one = actor.act({k: v[i : i + 1] for k, v in seen.items()}, uniform[i : i + 1], False)
        near(one.log_prob, whole.log_prob[i : i + 1])
        assert all(torch.equal(m, whole.moves[k][i : i + 1]) for k, m in one.moves.items())


@pytest.mark.parametrize("name", ["pointer", "autoregressive", "independent"])
def test_empty_seats_and_more_of_them_change_nothing(name: str) -> None:
    """All but the share of seats taken, which is among what the base station sees."""
    params, sizes = HEADS[name]
    small, large = set_actor(params, sizes), set_actor(params, sizes, n_max=9)
    large.load_state_dict(small.state_dict())
    seen = sights(small.game, rows=32)
    padded = {
        "bs.rows": torch.nn.functional.pad(seen["bs.rows"], (0, 0, 0, 5)),
        "bs.glob": seen["bs.glob"],
        "ue": torch.nn.functional.pad(seen["ue"], (0, 0, 0, 5)),
        ALIVE: torch.nn.functional.pad(seen[ALIVE], (0, 5)),
    }
    moves = random_allowed(small, seen)
    few = small.judge(seen, moves)
    wide = 0 if name == "pointer" else 5
    more = {"bs": torch.nn.functional.pad(moves["bs"], (0, wide))}
    more["ue"] = torch.nn.functional.pad(moves["ue"], (0, 5))
    many = large.judge(padded, more)
    near(many.log_prob[:, :5], few.log_prob)
    near(many.entropy[:, :5], few.entropy)
    assert not many.log_prob[:, 5:].any()
    odd = {"bs": more["bs"], "ue": more["ue"].clone()}
    odd["ue"][:, 5:] = 5
    assert torch.equal(large.judge(padded, odd).log_prob, many.log_prob), "moves of nobody"


def random_allowed(actor: SetActor, seen: dict[str, Tensor]) -> dict[str, Tensor]:
    """Moves that the actor itself draws."""
    return actor.act(seen, uniforms(len(seen[ALIVE]), actor.num_uniforms, seed=5), False).moves


def test_equal_users_are_singled_out_by_a_pointer_and_not_by_a_best_word() -> None:
    """Tied pointers are drawn among evenly; a seat-by-seat base station tells all the same."""
    params = {"population": "fixed", "num_users": 4, "n_max": 4, "pag_level": 2}
    one = cell(**params, bs_action="pointer")
    actor = opinionated(SetActor(one, width=8, heads=2))
    with torch.no_grad():  # nobody is never the best
        actor.nobody[-1].bias.fill_(-30.0)  # type: ignore[union-attr, operator]
    seen = sights(one, rows=1, slots=0)
    many = {k: v.expand(8000, *v.shape[1:]) for k, v in seen.items()}
    grant = actor.act(many, uniforms(8000, actor.num_uniforms), True).moves["bs"][:, 0, 0]
    share = torch.bincount(grant, minlength=5) / 8000
    assert share.tolist() == pytest.approx([0.0, 0.25, 0.25, 0.25, 0.25], abs=0.025)
    multi = opinionated(SetActor(cell(**params, bs_action="multi"), width=8, heads=2))
    multi.load_state_dict(actor.state_dict())
    uniform = uniforms(8000, actor.num_uniforms)
    told = multi.act(many, uniform, True).moves["bs"][:, 0]
    same = actor.act(many, uniform, True).moves["bs"][:, 0]
    by_hand = torch.full_like(told, DCM_NULL)
    for code, column in ((DCM_SG, 0), (DCM_ACK, 1)):
        for seat in range(4):
            by_hand[:, seat][same[:, column] == seat + 1] = code
    assert torch.equal(told, by_hand), "an acknowledgement wins over a grant"


# ------------------------------------------------------------------------------------- who sees


def test_users_do_not_see_each_other_and_hear_what_the_base_station_said() -> None:
    actor = set_actor(*HEADS["autoregressive"])
    seen = sights(actor.game, rows=32)
    moves = random_allowed(actor, seen)
    base = actor.judge(seen, moves).log_prob
    other = {k: v.clone() for k, v in seen.items()}
    other["ue"][:, 0, :3] = 1.0 - other["ue"][:, 0, :3]
    other["ue"][:, 0, 3:] *= other[ALIVE][:, 1:2]
    assert torch.equal(actor.judge(other, moves).log_prob[:, 2:], base[:, 2:])
    assert torch.equal(actor.judge(other, moves).log_prob[:, 0], base[:, 0]), "nor does the bs"
    told = {**moves, "bs": moves["bs"].clone()}
    told["bs"][:, 0, 0] = (told["bs"][:, 0, 0] + 1) % 3
    heard = actor.judge(seen, told).log_prob
    there = seen[ALIVE][:, 1] > 0
    assert (heard[there, 1] != base[there, 1]).any()
    assert torch.equal(heard[:, 2:], base[:, 2:]), "what others are told is not heard"


def test_a_hidden_last_move_changes_nothing() -> None:
    params, sizes = HEADS["delayed"]
    blind, open_eyed = set_actor(params, sizes), set_actor(params, {"head": "autoregressive"})
    open_eyed.load_state_dict(blind.state_dict())
    seen = sights(blind.game, rows=16)
    other = {k: v.clone() for k, v in seen.items()}
    other["ue"][..., 3:7] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    moves = random_allowed(blind, seen)
    there = seen[ALIVE] > 0
    assert torch.equal(blind.judge(seen, moves).log_prob, blind.judge(other, moves).log_prob)
    moved = open_eyed.judge(seen, moves).log_prob != open_eyed.judge(other, moves).log_prob
    assert moved[:, 1:][there[:, 1:]].any()


@pytest.mark.parametrize("kind", ["set", "flat"])
def test_own_critics_are_blind_to_what_others_see_and_central_ones_are_not(kind: str) -> None:
    system = cell(**STORMY)
    made: Any = {"set": SetCritic, "flat": FlatCritic}[kind]
    seen = sights(system, rows=16)
    other = {k: v.clone() for k, v in seen.items()}
    other["ue"][:, 0] = torch.where(seen[ALIVE][:, 1:2] > 0, 1.0 - seen["ue"][:, 0], 0.0)
    for central in (False, True):
        critic = opinionated(made(system, central=central, width=8))
        a, b = critic(seen, seen), critic(other, other)
        assert a.shape == (16, 5)
        there = (seen[ALIVE][:, 1] > 0) & (seen[ALIVE][:, 2] > 0)
        assert there.any()
        if central:
            assert (a[there, 0] != b[there, 0]).all()
            assert (a[there, 2] != b[there, 2]).all()
        else:
            assert torch.equal(a[:, 0], b[:, 0])
            assert torch.equal(a[:, 2:], b[:, 2:])
        assert (a[there, 1] != b[there, 1]).all()
        moved = {**seen, "bs.rows": seen["bs.rows"].flip(-1), "bs.glob": seen["bs.glob"].flip(-1)}
        c = critic(moved, moved)
        assert torch.equal(a[:, 1:], c[:, 1:]) is not central


def test_the_value_of_the_base_station_is_of_before_it_spoke_and_the_users_of_after() -> None:
    system = cell(**STORMY)
    seen = sights(system, rows=16)
    told = system.hear(seen, random_moves(system, 16, torch.Generator().manual_seed(1)))
    for made in (SetCritic, FlatCritic):
        critic = opinionated(made(system, central=True, width=8))  # type: ignore[operator]
        a, b = critic(seen, seen), critic(seen, told)
        assert torch.equal(a[:, 0], b[:, 0])
        assert (a[:, 1:] != b[:, 1:])[seen[ALIVE][:, 1:] > 0].any()


def test_nobody_in_a_set_is_zero_and_not_a_number_is_nowhere() -> None:
    encoder = SetEncoder(3, 8, 2, 2)
    member = torch.randn(4, 5, 3)
    is_in = torch.tensor([[True] * 5, [False] * 5, [True, False, True, False, False], [True] * 5])
    made = encoder(member, is_in)
    assert torch.isfinite(made).all()
    assert not made[~is_in].any()
    stirred = torch.where(is_in[..., None], member, 99.0)
    near(encoder(stirred, is_in), made)


def test_networks_of_seats_are_networks_side_by_side() -> None:
    nets = SeatNets(3, [4, 6, 2])
    x = torch.randn(7, 3, 4)
    for s in range(3):
        first = torch.tanh(x[:, s] @ nets.weights[0][s].T + nets.biases[0][s])
        near(nets(x)[:, s], first @ nets.weights[1][s].T + nets.biases[1][s])


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("params", "sizes", "message"),
    [
        ({"bs_action": "pointer"}, {"head": "autoregressive"}, "head='autoregressive': allowed"),
        ({}, {"head": "words"}, "head='words': allowed: pointer, autoregressive, independent"),
        ({}, {"width": 0}, "width=0: allowed: integers from 1"),
        ({}, {"width": 10}, "heads=4: allowed: divisors of width=10"),
        ({}, {"heads": 0}, "heads=0"),
        ({}, {"blocks": -1}, "blocks=-1"),
        ({}, {"level": 4}, "level=4: allowed: -1, 0, 1, 2, 3"),
        ({}, {"sharing": "some"}, "sharing='some'"),
        ({}, {"users_see": "nothing"}, "users_see='nothing'"),
    ],
)
def test_wrong_heads_and_sizes_are_refused(
    params: dict[str, Any], sizes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        SetActor(cell(**params), **sizes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plain_networks_are_refused_where_they_do_not_fit() -> None:
    with pytest.raises(PolicyError, match="n_max=8: 6561 messages; allowed: 2187"):
        FlatActor(cell(n_max=8))
    with pytest.raises(PolicyError, match="bs_action='pointer'"):
        FlatActor(cell(n_max=3, num_users=3, population="fixed", bs_action="pointer"))
    crowd: Any = make_system(Crowd, joint="dict")
    with pytest.raises(PolicyError, match="allowed: the system of sixgym/LlmMac-v0"):
        SetActor(crowd)


def test_a_message_does_not_tell_the_pointers_that_made_it() -> None:
    actor = SetActor(cell(**STORMY), width=8, heads=2)
    seen = sights(actor.game, rows=2)  # type: ignore[arg-type]
    moves = actor.act(seen, uniforms(2, actor.num_uniforms), False).moves
    assert moves["bs"].shape == (2, 1, 4)
    with pytest.raises(PolicyError, match="train with pointer"):
        actor.judge(seen, moves)


def test_half_the_numbers_are_not_wasted() -> None:
    """Two for pointers or one a seat, and one a user."""
    for name, want in (("pointer", 6), ("autoregressive", 8), ("users", 4), ("base station", 4)):
        assert set_actor(*HEADS[name]).num_uniforms == want
    assert FlatActor(cell(**STORMY)).num_uniforms == 5
    assert NUM_ACTIONS == 3
