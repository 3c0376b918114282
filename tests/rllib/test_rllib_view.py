"""The RLlib view: every id passes RLlib's own checks and runners, tells the same story, trains.

RLlib pins a version of Gymnasium, so these tests run in an environment of their own
(`make test-rllib`) and are skipped elsewhere.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip(
    "ray.rllib", reason="ray[rllib] is not installed: make test-rllib", exc_type=ImportError
)


import ray
from gymnasium.utils.env_checker import check_env
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
from ray.rllib.utils.pre_checks.env import check_multiagent_environments
from toy_games import Crowd, Grant
from toy_systems import Counter, Gate, Tank

import sixgym.rllib
from sixgym.envs.core import registry
from sixgym.envs.core.errors import (
    ActionError,
    OptionsError,
    ParamsError,
    StateError,
    UnknownIdError,
)
from sixgym.envs.core.libraries import support
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.core.worlds import FIRST, row_seed

pytestmark = pytest.mark.filterwarnings("ignore:.*rllib-.*-env-v0 already in registry")

GAMES = [entry.id for entry in sixgym.entries() if entry.is_game]
SINGLE = [entry.id for entry in sixgym.entries() if not entry.is_game]
ONE_CONTROLLER = [*SINGLE, *(sixgym.rllib.JOINT + id for id in GAMES)]
SHORT = {"max_episode_steps": 6}
MODES = ("sync", "vector_entry_point")


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    kept = dict(registry._ENTRIES)
    registry.register("toy/Counter-v0", Counter, max_episode_steps=6)
    registry.register("toy/Gate-v0", Gate, max_episode_steps=6)
    registry.register("toy/Tank-v0", Tank, max_episode_steps=6)
    for game in (Crowd, Grant):
        registry.register(f"toy/{game.__name__}-v0", game, max_episode_steps=8, is_game=True)
    sixgym.rllib.register()
    yield
    registry._ENTRIES.clear()
    registry._ENTRIES.update(kept)


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    ray.init(num_cpus=1, include_dashboard=False, configure_logging=False, log_to_driver=False)
    yield
    ray.shutdown()


def group(agent: str, *_: Any, **__: Any) -> str:
    """The policy of an agent: one for each group."""
    return agent.rpartition("_")[0]


def config(name: str, rows: int = 2, mode: str = "sync", **env_config: Any) -> PPOConfig:
    chosen = PPOConfig().environment(name, env_config={**SHORT, **env_config})
    chosen = chosen.env_runners(
        num_env_runners=0, num_envs_per_env_runner=rows, gym_env_vectorize_mode=mode
    ).debugging(seed=3)
    if name in GAMES or name in ("toy/Crowd-v0", "toy/Grant-v0"):
        agents = sixgym.rllib.creator(name)({}).possible_agents
        chosen = chosen.multi_agent(policies={*map(group, agents)}, policy_mapping_fn=group)
    return chosen.training(train_batch_size_per_learner=96, minibatch_size=48, num_epochs=1)


def make(name: str, **env_config: Any) -> Any:
    return sixgym.rllib.creator(name)(env_config)


# ----------------------------------------------------------------------------- RLlib's own checks


@pytest.mark.parametrize("id", [*GAMES, "toy/Crowd-v0", "toy/Grant-v0"])
@pytest.mark.parametrize("action_mask", [False, True])
def test_rllibs_check_of_a_game_passes(id: str, action_mask: bool) -> None:
    check_multiagent_environments(make(id, action_mask=action_mask))


@pytest.mark.parametrize("id", [*GAMES, "toy/Crowd-v0", "toy/Grant-v0"])
def test_rllibs_runner_plays_a_game_with_its_default_models(id: str) -> None:
    runner = MultiAgentEnvRunner(config=config(id), worker_index=0)
    episodes = runner.sample(num_timesteps=60)
    assert sum(len(e) for e in episodes) >= 60
    assert any(e.is_done for e in episodes)
    for episode in episodes:
        episode.validate()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ONE_CONTROLLER)
def test_rllibs_runner_plays_one_controller_with_its_default_models(name: str, mode: str) -> None:
    """Both ways of making rows tell the same, but for the policy's own draws."""
    runner = SingleAgentEnvRunner(config=config(name, mode=mode), worker_index=0)
    episodes = runner.sample(num_timesteps=30)
    assert any(e.is_done for e in episodes)
    for episode in episodes:
        assert np.isfinite(episode.get_return())
        for seen in episode.get_observations():
            assert runner.env.single_observation_space.contains(seen)


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped")  # a wrapper, it is
@pytest.mark.parametrize("id", SINGLE)
def test_gymnasiums_check_passes(id: str) -> None:
    check_env(make(id), skip_render_check=True)


