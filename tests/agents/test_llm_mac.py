"""Language models that play LLM-MAC by text: whole episodes, garbage, and the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llm_stub import Stub, said, serving

from sixgym.agents.llm.endpoint import Endpoint
from sixgym.agents.llm.mac import GrammarAdapter, MacAdapter, ScoringAdapter, choose
from sixgym.agents.llm.mac_rules import contention_free, contention_free_delayed
from sixgym.agents.llm.player import LlmPlayer
from sixgym.agents.llm.text_policy import EndpointLLM, GarbageLLM, MockLLM, TextPolicy
from sixgym.baselines.llm_mac import BASELINES
from sixgym.envs.core.errors import ConfigError, EndpointError, PolicyError
from sixgym.envs.core.make import make_vector_env
from sixgym.envs.core.rollout import Episodes, rollout, score_values
from sixgym.leaderboard.players import find_player

ID = "sixgym/LlmMac-v0"
SYSTEM = "sixgym.envs.llm_mac.system:LlmMac"
ADAPTERS: dict[str, type[MacAdapter]] = {"grammar": GrammarAdapter, "scoring": ScoringAdapter}
SEEDS = np.arange(6)


def play(
    adapter: str, model: TextPolicy, *, deterministic: bool = True, **params: Any
) -> tuple[Episodes, MacAdapter, dict[str, float]]:
    """A few episodes, and their scores."""
    env = make_vector_env(SYSTEM, len(SEEDS), **{"max_episode_steps": 24, **params})
    policy = ADAPTERS[adapter](env.system, model)
    episodes = rollout(env, policy, SEEDS, deterministic=deterministic)
    return episodes, policy, score_values(env.system.scores, episodes)


def reference(name: str, **params: Any) -> dict[str, float]:
    env = make_vector_env(SYSTEM, len(SEEDS), **{"max_episode_steps": 24, **params})
    return score_values(env.system.scores, rollout(env, BASELINES[name].make(env.system), SEEDS))


@cache
def plainly(adapter: str) -> dict[str, float]:
    """Scores of the protocol in the default game."""
    return play(adapter, MockLLM(contention_free))[2]


# -------------------------------------------------------------------------------------- protocols


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("timing", ["stackelberg", "delayed"])
def test_the_protocol_by_text_is_the_protocol(adapter: str, timing: str) -> None:
    """Both draw among those who ask, by other numbers: goodput agrees to a few per cent."""
    rule, name = (contention_free, "contention_free")
    if timing == "delayed":
        rule, name = contention_free_delayed, "contention_free_delayed"
    episodes, policy, scores = play(adapter, MockLLM(rule), timing=timing)
    expected = reference(name, timing=timing)
    assert scores["goodput"] == pytest.approx(expected["goodput"], rel=0.04)
    assert scores["collision_rate"] == 0.0
    assert (policy.tally.violations, policy.tally.invalid) == (0, 0)
    assert episodes.sums["invalid"].sum() == 0
    users = episodes.sums["users"].sum()
    speakers = users + 24 * len(SEEDS) if adapter == "grammar" else 2 * users
    assert policy.tally.utterances == speakers
    assert policy.tally.violations_per_1000 == 0.0


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(
    "params",
    [
        {"joint": "dict"},
        {"bs_action": "pointer"},
        {"bs_action": "pointer", "joint": "dict", "pag_level": 3},
        {"pag_level": 2},
        {"pag_level": 0, "privileged": True},
        {"pag_level": -1},
    ],
    ids=str,
)
def test_layouts_and_levels_do_not_change_a_protocol_that_keeps_to_them(
    adapter: str, params: dict[str, Any]
) -> None:
    plain = plainly(adapter)
    episodes, policy, scores = play(adapter, MockLLM(contention_free), **params)
    assert scores["goodput"] == pytest.approx(plain["goodput"])
    assert scores["jain"] == pytest.approx(plain["jain"])
    assert policy.tally.violations == 0
    assert episodes.sums["invalid"].sum() == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("role", ["leader", "follower"])
def test_one_side_plays_against_the_fixed_other(adapter: str, role: str) -> None:
    _, policy, scores = play(adapter, MockLLM(contention_free), role=role)
    assert scores["goodput"] == pytest.approx(reference("contention_free")["goodput"], rel=0.04)
    assert policy.tally.violations == 0


# ----------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("bs_action", ["multi", "pointer"])
@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_who_keeps_to_the_language_makes_no_illegal_move(
    adapter: str, bs_action: str, level: int
) -> None:
    """A model that picks anything of the language; level 0 allows sending from an empty buffer."""
    params = {"population": "birth_death", "p_join": 0.3, "p_leave": 0.3, "n_max": 5, "n_hi": 5}
    episodes, policy, _ = play(
        adapter, MockLLM(), pag_level=level, bs_action=bs_action, buffer_size=2, **params
    )
    assert policy.tally.violations == 0
    if adapter == "grammar":
        assert policy.tally.invalid == 0
    assert bool(episodes.sums["invalid"].sum() > 0) is (level == 0)
    assert episodes.sums["grants"].sum() > 0


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("level", [-1, 0, 1, 2, 3])
def test_garbage_never_stops_an_episode_or_moves_illegally(adapter: str, level: int) -> None:
    params = {"pag_level": level, "population": "birth_death", "p_join": 0.2, "p_leave": 0.2}
    for timing in ("stackelberg", "delayed"):
        episodes, policy, _ = play(adapter, GarbageLLM(level), timing=timing, **params)
        assert (episodes.length == 24).all()
        assert 200 < policy.tally.violations_per_1000 < 1000
        if level > 0:
            assert episodes.sums["invalid"].sum() == 0


class Deaf:
    """Says the same whatever it is asked."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def generate(self, prompts: list[str], grammars: list[str]) -> list[Any]:
        return [self.said] * len(prompts)

    def score(self, prompts: list[str], candidates: list[list[str]]) -> list[Any]:
        return [self.said] * len(prompts)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("bs_action", ["multi", "pointer"])
