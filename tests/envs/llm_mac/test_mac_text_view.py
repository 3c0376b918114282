"""Agents by name that read prompts and answer with utterances (dossier 2.5, 3.6)."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

from sixgym.envs.core.errors import ActionError, OptionsError, ParamsError, StateError
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.llm_mac.grammar import Grammar, GrammarError
from sixgym.envs.llm_mac.text import grammar_of
from sixgym.envs.llm_mac.text_view import TextAECEnv, TextParallelEnv, text_env, text_parallel_env

ID = "sixgym/LlmMac-v0"
TIMINGS = ["stackelberg", "delayed"]
STORMY: dict[str, Any] = {
    "population": "birth_death", "p_join": 0.4, "p_leave": 0.4, "n_lo": 1, "n_hi": 4,
    "n_max": 5, "max_agents": 40,
}  # fmt: skip
PAIR: dict[str, Any] = {"n_max": 2, "population": "fixed", "num_users": 2}
GOLDEN: dict[str, Any] = {
    **PAIR, "tbler": 0.0, "arrival_prob": 0.0, "initial_queue": 1, "mode": "team",
    "max_episode_steps": 3,
}  # fmt: skip
SCRIPT = [
    ("BS: UE0 schedule_grant, UE1 null", "transmit null", "nothing schedule_request", 3.0),
    ("BS: UE0 acknowledge, UE1 schedule_grant", "delete null", "transmit null", 4.0),
    ("BS: UE0 null, UE1 acknowledge", "nothing null", "delete null", 0.0),
]
"""Dossier 1.3, in units of rho."""
RHO = 1.5


def speakers(view: TextParallelEnv) -> list[str]:
    return view.table.movers()


def words(grammar: Grammar, view: Any, agent: str, chance: random.Random) -> tuple[str, Any]:
    """A random move of the grammar as it is spoken, and as the integer view takes it."""
    seat = view.table.seats[agent]
    here = view.table.rows.state.here[0].tolist()
    if seat.group.name == "bs":
        codes = [chance.randrange(len(grammar.alphabet.dcm)) * taken for taken in here]
        return grammar.print_bs(codes, here), np.array(codes)
    move = chance.randrange(3 * len(grammar.alphabet.ucm))
    return grammar.print_ue(seat.place, move), np.array(move)


# --------------------------------------------------------------------------------- PettingZoo


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("timing", TIMINGS)
def test_pettingzoos_test_passes_although_its_samples_are_violations(
    timing: str, fixed: bool
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "No agents present")  # nobody has to use up the names
        parallel_api_test(text_parallel_env(timing=timing, fixed_agents=fixed, **STORMY), 200)


@pytest.mark.parametrize("params", [STORMY, {"preset": "llm4mac", "n_max": 12}, {"opaque": True}])
def test_every_prompt_and_utterance_is_in_its_space(params: dict[str, Any]) -> None:
    view = text_parallel_env(**params)
    grammar, chance = grammar_of(view.game.params), random.Random(0)
    prompts, _ = view.reset(seed=3)
    while view.agents:
        for agent, prompt in prompts.items():
            assert view.observation_space(agent).contains(prompt)
        said = {a: words(grammar, view, a, chance)[0] for a in speakers(view)}
        assert all(view.action_space(agent).contains(text) for agent, text in said.items())
        prompts, *_ = view.step(said)


def test_the_fullest_cell_fits_the_spaces() -> None:
    """Every seat taken, two-digit names, full buffers, the longest words."""
    view = text_parallel_env(
        n_max=12, population="fixed", num_users=12, traffic="saturated", buffer_size=1000,
        max_episode_steps=2,
    )  # fmt: skip
    view.reset(seed=0)
    shout = "BS: " + ", ".join(f"UE{i} schedule_grant" for i in range(12))
    view.step({"bs_0": shout})
    says = {f"ue_{i}": f"UE{i}: transmit schedule_request" for i in range(12)}
    prompts, *_ = view.step(says)
    for agent in ("bs_0", "ue_11"):
        assert view.observation_space(agent).contains(prompts[agent])
        assert len(prompts[agent]) == view.observation_space(agent).max_length
    assert len(shout) == view.action_space("bs_0").max_length
    assert len(says["ue_11"]) == view.action_space("ue_11").max_length


# --------------------------------------------------------------------------------- what is said


def test_the_golden_trace_in_words() -> None:
    """Dossier 1.3: 3, 4 and 0, in all 7 rho, for everybody."""
    view = text_parallel_env(on_invalid="raise", **GOLDEN)
    prompts, _ = view.reset(seed=0)
    total = dict.fromkeys(view.agents, 0.0)
    for leader, first, second, reward in SCRIPT:
        prompts, paid, *_ = view.step({"bs_0": leader})
        assert set(paid.values()) == {0.0}
        heard = dict(part.split(" ") for part in leader.removeprefix("BS: ").split(", "))
        for seat in range(2):
            assert f"Message from BS: {heard[f'UE{seat}']}." in prompts[f"ue_{seat}"]
        prompts, paid, _, _, infos = view.step({"ue_0": f"UE0: {first}", "ue_1": f"UE1: {second}"})
        assert paid["bs_0"] / RHO == pytest.approx(reward)
        assert not any(info["pag_violation"] or info["invalid"] for info in infos.values())
        total = {agent: total[agent] + paid[agent] for agent in total}
    assert not view.agents
    assert {agent: pay / RHO for agent, pay in total.items()} == pytest.approx(
        {"bs_0": 7.0, "ue_0": 7.0, "ue_1": 7.0}
    )


@pytest.mark.parametrize("level", [-1, 0, 1, 2, 3])
@pytest.mark.parametrize("timing", TIMINGS)
def test_the_same_moves_are_the_same_trajectory_as_in_integers(timing: str, level: int) -> None:
    """Users come and go; forbidden moves among them, of which each agent's own count is told."""
    params = {**STORMY, "timing": timing, "pag_level": level}
    spoken, silent = text_parallel_env(**params), parallel_env(ID, **params)
    grammar, chance = grammar_of(spoken.game.params), random.Random(level)
    spoken.reset(seed=5)
    silent.reset(seed=5)
    counted, forbidden = 0, 0
    while silent.agents:
        both = {a: words(grammar, spoken, a, chance) for a in speakers(spoken)}
        said = spoken.step({a: text for a, (text, _) in both.items()})
        told = silent.step({a: move for a, (_, move) in both.items()})
        assert said[1:4] == told[1:4]
        assert spoken.agents == silent.agents
        counted += sum(info["invalid"] for info in said[4].values())
        forbidden += int(next(iter(told[4].values()))["invalid"])
        if spoken.table.turn == 0:
            assert counted == forbidden
        for agent, info in told[4].items():
            mine = dict(said[4][agent])
            assert mine.pop("pag_violation") == 0
            assert {**mine, "invalid": info["invalid"]} == info
    assert forbidden > 0, "empty buffers are forbidden to act on at every level"


