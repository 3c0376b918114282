"""Games: one controller, agents by name, agents in turn, agents as SB3's environments."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
import torch
from gymnasium import spaces
from pettingzoo.env_registry import registration
from stable_baselines3 import PPO
from toy_games import Crowd, CrowdState, Drones, Grant
from toy_systems import Counter

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core import registry
from sixgym.envs.core.conformance import CHECKS, find, run
from sixgym.envs.core.conformance.subject import Subject
from sixgym.envs.core.errors import ActionError, OptionsError, SeedError, StateError
from sixgym.envs.core.game import Game, GameStep, Group, Moves
from sixgym.envs.core.make import make_env, make_system, make_vector_env
from sixgym.envs.core.multiagent_sb3 import MultiAgentVecEnv, make_multiagent_vec_env
from sixgym.envs.core.params import Params
from sixgym.envs.core.pettingzoo_view import env, parallel_env
from sixgym.envs.core.system import Metric

GAMES = (Crowd, Grant, Drones)


@pytest.fixture(autouse=True)
def _games() -> Iterator[None]:
    kept = dict(registration.aec_registry), dict(registration.parallel_registry)
    for game in GAMES:
        registry.register(f"toy/{game.__name__}-v0", game, max_episode_steps=20, is_game=True)
    yield
    for now, before in zip(
        (registration.aec_registry, registration.parallel_registry), kept, strict=True
    ):
        now.clear()
        now.update(before)


def verdicts(game: type[Game[Any, Any]]) -> list[Any]:
    registry.register(f"toy/{game.__name__}-v0", game, max_episode_steps=20, is_game=True)
    quick = [c for c in CHECKS if not c.is_slow and c.name != "gymnasiums_async"]
    return [run(check, Subject(f"toy/{game.__name__}-v0")) for check in quick]


# -------------------------------------------------------------------- conformance


@pytest.mark.parametrize("game", GAMES)
def test_a_sound_game_passes_the_kit_as_a_system_and_as_a_game(game: Any) -> None:
    told = verdicts(game)
    assert [(v.check.name, v.message) for v in told if v.passed is False] == []
    assert {v.check.name for v in told if v.passed} >= {
        "pettingzoo_tests",
        "game_seeds",
        "one_story_in_all_views",
        "names_and_dictionaries",
        "empty_seats_do_not_matter",
        "hearing_needs_no_state",
        "shared_policy_training",
    }


class GhostsSend(Crowd):
    """Moves on empty seats count."""

    def play(self, state: CrowdState, moves: Moves, noise: Draws) -> tuple[CrowdState, GameStep]:
        new, step = super().play(state, moves, noise)
        return new, step._replace(reward=step.reward - moves["ue"].to(self.dtype).mean(1)[:, None])


class Revenants(Crowd):
    """Who leaves may come back under the same name."""

    def play(self, state: CrowdState, moves: Moves, noise: Draws) -> tuple[CrowdState, GameStep]:
        new, step = super().play(state, moves, noise)
        seat = torch.arange(self.params.seats)
        return new._replace(who=torch.where(new.who >= 0, seat, -1)), step


class Forgetful(Drones):
    """Draws from a generator that nobody seeds."""

    def start(self, noise: Draws) -> Any:
        state = super().start(noise)
        return state._replace(wants=torch.rand_like(state.wants))


@pytest.mark.parametrize(
    ("game", "check"),
    [
        (GhostsSend, "empty_seats_do_not_matter"),
        (Revenants, "names_and_dictionaries"),
        (Revenants, "empty_seats_do_not_matter"),
        (Forgetful, "game_seeds"),
    ],
)
def test_each_fault_is_found(game: type[Game[Any, Any]], check: str) -> None:
    registry.register(f"toy/{game.__name__}-v0", game, max_episode_steps=20, is_game=True)
    assert run(find(check), Subject(f"toy/{game.__name__}-v0")).passed is False


# ----------------------------------------------------------------- one controller


def test_one_controller_sees_and_moves_all_agents() -> None:
    flat = make_env(Crowd)
    assert flat.observation_space.shape == (3 * 3 + 3,), "three numbers a seat and who is there"
    assert flat.action_space == spaces.MultiDiscrete([2, 2, 2])
    nested = make_env(Crowd, joint="dict")
    assert set(nested.observation_space) == {"ue", "alive"}
    seen, _ = nested.reset(seed=3)
    together, _ = flat.reset(seed=3)
    assert np.array_equal(together, np.concatenate([seen["ue"].ravel(), seen["alive"]]))
    a = flat.step(np.array([1, 0, 1]))
    b = nested.step({"ue": np.array([1, 0, 1])})
    assert a[1] == b[1] == pytest.approx(a[4]["agent_reward"].sum())


def test_a_leader_may_be_the_one_who_is_paid() -> None:
    central = make_env(Grant)
    central.reset(seed=0)
    assert central.action_space == spaces.MultiDiscrete([2, 2, 2, 2])
    _, reward, _, _, info = central.step(np.array([1, 1, 1, 1]))
    assert reward == pytest.approx(info["agent_reward"][0])
    assert info["agent_reward"].shape == (3,)


def test_masks_of_all_seats_are_one_mask() -> None:
    central = make_env(Crowd)
    central.reset(seed=1)
    mask = central.action_masks()
    assert mask.shape == (6,)
    assert mask[::2].all(), "not sending is always allowed"
    mixed = make_env(Grant)
    mixed.reset(seed=1)
    assert mixed.action_masks().shape == (8,)
    assert mixed.action_masks()[4:].all(), "the followers have no mask"


def test_layouts_and_groups_are_checked() -> None:
    with pytest.raises(OptionsError, match="joint='table'"):
        make_env(Crowd, joint="table")
    with pytest.raises(OptionsError, match="not a game"):
        make_env(Counter, joint="dict")
    with pytest.raises(OptionsError, match="lower-case"):
        Group("UE", 1, spaces.Discrete(2), spaces.Discrete(2))
    with pytest.raises(OptionsError, match="seats=0"):
        Group("ue", 0, spaces.Discrete(2), spaces.Discrete(2))
    game = make_system(Drones)
    with pytest.raises(OptionsError, match="turns"):
        game.set_groups(game.groups, turns=(("drone",), ("drone",)))  # type: ignore[attr-defined]


# ----------------------------------------------------------------- agents by name


def test_who_joins_and_leaves_is_what_the_state_says() -> None:
    view = parallel_env(Crowd, max_episode_steps=60)
    view.reset(seed=5)
    joins = leaves = recycled = 0
    for _ in range(59):
        before = dict(view.table.seats)
        told = view.step(dict.fromkeys(view.agents, 0))
        ids = view.table.rows.state.who[0].tolist()
        assert view.agents == [f"ue_{i}" for i in ids if i >= 0]
        gone = {a for a, flag in told[2].items() if flag}
        assert gone == set(before) - set(view.agents)
        new = set(told[0]) - set(before)
        assert all(told[4][a]["active"] is (a not in gone) for a in told[0])
        joins, leaves = joins + len(new), leaves + len(gone)
        recycled += bool({before[a].axis for a in gone} & {view.table.seats[a].axis for a in new})
    assert joins >= 5
    assert leaves >= 5
    assert recycled >= 1, "a seat that is left and taken in one step changes its name"


class Purse(Drones):
    """Each agent pays its own toll: twice its number, in all views."""

    metrics = (Metric("toll", "1", "Paid by all."), Metric("agent_toll", "1", "Paid by each."))

    def __init__(self, params: Params, **kwargs: object) -> None:
        super().__init__(params, **kwargs)
        self.set_groups((replace(self.groups[0], may_leave=True),))

    def play(self, state: Any, moves: Moves, noise: Draws) -> tuple[Any, GameStep]:
        new, step = super().play(state, moves, noise)
        own = 2.0 * torch.arange(2.0).expand_as(step.reward)
        return new, step._replace(metrics={"toll": own.sum(1), "agent_toll": own})


def test_an_agents_info_holds_its_own_number_of_a_metric_per_agent() -> None:
    view = parallel_env(Purse)
    _, infos = view.reset(seed=0)
    assert [infos[a]["toll"] for a in view.agents] == [0.0, 0.0]
    infos = view.step({a: np.zeros(2, np.float32) for a in view.agents})[4]
    assert [infos[a]["toll"] for a in ("drone_0", "drone_1")] == [0.0, 2.0]
    info = make_env(Purse).reset(seed=0)[1]
    assert info["agent_toll"].shape == (2,)


def test_who_may_leave_is_told_to_one_controller() -> None:
    """Two places of four numbers, and two flags of who is there."""
    assert make_env(Drones).observation_space.shape == (4,)
    assert make_env(Purse).observation_space.shape == (6,)


def test_agents_as_seats_stay_to_the_end() -> None:
    view = parallel_env(Crowd, max_episode_steps=15, fixed_agents=True)
    assert view.possible_agents == ["ue_0", "ue_1", "ue_2"]
    observations, infos = view.reset(seed=5)
    empty = 0
    for t in range(15):
        assert view.agents == view.possible_agents
        for agent in view.agents:
            if not infos[agent]["active"]:
                empty += 1
                assert not observations[agent]["observation"].any()
        observations, _, terminated, truncated, infos = view.step(dict.fromkeys(view.agents, 1))
        assert not any(terminated.values())
        assert all(flag is (t == 14) for flag in truncated.values())
    assert empty > 0
    assert view.agents == []


def test_followers_see_the_leaders_move_of_this_step() -> None:
    parallel, turns = parallel_env(Grant), env(Grant)
    _, infos = parallel.reset(seed=0)
    turns.reset(seed=0)
    assert infos["bs_0"]["turn"] == 0
    observations, rewards, *_, infos = parallel.step({"bs_0": np.array([1, 0])})
    assert infos["ue_0"]["turn"] == 1
    assert set(rewards.values()) == {0.0}
    assert [observations[f"ue_{i}"][1] for i in (0, 1)] == [1.0, 0.0]
    turns.step(np.array([1, 0]))
    assert turns.agent_selection == "ue_0"
    assert turns.observe("ue_0")[1] == 1.0
    turns.step(1)
    assert turns.observe("ue_1")[1] == 0.0, "nothing of what ue_0 does in the same turn"
    turns.step(0)
    assert turns.agent_selection == "bs_0"
    assert parallel.metadata["is_parallelizable"] is False
    assert parallel_env(Crowd).metadata["is_parallelizable"] is True


def test_masks_stand_where_pettingzoo_looks_for_them() -> None:
    view = parallel_env(Grant)
    observations, _ = view.reset(seed=1)
    mask = observations["bs_0"]["action_mask"]
    assert [m.dtype for m in mask] == [np.int8, np.int8]
    assert view.action_space("bs_0").sample(mask).shape == (2,)
    crowd, _ = parallel_env(Crowd).reset(seed=1)
    assert crowd["ue_0"]["action_mask"].tolist() in ([1, 1], [1, 0])
    assert view.observation_space("bs_0")["observation"].shape == (4,)  # type: ignore[index]
    nested = parallel_env(Grant, flatten=False)
    assert isinstance(nested.observation_space("bs_0")["observation"], spaces.Dict)  # type: ignore[index]
    observations, _ = nested.reset(seed=1)
    assert nested.observation_space("bs_0").contains(observations["bs_0"])


def test_wrong_moves_are_refused_and_change_nothing() -> None:
    view = parallel_env(Drones)
    with pytest.raises(StateError, match="before reset"):
        view.step({})
    view.reset(seed=0)
    good = dict.fromkeys(view.agents, np.zeros(2, np.float32))
    saved = view.table.rows.state_dict()
    for bad, words in (
        ({"drone_0": np.zeros(2)}, "drone_1 is missing"),
        ({**good, "drone_7": np.zeros(2)}, "drone_7 is not there"),
        ({**good, "drone_1": np.array([0.0, np.nan])}, r"action of drone_1\[1\]=nan"),
        ({**good, "drone_1": np.zeros(3)}, "action of drone_1: shape"),
    ):
        with pytest.raises(ActionError, match=words):
            view.step(bad)
    assert all(torch.equal(v, saved[k]) for k, v in view.table.rows.state_dict().items())
    view.step(good)
    with pytest.raises(OptionsError, match="drone_9"):
        view.observation_space("drone_9")
    with pytest.raises(SeedError, match="seed=-1"):
        view.reset(seed=-1)


def test_a_wrong_move_in_turn_may_be_tried_again() -> None:
    view = env(Drones)
    view.reset(seed=0)
    with pytest.raises(ActionError, match="action of drone_0"):
        view.step(np.array([5.0, 0.0]))
    assert view.agent_selection == "drone_0"
    view.step(np.zeros(2))
    assert view.agent_selection == "drone_1"


def test_pictures_of_a_game() -> None:
    view = parallel_env(Crowd, render_mode="rgb_array")
    view.reset(seed=0)
    assert view.render().shape == (400, 600, 3)
    view.close()
    with pytest.raises(OptionsError, match="render_mode"):
        parallel_env(Drones, render_mode="rgb_array")


# ---------------------------------------------------------------------- registries


def test_games_stand_in_both_registries(recwarn: pytest.WarningsRecorder) -> None:
    parallel = pettingzoo.make("parallel", "toy/Crowd-v0", seats=4)
    assert len(parallel.unwrapped.game.seats) == 1
    assert parallel.unwrapped.game.num_seats == 4
    assert parallel.metadata["name"] == "toy/Crowd-v0"
    turns = pettingzoo.make("aec", "toy/Grant-v0", max_episode_steps=3)
    turns.reset(seed=0)
    assert gym.make("toy/Crowd-v0").action_space == spaces.MultiDiscrete([2, 2, 2])
    registry.register("toy/Crowd-v0", Crowd, max_episode_steps=20, title="again", is_game=True)
    assert [str(w.message) for w in recwarn if "egistry" in str(w.message)] == []


def test_the_time_limit_of_the_registry_counts_steps_of_the_game() -> None:
    view = pettingzoo.make("parallel", "toy/Grant-v0", max_episode_steps=4)
    view.reset(seed=0)
    calls = 0
    while view.agents:
        moves = {a: view.action_space(a).sample() for a in view.agents}
        *_, truncated, _ = view.step(moves)
        calls += 1
    assert calls == 2 * 4
    assert all(truncated.values())


def test_what_is_no_game_has_no_agents() -> None:
    with pytest.raises(OptionsError, match="Counter: allowed: a game"):
        parallel_env(Counter)  # type: ignore[arg-type]


def test_registering_a_game_imports_no_torch() -> None:
    code = (
        "from sixgym.envs.core.registry import register\n"
        "register('toy/X-v0', 'nowhere:X', max_episode_steps=3, is_game=True)\n"
        "import sys; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------- agents as environments


class Constant:
    """Always the same move."""

    def __init__(self, move: Any) -> None:
        self.move = np.asarray(move)
        self.starts: list[Any] = []

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        self.starts.append(np.array(episode_start))
        return np.stack([self.move] * len(episode_start)), None


def test_pairs_are_the_seats_of_the_rows() -> None:
    """Against the parallel view of each row, through joins, leaves and time limits."""
    pairs = make_multiagent_vec_env("toy/Crowd-v0", 2, seed=0, max_episode_steps=12)
    seeds = pairs.seed(0)
    observation: Any = pairs.reset()
    views = [parallel_env(Crowd, max_episode_steps=12, fixed_agents=True) for _ in range(2)]
    seen = [view.reset(seed=s)[0] for view, s in zip(views, seeds, strict=True)]
    finals = 0
    for t in range(30):
        for i, alive in enumerate(pairs.active):
            if alive:
                single = seen[i // 3][f"ue_{i % 3}"]["observation"]
                assert np.array_equal(observation[i], single)
        action = np.arange(6) % 2 ^ (t % 2)
        observation, rewards, dones, infos = pairs.step(action)
        for r, view in enumerate(views):
            moves = {f"ue_{s}": action[3 * r + s] for s in range(3)}
            seen[r], paid, _, truncated, _ = view.step(moves)
            for s in range(3):
                i = 3 * r + s
                assert rewards[i] == pytest.approx(paid[f"ue_{s}"])
                if truncated["ue_0"]:
                    assert dones[i]
                if infos[i].get("TimeLimit.truncated"):
                    finals += 1
                    single = seen[r][f"ue_{s}"]["observation"]
                    assert np.array_equal(infos[i]["terminal_observation"], single)
            if truncated["ue_0"]:
                seen[r], _ = view.reset()
    assert finals >= 2


def test_an_episode_of_a_pair_is_the_stay_of_an_agent() -> None:
    pairs = make_multiagent_vec_env("toy/Crowd-v0", 4, seed=1)
    pairs.reset()
    ids = pairs.game.agent_ids(pairs.env.rows.state).flatten()
    total, stays, dummies = np.zeros(12), 0, 0
    for _ in range(60):
        _, rewards, dones, infos = pairs.step(np.ones(12, np.int64))
        now = pairs.game.agent_ids(pairs.env.rows.state).flatten()
        assert not rewards[(ids < 0).numpy()].any(), "nobody is paid on an empty seat"
        assert dones[(ids != now).numpy()].all(), "no value flows from one agent to the next"
        total += rewards
        for i in np.flatnonzero(dones):
            if "episode" in infos[i]:
                assert infos[i]["episode"]["r"] == pytest.approx(total[i])
                stays += 1
            else:
                assert ids[i] < 0
                dummies += 1
            total[i] = 0.0
        ids = now
    assert stays > 10
    assert dummies > 3


@pytest.mark.parametrize(("group", "partner"), [("bs", "ue"), ("ue", "bs")])
def test_each_side_of_a_sequential_game_learns_against_the_other(group: str, partner: str) -> None:
    other = Constant([1, 1] if partner == "bs" else 1)
    pairs = make_multiagent_vec_env("toy/Grant-v0", 3, group, {partner: other}, seed=0)
    observation: Any = pairs.reset()
    if group == "ue":
        assert pairs.num_envs == 6
        assert (observation[:, 1] == 1.0).all(), "followers see the leader's grant"
        wants = observation[:, 0]
        _, rewards, *_ = pairs.step(np.ones(6, np.int64))
        assert np.array_equal(rewards, wants), "granted and sent: useful where wanted"
    else:
        assert pairs.num_envs == 3
        wants = observation["wants"].sum(1)
        _, rewards, *_ = pairs.step(np.ones((3, 2), np.int64))
        np.testing.assert_allclose(rewards, wants - 0.2, rtol=1e-5)
    assert other.starts[0].all()
    assert not other.starts[-1].any() or len(other.starts) == 1


def test_masks_of_pairs() -> None:
    pairs = make_multiagent_vec_env("toy/Crowd-v0", 2, seed=0)
    observation: Any = pairs.reset()
    masks = np.stack(pairs.env_method("action_masks"))
    assert masks.shape == (6, 2)
    assert np.array_equal(masks[:, 1], observation[:, 1] > 0)
    assert pairs.get_attr("active") == pairs.active.tolist()
    assert len(pairs.env_method("action_masks", indices=[0, 5])) == 2


def test_a_saved_view_of_pairs_continues_identically() -> None:
    one = make_multiagent_vec_env("toy/Crowd-v0", 2, seed=3)
    one.reset()
    for _ in range(7):
        one.step(np.ones(6, np.int64))
    two = make_multiagent_vec_env("toy/Crowd-v0", 2)
    two.load_state_dict(one.state_dict())
    for _ in range(20):
        a, b = one.step(np.ones(6, np.int64)), two.step(np.ones(6, np.int64))
        assert all(np.array_equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


def test_a_shared_policy_learns_to_send_when_alone() -> None:
    """One user of one seat: sending whenever there is a packet pays about 0.4 a slot."""
    pairs = make_multiagent_vec_env("toy/Crowd-v0", 16, seed=0, seats=1)
    model = PPO("MlpPolicy", pairs, n_steps=32, batch_size=128, learning_rate=3e-3, seed=0)
    model.learn(6_000)
    observation = np.array([[1.0, 1.0 / 3.0, 0.0]], np.float32)
    action, _ = model.predict(observation)
    assert action[0] == 1


def test_wrong_groups_partners_and_rows_are_refused() -> None:
    with pytest.raises(OptionsError, match="group=None: allowed: bs, ue"):
        make_multiagent_vec_env("toy/Grant-v0", 2)
    with pytest.raises(OptionsError, match="group='xy'"):
        make_multiagent_vec_env("toy/Grant-v0", 2, "xy")
    with pytest.raises(OptionsError, match="partners="):
        make_multiagent_vec_env("toy/Grant-v0", 2, "ue")
    with pytest.raises(OptionsError, match="allowed: a game"):
        MultiAgentVecEnv(make_vector_env(Counter, 2))
    with pytest.raises(OptionsError, match="'dict'"):
        MultiAgentVecEnv(make_vector_env(Crowd, 2, autoreset_mode="Disabled"))
    with pytest.raises(OptionsError, match="'Disabled'"):
        MultiAgentVecEnv(make_vector_env(Crowd, 2, joint="dict"))
    pairs = make_multiagent_vec_env("toy/Crowd-v0", 2)
    with pytest.raises(StateError, match="before reset"):
        pairs.step(np.zeros(6, np.int64))
