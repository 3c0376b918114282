"""A game in words: prompts from states, and a game played by text alone (dossier 2.2, 3.6, 4.1)."""

from __future__ import annotations

import random

import pytest
import torch

from sixgym.envs.core.make import make_env, make_vector_env
from sixgym.envs.llm_mac.grammar import GrammarError
from sixgym.envs.llm_mac.system import BS, UE
from sixgym.envs.llm_mac.text import Cell

SYSTEM = "sixgym.envs.llm_mac.system:LlmMac"


def played(**params):
    """A small game after a few slots of chance."""
    env = make_vector_env(
        SYSTEM, 2, max_episode_steps=24, n_max=4, **{"population_sizes": (3,), **params}
    )
    env.reset(seed=3)
    env.action_space.seed(0)
    for _ in range(5):
        env.step(env.action_space.sample())
    return env


def test_ansi_prints_the_prompts_of_all_who_are_there():
    env = make_env(SYSTEM, n_max=4, population="fixed", num_users=2, render_mode="ansi")
    env.reset(seed=0)
    text = env.render()
    assert text.startswith("--- slot 0 ---")
    assert text.count("You are UE") == 2
    assert "You are BS, the base station of 2 devices" in text
    assert "Last slot: the channel was idle." in text
    assert "nothing schedule_request" in text
    assert (
        "transmit" not in text.partition("You are UE0")[2].partition("Answer")[2]
    )  # empty buffers


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_only_those_who_play_are_prompted(role):
    text = played(role=role).system.describe(played(role=role).rows.state, 0)
    assert ("You are BS" in text) is (role == "leader")
    assert ("You are UE" in text) is (role == "follower")


def test_prompts_say_what_the_state_holds():
    env = played()
    state, cell = env.rows.state, Cell(env.system)
    grant = torch.tensor([[[1, 0, 2, 0]]] * 2)
    for row in range(2):
        prompts = cell.ue_prompts(state, row, {BS: grant})
        assert sorted(prompts) == [0, 1, 2]
        for seat, word in {0: "schedule_grant", 1: "null", 2: "acknowledge"}.items():
            assert f"Buffer: {state.q[row, seat]}." in prompts[seat]
            assert f"Message from BS: {word}." in prompts[seat]
        assert f"UE1 said {cell.grammar.alphabet.ucm[state.u[row, 1]]}" in cell.bs_prompt(
            state, 0 or row
        )


def test_opaque_games_speak_in_symbols():
    env = played(opaque=True, num_ucm=4, num_dcm=6)
    text = env.system.describe(env.rows.state, 0)
    assert "Msg_#5" in text
    assert "schedule_grant" not in text


def test_garbage_never_stops_a_game_or_does_what_is_forbidden():
    """Random bytes from every speaker: each is a violation, and the slot is silent."""
    rng = random.Random(1)
    env = played(joint="dict")
    cell = Cell(env.system)
    for _ in range(10):
        state = env.rows.state
        said = {BS: torch.zeros(2, 1, 4).long(), UE: torch.zeros(2, 4).long()}
        for row in range(2):
            junk = rng.randbytes(20).decode("latin1")
            reading = cell.read_bs(junk, state, row)
            assert reading.violation
            said[BS][row, 0] = torch.tensor(reading.action)
            for seat in range(3):
                reading = cell.read_ue(rng.randbytes(20), state, row, seat, m=0)
                assert reading.violation
                said[UE][row, seat] = reading.action[0]
        *_, info = env.step({k: v.numpy() for k, v in said.items()})
        assert info["idle"].all()
        assert not info["invalid"].any()


def test_text_plays_the_golden_trace():
    """Dossier 1.3: 3, 4 and 0 in units of rho."""
    env = make_vector_env(
        SYSTEM, 1, max_episode_steps=3, n_max=2, population="fixed", num_users=2, tbler=0.0,
        arrival_prob=0.0, initial_queue=1, mode="team", joint="dict",
    )  # fmt: skip
    env.reset(seed=0)
    cell = Cell(env.system, on_invalid="raise")
    script = [
        ("BS: UE0 schedule_grant, UE1 null", "transmit null", "nothing schedule_request", 3),
        ("BS: UE0 acknowledge, UE1 schedule_grant", "delete null", "transmit null", 4),
        ("BS: UE0 null, UE1 acknowledge", "nothing null", "delete null", 0),
    ]
    for leader, first, second, reward in script:
        state = env.rows.state
        message = cell.read_bs(leader, state, 0).action
        moves = [
            cell.read_ue(f"UE{seat}: {words}", state, 0, seat, m=message[seat]).action[0]
            for seat, words in enumerate((first, second))
        ]
        action = {BS: torch.tensor([[message]]).numpy(), UE: torch.tensor([moves]).numpy()}
        _, paid, *_ = env.step(action)
        assert paid[0] / 1.5 == pytest.approx(reward)
    with pytest.raises(GrammarError):
        cell.read_bs("grant everybody", env.rows.state, 0)
