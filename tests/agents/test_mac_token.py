"""The tiny language model of LLM-MAC: grammar, probabilities, and what must not matter."""

from __future__ import annotations

import itertools
from typing import Any, cast

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

import sixgym  # noqa: F401 - registers the ids
from sixgym.agents.policies import TeamArchitecture
from sixgym.agents.team.mac_token import TokenActor
from sixgym.agents.team.nets import ALIVE
from sixgym.agents.team.player import TeamPlayer
from sixgym.agents.team.policy import TeamPolicy
from sixgym.agents.team.registry import notes_of
from sixgym.agents.team.token_model import Text, TokenModel
from sixgym.envs.core.errors import PolicyError
from sixgym.envs.core.make import make_system
from sixgym.envs.core.team_sb3 import make_team_vec_env
from sixgym.envs.llm_mac import LlmMac
from sixgym.envs.llm_mac.grammar import Grammar
from sixgym.envs.llm_mac.levels import bs_language_size
from sixgym.envs.llm_mac.tokens import EOS, PAD

ID = "sixgym/LlmMac-v0"
N, B, ROWS = 4, 3, 24
LEVELS = (-1, 0, 1, 2, 3)
OPAQUE = {"opaque": True, "num_ucm": 4, "num_dcm": 6}


def game(**params: Any) -> LlmMac:
    few = {"n_max": N, "buffer_size": B, "population": "episodic", "population_sizes": (1, 2, 4)}
    made = make_system(LlmMac, joint="dict", **{**few, "random_rows": True, **params})
    return cast("LlmMac", made)


def seen_of(system: LlmMac, rows: int = ROWS, slots: int = 3) -> dict[str, Tensor]:
    """What is seen after some slots of random moves."""
    generator = torch.Generator().manual_seed(0)
    p, key = system.params, torch.arange(rows, dtype=torch.int64) * 7919
    state = system.start(system.start_draws.draw(key, torch.zeros_like(key)))
    for slot in range(1, slots + 1):
        shape = (rows, p.n_max)
        moves = {
            "bs": torch.randint(0, p.num_dcm, shape, generator=generator).unsqueeze(1),
            "ue": torch.randint(0, 3 * p.num_ucm, shape, generator=generator),
        }
        state, _ = system.play(state, moves, system.step_draws.draw(key, key * 0 + slot))
    return {**system.perceive(state, {}), ALIVE: system.alive(state).to(torch.float32)}


def actor_of(system: LlmMac, level: int | None = None, scale: float = 3.0) -> TokenActor:
    """An untrained actor whose probabilities are far from equal."""
    torch.manual_seed(0)
    actor = TokenActor(system, width=16, level=level)
    with torch.no_grad():
        actor.model.head.weight.mul_(scale)
    return actor


def coins(actor: TokenActor, rows: int = ROWS) -> Tensor:
    return torch.rand(rows, actor.num_uniforms, generator=torch.Generator().manual_seed(1))


def some(seen: dict[str, Tensor], rows: Any) -> dict[str, Tensor]:
    return {key: part[rows] for key, part in seen.items()}