def test_what_is_no_utterance_is_silence(adapter: str, bs_action: str) -> None:
    episodes, policy, scores = play(adapter, Deaf(None), bs_action=bs_action)
    assert scores["idle_rate"] == 1.0
    assert scores["signalling"] == 0.0
    assert policy.tally.violations == policy.tally.utterances > 0
    assert policy.tally.violations_per_1000 == 1000.0
    assert episodes.sums["invalid"].sum() == 0


def test_two_grants_are_one_where_the_base_station_points() -> None:
    twice = Deaf("BS: UE0 schedule_grant, UE1 schedule_grant")
    params = {"population": "fixed", "num_users": 2, "max_episode_steps": 2}
    episodes, policy, _ = play("grammar", twice, bs_action="pointer", **params)
    assert policy.tally.invalid == 2 * len(SEEDS)
    assert (episodes.sums["grants"] == 2).all()
    episodes, policy, _ = play("grammar", twice, **params)
    assert policy.tally.invalid == 0
    assert (episodes.sums["grants"] == 4).all()


def test_who_answers_too_little_is_at_fault() -> None:
    class Short(Deaf):
        def generate(self, prompts: list[str], grammars: list[str]) -> list[Any]:
            return []

    with pytest.raises(PolicyError, match="policy llm: 0 answers to 6 prompts; allowed: one each"):
        play("grammar", Short(None))


def test_users_are_told_the_message_of_their_slot() -> None:
    heard: list[str] = []

    class Granting(Deaf):
        def generate(self, prompts: list[str], grammars: list[str]) -> list[Any]:
            heard.extend(p for p in prompts if p.startswith("You are UE"))
            return ["BS: UE0 schedule_grant" if "BS" in p[:12] else "" for p in prompts]

    params = {"population": "fixed", "num_users": 1, "max_episode_steps": 2}
    play("grammar", Granting(""), **params)
    assert len(heard) == 2 * len(SEEDS)
    assert all("Message from BS: schedule_grant." in prompt for prompt in heard)
    heard.clear()
    play("grammar", Granting(""), timing="delayed", **params)
    told = ["Message from BS: schedule_grant." in prompt for prompt in heard]
    assert told == [False] * len(SEEDS) + [True] * len(SEEDS)