@pytest.mark.parametrize("timing", TIMINGS)
def test_in_turns_it_is_the_same_story(timing: str) -> None:
    params = {**STORMY, "timing": timing, "c_pag": 0.25}
    many, turns = text_parallel_env(**params), text_env(**params)
    grammar, chance = grammar_of(many.game.params), random.Random(1)
    many.reset(seed=2)
    turns.reset(seed=2)
    while many.agents:
        said: dict[str, str] = {}
        for _ in many.game.turns:
            now = {a: words(grammar, many, a, chance)[0] for a in speakers(many)}
            now = {a: text if chance.random() < 0.8 else "?" for a, text in now.items()}
            prompts, paid, *ends, _ = many.step(now)
            said |= now
        while any(turns.terminations.values()):
            turns.step(None)
        for agent in list(turns.table.seats):
            assert turns.agent_selection == agent
            turns.step(said[agent])
        assert {a: turns.observe(a) for a in turns.agents} == prompts
        assert turns.rewards == paid
        assert [turns.terminations, turns.truncations] == ends
        for agent, text in said.items():
            assert turns.infos[agent]["pag_violation"] == (text == "?")


def test_an_agent_in_turn_is_told_of_its_latest_utterance() -> None:
    view = text_env(c_pag=0.5, **GOLDEN)
    view.reset(seed=0)
    assert isinstance(view, TextAECEnv)
    for text in ("please send", "UE0: transmit null", "UE1: nothing null"):
        view.step(text)
    _, reward, _, _, info = view.last()
    assert view.agent_selection == "bs_0"
    assert reward == pytest.approx(3.0 * RHO - 0.5)
    assert info["pag_violation"] == 1