# --------------------------------------------------------------------------------- probabilities


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("timing", ["stackelberg", "delayed"])
def test_moves_are_judged_as_they_were_made(level: int, timing: str) -> None:
    """What is decoded token by token, with a cache, is what one pass over all tokens says."""
    system = game(timing=timing)
    actor, seen = actor_of(system, level), seen_of(system)
    acted = actor.act(seen, coins(actor), deterministic=False)
    judged = actor.judge(seen, acted.moves, acted.notes)
    assert torch.allclose(acted.log_prob, judged.log_prob, atol=1e-5)
    assert (judged.entropy >= 0).all()
    assert (acted.log_prob[seen[ALIVE] == 0] == 0).all()
    assert acted.log_prob.min() < -0.1
    assert (acted.notes is None) == (level >= 0)


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_either_side_plays_alone(role: str) -> None:
    system = game(role=role)
    actor, seen = actor_of(system), seen_of(system)
    acted = actor.act(seen, coins(actor), deterministic=False)
    assert set(acted.moves) == {"bs" if role == "leader" else "ue"}
    judged = actor.judge(seen, acted.moves)
    assert torch.allclose(acted.log_prob, judged.log_prob, atol=1e-5)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_probabilities_of_all_messages_sum_to_one(level: int) -> None:
    """Dossier 3.5: 27 messages to three users, 13 at level 2; six moves of a user."""
    system = game(n_max=3, population="fixed", num_users=3)
    actor, seen = actor_of(system, level), some(seen_of(system), slice(5, 6))
    messages = torch.tensor(list(itertools.product(range(3), repeat=3)))
    if level == 2:
        few = [(messages == code).sum(1) <= 1 for code in (1, 2)]
        messages = messages[few[0] & few[1]]
    assert len(messages) == bs_language_size(level, 3)
    rows = len(messages)
    many = {key: part.expand(rows, *part.shape[1:]) for key, part in seen.items()}
    moves = {"bs": messages.unsqueeze(1), "ue": torch.zeros(rows, 3, dtype=torch.int64)}
    log_prob = actor.judge(many, moves).log_prob
    assert log_prob[:, 0].exp().sum().item() == pytest.approx(1.0, abs=1e-5)

    many = {key: part.expand(6, *part.shape[1:]) for key, part in seen.items()}
    waits = seen["ue"][0, :, 1] > 0
    every = torch.arange(6).unsqueeze(1).expand(6, 3).clone()
    if level:  # an empty buffer allows the first two only
        every = torch.where(waits | (every < 2), every, 0)
    moves = {"bs": torch.zeros(6, 1, 3, dtype=torch.int64), "ue": every}
    p = actor.judge(many, moves).log_prob[:, 1:].exp()
    rows_of_empty = 2 if level else 6
    total = torch.where(waits, p.sum(0), p[:rows_of_empty].sum(0))
    assert total.tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_without_a_grammar_all_strings_of_tokens_sum_to_one() -> None:
    """One user, 18 + 1 + 1 + 1 tokens, padding excepted, at most three of them."""
    system = game(n_max=1, buffer_size=1, population="fixed", num_users=1)
    actor, seen = actor_of(system, -1), some(seen_of(system), slice(0, 1))
    stations = actor._stations(seen)
    index = actor.language.vocabulary.index
    words = [k for k in range(len(index)) if k not in (index[EOS], index[PAD])]
    end, pad = index[EOS], index[PAD]
    lines = [(end, pad, pad), *((a, end, pad) for a in words)]
    lines += itertools.product(words, words, (*words, end))
    said = torch.tensor(lines)
    everyone = stations.take(torch.zeros(len(said), dtype=torch.int64))
    with torch.no_grad():
        log_prob, _ = actor.assess(everyone, said)
    assert log_prob.double().exp().sum().item() == pytest.approx(1.0, abs=1e-4)


def test_what_is_no_utterance_is_silence() -> None:
    system = game()
    actor, seen = actor_of(system, -1), seen_of(system)
    stations, (users, _) = actor._stations(seen), actor._users(seen)
    message = torch.randint(1, 3, (ROWS, N)) * (seen["bs.rows"][:, 0, :, 0] > 0)
    said = stations.script(message)
    assert torch.equal(stations.moves(said), message)
    for column in range(said.shape[1]):  # any word missing or in the wrong place
        wrong = said.clone()
        wrong[:, column] = actor.language.bos
        is_silent = (stations.moves(wrong) == 0).all(1)
        assert is_silent[stations.limit > column].all()
    move = torch.full((len(users.limit),), 3)
    assert torch.equal(users.moves(users.script(move)), move)
    assert (users.moves(users.script(move).flip(1)) == 0).all()


def test_cached_reading_equals_reading_at_once() -> None:
    torch.manual_seed(0)
    model = TokenModel(11, 7, 3, width=16, layers=3, heads=2)
    is_there = torch.rand(5, 9) < 0.7
    text = Text(*(torch.randint(0, k, (5, 9)) for k in (11, 7, 4)), is_there)
    first, second = (Text(*(part[:, s] for part in text)) for s in (slice(0, 4), slice(4, 9)))
    _, cache = model(first, torch.tensor([-1]))
    in_parts, _ = model(second, torch.arange(5), cache)
    at_once, _ = model(text, torch.arange(4, 9))
    assert torch.allclose(in_parts[is_there[:, 4:]], at_once[is_there[:, 4:]], atol=1e-5)