def test_grammars_name_the_seats_that_are_taken_and_what_they_may_do() -> None:
    asked: dict[str, str] = {}

    class Listening(Deaf):
        def generate(self, prompts: list[str], grammars: list[str]) -> list[Any]:
            asked.update(zip(prompts, grammars, strict=True))
            return [""] * len(prompts)

    play("grammar", Listening(""), population="fixed", num_users=2, arrival_prob=0.0)
    leader = next(g for p, g in asked.items() if p.startswith("You are BS"))
    assert '"UE0"' in leader
    assert '"UE1"' in leader
    assert '"UE2"' not in leader
    user = next(g for p, g in asked.items() if p.startswith("You are UE1"))
    assert user.startswith('start: "UE1" ":" s0')
    assert "transmit" not in user  # an empty buffer
    asked.clear()
    play("grammar", Listening(""), pag_level=-1)
    assert set(asked.values()) == {""}


def test_adapters_must_be_attached_and_know_their_system() -> None:
    env = make_vector_env(SYSTEM, 2, max_episode_steps=24)
    observation, _ = env.reset(seed=0)
    with pytest.raises(
        PolicyError, match=r"policy llm: is told what the cell holds; attach\(env\)"
    ):
        GrammarAdapter(env.system, MockLLM()).predict(observation)
    other = make_vector_env("sixgym.envs.ris_noma:RisNomaSelect", 2)
    with pytest.raises(PolicyError, match="allowed: the system of sixgym/LlmMac-v0"):
        GrammarAdapter(other.system, MockLLM())


def test_rows_that_have_ended_are_not_asked() -> None:
    """With finite traffic episodes end at different times; an ended row only restarts."""
    params = {"traffic": "finite", "packets": 1, "population": "fixed", "num_users": 1}
    episodes, policy, _ = play("grammar", MockLLM(contention_free), **params)
    assert episodes.terminated.all()
    assert policy.tally.utterances < 2 * len(SEEDS) * episodes.length.max()


# ---------------------------------------------------------------------------------------- scores


def test_scores_choose_or_are_drawn_from() -> None:
    scores = np.log([0.2, 0.5, 0.3])
    assert choose(scores, 3, None) == 1
    drawn = [choose(scores, 3, (k + 0.5) / 100) for k in range(100)]
    assert [drawn.count(k) for k in range(3)] == [20, 50, 30]
    assert choose([0.0, -np.inf], 2, 0.999999) == 0
    for bad in ([np.nan, 0.0], [-np.inf] * 2, [np.inf, 0.0], [0.0], [[0.0, 1.0]], "ab", None, []):
        assert choose(bad, 2, None) is None


def test_drawn_candidates_are_the_same_for_the_same_seeds() -> None:
    class Even(Deaf):
        def score(self, prompts: list[str], candidates: list[list[str]]) -> list[Any]:
            return [np.zeros(len(texts)) for texts in candidates]

    first, _, _ = play("scoring", Even(0), deterministic=False)
    again, _, _ = play("scoring", Even(0), deterministic=False)
    best, _, _ = play("scoring", Even(0))
    np.testing.assert_array_equal(first.reward, again.reward)
    assert (first.sums["grants"] > 0).all()
    assert (best.sums["grants"] == 0).all()  # the first of equals is silence


# ------------------------------------------------------------------------------------- over HTTP


def protocol(body: dict[str, Any]) -> Any:
    return said(contention_free(body["messages"][0]["content"]))


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(protocol) as running:
        yield running


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_model_behind_a_server_plays_as_one_without(stub: Stub, adapter: str) -> None:
    model = EndpointLLM(Endpoint(stub.settings()))
    small = {"population": "fixed", "num_users": 2, "max_episode_steps": 6}
    over_http, policy, _ = play(adapter, model, **small)
    without, _, _ = play(adapter, MockLLM(contention_free), **small)
    np.testing.assert_array_equal(over_http.reward, without.reward)
    assert policy.tally.violations == 0
    assert model.endpoint.usage.calls == len(stub.bodies) < policy.tally.utterances