# ------------------------------------------------------------------------------------- garbage


@pytest.mark.parametrize("timing", TIMINGS)
def test_garbage_is_silence_and_costs_exactly_what_was_said(timing: str) -> None:
    """The same world twice, at 0 and at 0.75 a violation: the pay differs by that, exactly."""
    params = {**STORMY, "timing": timing, "max_episode_steps": 24}
    free, dear = (text_parallel_env(c_pag=c, **params) for c in (0.0, 0.75))
    chance = random.Random(3)
    junk = ["", "null", "UE0: transmit", "BS UE0", "\x00é", b"UE0:", None, 3, "x" * 9999]
    free.reset(seed=9)
    dear.reset(seed=9)
    slots = 0
    while free.agents:
        there, here = set(free.agents), set(speakers(free))
        now: dict[str, Any] = {agent: chance.choice(junk) for agent in here}
        cheap, costly = free.step(now), dear.step(now)
        assert cheap[0] == costly[0]
        ends = free.table.turn == 0
        slots += ends
        for agent, info in costly[4].items():
            assert info["pag_violation"] == (agent in here)
            assert info["invalid"] == 0
            assert not ends or info["idle"] == 1.0
            cost = 0.75 if ends and agent in there else 0.0
            assert costly[1][agent] == cheap[1][agent] - cost
    assert slots == 24
    assert not dear.agents


def test_only_who_violates_pays() -> None:
    view = text_parallel_env(c_pag=2.0, **GOLDEN)
    view.reset(seed=0)
    *_, infos = view.step({"bs_0": "BS: UE0 schedule_grant, UE1 null"})
    assert [infos[a]["pag_violation"] for a in ("bs_0", "ue_0", "ue_1")] == [0, 0, 0]
    _, paid, _, _, infos = view.step({"ue_0": "UE0: transmit null", "ue_1": "UE0: transmit null"})
    assert [infos[a]["pag_violation"] for a in ("bs_0", "ue_0", "ue_1")] == [0, 0, 1]
    assert paid == pytest.approx({"bs_0": 4.5, "ue_0": 4.5, "ue_1": 2.5})


def test_a_violation_of_the_base_station_is_told_at_once_and_paid_with_the_slot() -> None:
    view = text_parallel_env(c_pag=1.0, **GOLDEN)
    view.reset(seed=0)
    prompts, paid, _, _, infos = view.step({"bs_0": "grant UE0"})
    assert infos["bs_0"]["pag_violation"] == 1
    assert paid["bs_0"] == 0.0
    assert "Message from BS: null." in prompts["ue_0"]
    _, paid, _, _, infos = view.step({"ue_0": "UE0: nothing null", "ue_1": "UE1: nothing null"})
    assert infos["bs_0"]["pag_violation"] == 0, "it has said nothing in this call"
    assert paid == pytest.approx({"bs_0": -RHO - 1.0, "ue_0": -RHO, "ue_1": -RHO})