# --------------------------------------------------------------------------------------- grammar


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_every_utterance_parses_to_its_move(level: int) -> None:
    system = game()
    actor, seen = actor_of(system, level, scale=0.1), seen_of(system)
    grammar, words = Grammar(N, level), actor.language.vocabulary
    stations, (users, _) = actor._stations(seen), actor._users(seen)
    coin = torch.rand(len(users.limit), 2 * N)
    active = seen["bs.rows"][:, 0, :, 0] > 0

    tokens, _ = actor.utter(stations, coin[:ROWS], deterministic=False)
    for k, message in enumerate(stations.moves(tokens).tolist()):
        text = " ".join(["BS:", *_spoken(words.decode(tokens[k].tolist()))])
        assert grammar.parse_bs(text, active[k].tolist()) == tuple(message)
    tokens, _ = actor.utter(users, coin, deterministic=False)
    for k, move in enumerate(users.moves(tokens).tolist()):
        row = int(users.prompt.token[k, 2] - actor.language.names[0])
        text = " ".join([f"UE{row}:", *_spoken(words.decode(tokens[k].tolist()))])
        assert grammar.parse_ue(text, row) == move


def _spoken(words: list[str]) -> list[str]:
    assert words.count(EOS) == 1
    assert set(words[words.index(EOS) + 1 :]) <= {PAD}
    return words[: words.index(EOS)]


@pytest.mark.parametrize("params", [{}, {**OPAQUE, "pag_level": 1}, {"history": 2}])
def test_prompts_are_those_of_the_vocabulary(params: dict[str, Any]) -> None:
    """Dossier 4.4, with integers from features by the layout in the observer's docstring."""
    system = game(**params)
    actor, seen = actor_of(system), seen_of(system)
    words, ucm, dcm = actor.language.vocabulary, system.params.num_ucm, system.params.num_dcm
    seats, glob = seen["bs.rows"][:, 0].numpy(), seen["bs.glob"][:, 0].numpy()
    u = (seats[..., 1:ucm] * np.arange(1, ucm)).sum(-1).astype(int)
    m = seats[..., ucm : ucm + dcm].argmax(-1)
    decoded = seats[..., ucm + dcm].argmax(-1)
    o = np.where(glob[:, 0] > 0, 0, np.where(glob[:, 1] > 0, N + 1, decoded + 1))
    prompt = actor._stations(seen).prompt
    for k in range(ROWS):
        tokens = words.decode(prompt.token[k][prompt.is_there[k]].tolist())
        assert tokens == words.bs_prompt(int(o[k]), u[k], m[k], seats[k, :, 0] > 0)

    users, where = actor._users(seen)
    own = seen["ue"][where].numpy()
    for k, row in enumerate(where.nonzero()[:, 1].tolist()):
        q, a = round(own[k, 0] * B), own[k, 3:6].argmax()
        u_k = int((own[k, 6 : 5 + ucm] * np.arange(1, ucm)).sum())
        heard = own[k, 5 + ucm : 5 + ucm + dcm].argmax()
        expected = words.ue_prompt(row, q, a, u_k, heard)
        assert words.decode(users.prompt.token[k].tolist()) == expected


# ------------------------------------------------------------------------- what must not matter


@pytest.mark.parametrize("level", [-1, 1, 2])
def test_a_row_alone_plays_as_in_a_batch(level: int) -> None:
    """Neither padding nor who else is read at the same time matters."""
    system = game()
    actor, seen = actor_of(system, level), seen_of(system)
    coin = coins(actor)
    whole = actor.act(seen, coin, deterministic=False)
    for k in range(ROWS):
        alone = actor.act(some(seen, [k]), coin[[k]], deterministic=False)
        for key, move in alone.moves.items():
            assert torch.equal(move[0], whole.moves[key][k])
        assert torch.allclose(alone.log_prob[0], whole.log_prob[k], atol=1e-5)
        judged = actor.judge(some(seen, [k]), alone.moves, alone.notes)
        assert torch.allclose(judged.log_prob[0], whole.log_prob[k], atol=1e-5)