# ------------------------------------------------------------------------------------- the story


def test_rows_in_one_batch_are_the_single_environments() -> None:
    batch = make("sixgym/NetGptBatch-v0", num_envs=3)
    seen, _ = batch.reset(seed=5)
    first = row_seed("train", 5)
    singles = [gym.make("sixgym/NetGptBatch-v0") for _ in range(3)]
    for i, env in enumerate(singles):
        want = gym.spaces.flatten(env.observation_space, env.reset(seed=first + i)[0])
        assert np.allclose(seen[i], want, rtol=1e-5, atol=1e-6)  # as batches of two sizes agree
    batch.action_space.seed(0)
    for _ in range(4):
        actions = batch.action_space.sample()
        seen, rewards, *_ = batch.step(actions)
        for i, env in enumerate(singles):
            want, reward, *_ = env.step(actions[i])
            want = gym.spaces.flatten(env.observation_space, want)
            assert np.allclose(seen[i], want, rtol=1e-5, atol=1e-6)
            assert rewards[i] == pytest.approx(reward, rel=1e-6)


@pytest.mark.parametrize("id", [*GAMES, "toy/Crowd-v0", "toy/Grant-v0"])
def test_a_game_tells_what_pettingzoos_view_tells(id: str) -> None:
    """Of who moves next and of who has gone, to the bit; over leaving, joining, ends and turns."""
    limit = {"max_episode_steps": 12}
    view, theirs = make(id, **limit), parallel_env(id, **limit)
    for episode in range(3):
        seed = 4 if episode == 0 else None
        seen, _ = view.reset(seed=seed)
        want, _ = theirs.reset(seed=None if seed is None else row_seed("train", seed))
        space = view.action_space
        space.seed(episode)
        while theirs.agents:
            assert seen.keys() <= want.keys()
            for agent, observation in seen.items():
                assert view.get_observation_space(agent).contains(observation)
                shown = want[agent]
                plain = shown["observation"] if isinstance(shown, dict) else shown
                assert np.array_equal(observation, plain.ravel())
            moves = {a: space[a].sample() for a in seen if a in theirs.agents}
            seen, paid, terminated, truncated, infos = view.step(moves)
            want, rewards, left, late, told = theirs.step(moves)
            assert {a: r for a, r in rewards.items() if a in paid} == paid
            assert all(r == 0.0 for a, r in rewards.items() if a not in paid)
            assert {a for a, is_out in left.items() if is_out} == {
                a for a, is_out in terminated.items() if is_out and a != "__all__"
            }
            assert truncated == {"__all__": any(late.values())}
            assert terminated["__all__"] == (not theirs.agents and not any(late.values()))
            assert {a for a, is_out in (left | late).items() if is_out} <= seen.keys()
            assert all(infos[a]["turn"] == told[a]["turn"] for a in infos)
        with pytest.raises(StateError, match="call reset"):
            view.step({})


def test_agents_have_an_observation_when_it_is_their_turn() -> None:
    env = make("toy/Grant-v0")
    seen, _ = env.reset(seed=1)
    assert set(seen) == {"bs_0"}
    seen, paid, *_ = env.step({"bs_0": np.array([1, 0])})
    assert set(seen) == {"ue_0", "ue_1"}
    assert paid == {}
    assert seen["ue_0"][1] == 1.0  # it hears the grant
    with pytest.raises(ActionError, match="ue_1 is missing"):
        env.step({"ue_0": 1})
    _, paid, *_ = env.step({"ue_0": 1, "ue_1": 0})
    assert set(paid) == {"bs_0", "ue_0", "ue_1"}