def write(folder: Path, stub: Stub, **changes: Any) -> Path:
    endpoint = f"  base_url: http://127.0.0.1:{stub.port}/v1\n  model: stub\n"
    lines = "".join(f"{key}: {value}\n" for key, value in changes.items())
    path = folder / "mine.yaml"
    path.write_text(f"{lines}endpoint:\n{endpoint}  api_key_env: STUB_KEY\n")
    return path


def test_the_command_line_plays_a_file(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sixgym.cli.main import main

    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("STUB_KEY", key)
    path = write(tmp_path, stub, adapter="grammar")
    words = ["evaluate", ID, "--policy", f"llm:{path}", "--episodes", "2", "--json"]
    words += ["--set", "population=fixed", "--set", "num_users=2", "--set", "max_episode_steps=4"]
    monkeypatch.setattr(sys, "argv", ["sixgym", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    out, err = capsys.readouterr()
    summary = json.loads(out)
    assert (summary["policy"], summary["sees"]) == ("mine", "observation")
    assert "mine: 24 utterances, 0.0 violations per 1000, 0 invalid; " in err
    assert "constraint: none" in err
    assert "Authorization" in stub.headers[0]
    assert key not in out + err


def test_a_player_is_told_by_its_card_without_address_or_key(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_KEY", "sk-very-secret")
    player = find_player(ID, f"llm:{write(tmp_path, stub, adapter='scoring', scoring='logprobs')}")
    card = player.card.model_dump_json()
    assert "Language model stub, scoring adapter." in card
    assert "127.0.0.1" not in card
    assert "sk-very" not in card
    assert player.report is not None
    assert player.report() == ""
    env = make_vector_env(SYSTEM, 1)
    policy = player.members[0].make(env.system)
    assert isinstance(policy, ScoringAdapter)
    assert policy.name == "mine"
    monkeypatch.delenv("STUB_KEY")
    with pytest.raises(EndpointError, match="api_key_env='STUB_KEY': not set"):
        player.members[0].make(env.system)


def test_mistakes_in_a_file_are_one_line(stub: Stub, tmp_path: Path) -> None:
    cases = {
        "adapter: oracle\n": "adapter='oracle': allowed: 'grammar' or 'scoring'; endpoint: missing",
        "adapter: [\n": "not YAML",
        "- 1\n": "content: allowed",
        "endpoint: {base_url: 'http://h/v1', model: m, api_key: sk-1}\n": "name the environment",
    }
    for text, message in cases.items():
        path = tmp_path / "bad.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.yaml.*" + message) as caught:
            find_player(ID, f"llm:{path}")
        assert "\n" not in str(caught.value)
        assert "sk-1" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"No such file or directory; allowed: llm:FILE\.yaml"):
        find_player(ID, f"llm:{tmp_path / 'none.yaml'}")
    with pytest.raises(
        PolicyError, match="does not play sixgym/RisNoma-v0; allowed: sixgym/LlmMac"
    ):
        find_player("sixgym/RisNoma-v0", f"llm:{path}")


def test_the_example_of_the_docstring_is_valid(tmp_path: Path) -> None:
    from sixgym.agents.llm import player

    lines = (player.__doc__ or "").splitlines()
    block = [line.removeprefix("    ") for line in lines if line.startswith("    ")]
    path = tmp_path / "example.yaml"
    path.write_text("\n".join(block))
    settings = LlmPlayer.load(str(path)).settings
    assert settings.adapter == "grammar"
    assert settings.endpoint.prompt_price == 1e-7


def test_players_do_not_import_the_client_unless_asked() -> None:
    code = "import sys, sixgym.leaderboard.players as p; p.find_player('sixgym/LlmMac-v0', 'aloha')"
    code += "; print([m for m in ('httpx', 'sixgym.agents.llm') if m in sys.modules])"
    code = "import sixgym; " + code
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