def test_a_user_does_not_depend_on_other_users() -> None:
    system = game(role="follower")
    actor, seen = actor_of(system), seen_of(game())
    seen = {"ue": seen["ue"], ALIVE: seen[ALIVE][:, 1:]}
    acted = actor.act(seen, coins(actor), deterministic=False)
    for row in range(N):
        alone = torch.arange(N) == row
        lonely = {
            key: part * (alone.unsqueeze(-1) if part.ndim > 2 else alone)
            for key, part in seen.items()
        }
        again = actor.act(lonely, coins(actor), deterministic=False)
        assert torch.equal(again.moves["ue"][:, row], acted.moves["ue"][:, row])
        assert torch.allclose(again.log_prob[:, row], acted.log_prob[:, row], atol=1e-5)


@pytest.mark.parametrize("level", [-1, 2])
def test_an_empty_cell_is_played(level: int) -> None:
    system = game()
    actor, seen = actor_of(system, level), some(seen_of(system), slice(0, 2))
    empty = {key: part * 0 for key, part in seen.items()} | {"bs.glob": seen["bs.glob"]}
    acted = actor.act(empty, coins(actor, 2), deterministic=False)
    assert not any(bool(move.any()) for move in acted.moves.values())
    assert torch.equal(acted.log_prob, actor.judge(empty, acted.moves, acted.notes).log_prob)


# --------------------------------------------------------------------------- playing and training


def test_deterministic_speech_is_the_likeliest_word_by_word() -> None:
    system = game()
    actor, seen = actor_of(system, 0), seen_of(system)
    best = actor.act(seen, coins(actor), deterministic=True)
    again = actor.act(seen, 1 - coins(actor), deterministic=True)
    assert all(torch.equal(best.moves[k], again.moves[k]) for k in best.moves)
    assert best.log_prob.sum() > actor.act(seen, coins(actor), False).log_prob.sum()


@pytest.mark.parametrize("level", [-1, 2])
def test_plays_the_registered_environment(level: int) -> None:
    env = cast("Any", gym.make_vec(ID, num_envs=3))
    architecture = TeamArchitecture(net="mac_token", sizes={"width": 16, "level": level})
    player = TeamPlayer(architecture, env.unwrapped.system)
    player.attach(env.unwrapped)
    seen, _ = env.reset(seed=1)
    for _ in range(3):
        action, _ = player.predict(seen, deterministic=False)
        assert env.action_space.contains(action)
        seen, *_ = env.step(action)
    env.close()


@pytest.mark.parametrize("level", [-1, 2])
def test_trainers_see_the_probabilities_that_were_played(level: int) -> None:
    """Words said at level none travel through the buffer's floats."""
    params = {"n_max": 3, "random_rows": True, "population_sizes": (1, 3)}
    sizes = {"width": 16, "level": level}
    notes = notes_of(ID, "mac_token", sizes, params)
    env = make_team_vec_env(ID, 5, seed=0, notes=notes, **params)
    torch.manual_seed(0)
    policy = TeamPolicy(
        cast("Any", env.observation_space),
        env.action_space,
        lambda _: 1e-3,
        game=env.game,
        net="mac_token",
        **sizes,
    )
    found: dict[str, Tensor] = {k: torch.as_tensor(v) for k, v in cast("Any", env.reset()).items()}
    actions, _, log_prob = policy.forward(found)
    _, judged, _ = policy.evaluate_actions(found, actions.float())
    there = found["present"].flatten() > 0
    assert torch.allclose(log_prob[there], judged, atol=1e-5)
    judged.sum().backward()
    assert all(p.grad is not None for p in policy.actor.parameters())


def test_what_it_cannot_play_is_refused() -> None:
    with pytest.raises(PolicyError, match="multi"):
        TokenActor(game(bs_action="pointer"))
    with pytest.raises(PolicyError, match="heads=3"):
        TokenActor(game(), heads=3)
    actor, seen = actor_of(game(), -1), seen_of(game())
    acted = actor.act(seen, coins(actor), deterministic=False)
    with pytest.raises(PolicyError, match="notes"):
        actor.judge(seen, acted.moves)