def test_a_time_limit_is_no_termination_to_rllib() -> None:
    """RLlib would forget the value of the last state if every agent were flagged by itself."""
    runner = MultiAgentEnvRunner(config=config("sixgym/EventOffloadMulti-v0"), worker_index=0)
    done = [e for e in runner.sample(num_timesteps=40) if e.is_done]
    assert done
    for episode in done:
        assert (episode.is_truncated, episode.is_terminated, len(episode)) == (True, False, 6)
        for agent in episode.agent_episodes.values():
            assert (agent.is_truncated, agent.is_terminated) == (True, False)


def test_who_leaves_is_terminated_and_who_joins_has_an_episode_of_its_own() -> None:
    runner = MultiAgentEnvRunner(
        config=config("toy/Crowd-v0", max_episode_steps=30), worker_index=0
    )
    episodes = runner.sample(num_timesteps=120, random_actions=True)
    gone = [a for e in episodes for a in e.agent_episodes.values() if a.is_terminated]
    assert len(gone) >= 10
    late = [a for e in episodes for a in e.env_t_to_agent_t if int(a.rpartition("_")[2]) >= 3]
    assert late
    assert any(e.is_truncated for e in episodes)


def test_runners_of_one_training_share_no_rows_and_stay_out_of_evaluations() -> None:
    """RLlib adds the number of a runner to its seed; rows of a batch are then a block away."""
    batches = [make("toy/Counter-v0", num_envs=64) for _ in range(2)]
    for seed, env in enumerate(batches):
        env.reset(seed=seed)
    rows = [set(env.env.rows.seed.tolist()) for env in batches]
    assert rows[0].isdisjoint(rows[1])
    assert FIRST["train"] <= min(rows[0]) <= max(rows[1]) < FIRST["tuning"]
    runners = []
    for worker in (1, 2):
        runner = SingleAgentEnvRunner(config=config("toy/Counter-v0", rows=3), worker_index=worker)
        runner.sample(num_timesteps=3)
        envs = runner.env.unwrapped.envs
        runners.append({int(env.unwrapped.rows.seed[0]) for env in envs})
    assert len(runners[0] | runners[1]) == 6


# ----------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("rows", [None, 4])
def test_masks_stand_beside_observations_where_asked(rows: int | None) -> None:
    more = {} if rows is None else {"num_envs": rows}
    env = make("toy/Gate-v0", action_mask=True, **more)
    plain = make("toy/Gate-v0", **more)
    seen, _ = env.reset(seed=0)
    without, _ = plain.reset(seed=0)
    assert env.observation_space.contains(seen)
    assert np.array_equal(seen["observations"], without)
    masks = env.env.action_masks() if rows else env.env.unwrapped.action_masks()
    assert np.array_equal(seen["action_mask"], masks)
    assert not masks.all()


def test_masks_of_agents_follow_their_groups() -> None:
    env = make("toy/Grant-v0", action_mask=True)
    seen, _ = env.reset(seed=2)
    assert seen["bs_0"]["action_mask"].shape == (4,)  # two choices for each of two users
    wants = seen["bs_0"]["observations"][:2]
    assert seen["bs_0"]["action_mask"].tolist() == [1.0, wants[0], 1.0, wants[1]]
    seen, *_ = env.step({"bs_0": np.array([0, 0])})
    assert isinstance(seen["ue_0"], np.ndarray)  # its group has no mask


def test_a_mask_of_continuous_actions_is_refused() -> None:
    with pytest.raises(OptionsError, match="allowed only for discrete actions"):
        make("sixgym/RisNoma-v0", action_mask=True)


# -------------------------------------------------------------------------------------- training


def trains(algorithm: Any, modules: set[str]) -> None:
    """Two iterations move the weights of every module."""
    before = {m: _weights(algorithm, m) for m in modules}
    for _ in range(2):
        result = algorithm.train()
    after = {m: _weights(algorithm, m) for m in modules}
    algorithm.stop()
    assert result["training_iteration"] == 2
    assert np.isfinite(result["env_runners"]["episode_return_mean"])
    for module in modules:
        moved = [not np.array_equal(before[module][k], after[module][k]) for k in after[module]]
        assert any(moved), module