def test_forbidden_parts_are_silenced_counted_and_free() -> None:
    """3.6: of two grants at level 2 the second becomes null; an empty buffer keeps the request."""
    view = text_parallel_env(c_pag=5.0, pag_level=2, **{**GOLDEN, "initial_queue": 0})
    view.reset(seed=0)
    *_, infos = view.step({"bs_0": "BS: UE0 schedule_grant, UE1 schedule_grant"})
    assert (infos["bs_0"]["invalid"], infos["bs_0"]["pag_violation"]) == (1, 0)
    said = {"ue_0": "UE0: transmit schedule_request", "ue_1": "UE1: nothing null"}
    prompts, paid, _, _, infos = view.step(said)
    assert [infos[f"ue_{i}"]["invalid"] for i in range(2)] == [1, 0]
    assert "UE0 said schedule_request, was told schedule_grant." in prompts["bs_0"]
    assert "UE1 said null, was told null." in prompts["bs_0"]
    assert paid["ue_0"] == pytest.approx(-RHO)


def test_errors_if_wanted_leave_the_game_as_it_was() -> None:
    view = text_parallel_env(on_invalid="raise", **GOLDEN)
    view.reset(seed=0)
    with pytest.raises(GrammarError, match="no parse"):
        view.step({"bs_0": "hello"})
    assert view.table.turn == 0
    view.step({"bs_0": SCRIPT[0][0]})
    with pytest.raises(GrammarError, match="its own row"):
        view.step({"ue_0": "UE0: transmit null", "ue_1": "UE0: nothing null"})
    _, paid, *_ = view.step({"ue_0": "UE0: transmit null", "ue_1": "UE1: nothing null"})
    assert paid["bs_0"] == pytest.approx(3.0 * RHO)


def test_lenient_listeners_take_who_is_not_mentioned_as_told_null() -> None:
    for lenient in (False, True):
        view = text_parallel_env(lenient=lenient, **GOLDEN)
        view.reset(seed=0)
        prompts, *_, infos = view.step({"bs_0": "BS: UE1 schedule_grant"})
        assert infos["bs_0"]["pag_violation"] == (not lenient)
        assert ("Message from BS: schedule_grant." in prompts["ue_1"]) is lenient


def test_nobody_reads_or_speaks_on_an_empty_seat() -> None:
    view = text_parallel_env(fixed_agents=True, c_pag=1.0, n_max=3, population_sizes=(2,))
    prompts, infos = view.reset(seed=0)
    assert prompts["ue_2"] == ""
    assert infos["ue_2"]["active"] is False
    view.step({"bs_0": "BS: UE0 null, UE1 null"})
    _, paid, _, _, infos = view.step({f"ue_{i}": "?" for i in range(3)})
    assert [infos[f"ue_{i}"]["pag_violation"] for i in range(3)] == [1, 1, 0]
    assert paid["ue_2"] == 0.0


def test_one_side_alone_speaks_with_a_fixed_partner() -> None:
    users = text_parallel_env(role="follower", **GOLDEN)
    prompts, _ = users.reset(seed=0)
    assert sorted(prompts) == ["ue_0", "ue_1"]
    leader = text_parallel_env(role="leader", **GOLDEN)
    prompts, _ = leader.reset(seed=0)
    assert list(prompts) == ["bs_0"]
    *_, infos = leader.step({"bs_0": SCRIPT[0][0]})
    assert infos["bs_0"]["grants"] == 1.0


def test_wrong_options_and_steps_are_refused() -> None:
    with pytest.raises(OptionsError, match=r"c_pag=-1.0: allowed: a finite number, at least 0"):
        text_parallel_env(c_pag=-1.0)
    with pytest.raises(OptionsError, match="bs_action='pointer': allowed in words: 'multi'"):
        text_parallel_env(bs_action="pointer")
    with pytest.raises(OptionsError, match="on_invalid='ignore'"):
        text_parallel_env(on_invalid="ignore")
    with pytest.raises(ParamsError, match="c_pagg"):
        text_parallel_env(c_pagg=1.0)
    view = text_parallel_env(**GOLDEN)
    with pytest.raises(StateError, match="call reset"):
        view.step({"bs_0": "BS:"})
    view.reset(seed=0)
    with pytest.raises(ActionError, match="bs_0 is missing"):
        view.step({})