def _weights(algorithm: Any, module: str) -> dict[str, Any]:
    state = algorithm.get_module(module).get_state()
    return {k: np.array(v, copy=True) for k, v in state.items()}


@pytest.mark.usefixtures("_ray")
def test_ppo_trains_on_rows_in_one_batch() -> None:
    chosen = config("sixgym/RisNomaSelect-v0", rows=8, mode="vector_entry_point")
    trains(chosen.build_algo(), {"default_policy"})


@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize("id", ["sixgym/LlmMac-v0", "sixgym/EventOffloadMulti-v0"])
def test_ppo_trains_the_groups_of_a_game(id: str) -> None:
    trains(config(id).build_algo(), {*map(group, make(id).possible_agents)})


@pytest.mark.usefixtures("_ray")
def test_rllibs_masking_module_takes_no_action_that_is_not_allowed() -> None:
    module = RLModuleSpec(module_class=ActionMaskingTorchRLModule)
    chosen = config("sixgym/EventOffloadExit-v0", action_mask=True).rl_module(rl_module_spec=module)
    algorithm = chosen.build_algo()
    for episode in algorithm.env_runner.sample(num_timesteps=100):
        seen = episode.get_observations(slice(0, len(episode)))
        masks = seen["action_mask"] if isinstance(seen, dict) else [o["action_mask"] for o in seen]
        assert all(m[a] == 1.0 for m, a in zip(masks, episode.get_actions(), strict=True))
    trains(algorithm, {"default_policy"})


# ------------------------------------------------------------------- what is told, and the page


def test_what_is_told_of_rllib_is_so() -> None:
    """Every id above passed; what is said to be refused is."""
    for id in (*SINGLE, *GAMES):
        views = ("one controller", "agents") if id in GAMES else ("one controller",)
        assert support(id)["rllib"].views == views
    assert support("toy/Tank-v0")["rllib"].why_not
    for more in ({}, {"num_envs": 2}):
        with pytest.raises(OptionsError, match=r"no default model for Discrete\(3\)"):
            make("toy/Tank-v0", **more)


@pytest.mark.usefixtures("_ray")
def test_the_example_of_the_page_runs(capfd: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "libraries.md").read_text()
    (code,) = re.findall(r"```{code-block} python\n(.*?)```", text, re.DOTALL)
    exec(code, {})  # noqa: S102  (our own page)
    assert np.isfinite(float(capfd.readouterr().out.splitlines()[-1]))


# --------------------------------------------------------------------------- names and arguments


def test_all_ids_are_registered_under_their_names() -> None:
    names = sixgym.rllib.register()
    assert {*SINGLE, *GAMES, *ONE_CONTROLLER} <= set(names)
    assert sixgym.rllib.register("sixgym/LlmMac-v0") == [
        "sixgym/LlmMac-v0",
        "joint:sixgym/LlmMac-v0",
    ]


def test_creators_travel_to_other_processes() -> None:
    for id in ("sixgym/RisNoma-v0", "sixgym/LlmMac-v0"):
        env = pickle.loads(pickle.dumps(sixgym.rllib.creator(id)))({})  # noqa: S301
        env.reset(seed=0)


def test_env_config_holds_parameters_and_options() -> None:
    env = make("sixgym/RisNoma-v0", num_users=4, max_episode_steps=2)
    assert env.unwrapped.system.params.num_users == 4
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert env.step(env.action_space.sample())[3] is True
    game = make("toy/Crowd-v0", seats=2, fixed_agents=True)
    assert game.possible_agents == ["ue_0", "ue_1"]


@pytest.mark.parametrize(
    ("id", "given", "kind", "words"),
    [
        ("sixgym/RisNoma-v0", {"users": 4}, ParamsError, "users"),
        ("sixgym/RisNoma-v0", {"action_mask": "yes"}, OptionsError, "allowed: True, False"),
        ("toy/Crowd-v0", {"seats": 99}, ParamsError, "seats"),
        ("toy/Crowd-v0", {"fixed_agents": 1}, OptionsError, "fixed_agents=1"),
        ("sixgym/Nothing-v0", {}, UnknownIdError, "not registered"),
        ("CartPole-v1", {}, UnknownIdError, "no system of sixgym"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(
    id: str, given: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        make(id, **given)
