"""Checks of games: PettingZoo's tests, one story in all views, agents who come and go."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import torch

from sixgym.envs.core.conformance.subject import (
    SHORT_EPISODE,
    Actions,
    Skipped,
    Subject,
    check,
    require,
    require_equal,
    require_near,
    snapshot,
)
from sixgym.envs.core.game import Game
from sixgym.envs.core.pettingzoo_view import (
    SixgymAECEnv,
    SixgymParallelEnv,
    env,
    parallel_env,
)

SEEDED_STEPS = 500
"""Steps of our own seed test; PettingZoo 1.27's compares one step only."""
COSMETIC = (
    "Observation is not a NumPy array",  # a dictionary with the mask
    "Observations? (numpy array is all zeros|are different shapes|between agents)",
    "Observations? (have different number|contains)",
    "The observation contains negative numbers",
    "Observation is a single number",
    "Observation space for each agent probably",
    "Action space for each agent probably",
    "Agents have different observation space sizes",
    "The class of (observation|action) spaces is different",
    "No agents present but not all possible_agents",  # nobody has to use up the names
)
"""What PettingZoo's tests warn of although its documentation allows it."""


def _require_game(subject: Subject) -> None:
    if not issubclass(subject.system_class, Game):
        raise Skipped("not a game")


def _parallel(subject: Subject, **kwargs: Any) -> SixgymParallelEnv:
    return parallel_env(subject.id, **{**subject.kwargs, **kwargs})


def _aec(subject: Subject, **kwargs: Any) -> SixgymAECEnv:
    return env(subject.id, **{**subject.kwargs, **kwargs})


def pettingzoo_tests(subject: Subject) -> None:
    """PettingZoo's parallel_api_test and api_test pass, with agents by name and by seat."""
    _require_game(subject)
    from pettingzoo.test import api_test, parallel_api_test, seed_test

    for fixed in (False, True):
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("error")
            for words in COSMETIC:
                warnings.filterwarnings("ignore", words)
            parallel_api_test(_parallel(subject, fixed_agents=fixed), 200)
            api_test(_aec(subject, fixed_agents=fixed), 100)
            seed_test(lambda fixed=fixed: _aec(subject, fixed_agents=fixed))


def game_seeds(subject: Subject) -> None:
    """Two games with one seed tell one story for hundreds of steps, over ends and resets."""
    _require_game(subject)
    first, second = (story(_parallel(subject), SEEDED_STEPS) for _ in range(2))
    for t, (a, b) in enumerate(zip(first, second, strict=True)):
        require_equal(b, a, f"call {t}")


def story(view: SixgymParallelEnv, calls: int) -> list[Any]:
    """Everything a parallel view tells under fixed moves."""
    told: list[Any] = [view.reset(seed=4)]
    groups = {g.name: Actions(g.action_space) for g in view.game.groups}
    for t in range(calls):
        if not view.agents:
            told.append(view.reset())
        told.append(view.step({a: _move(groups, view, a, t) for a in view.agents}))
    return told


def _move(groups: dict[str, Actions], view: Any, agent: str, time: int) -> Any:
    """A move that is a function of the seat and the time, not of the agent's name."""
    seat = view.table.seats[agent]
    return groups[seat.group.name].one(seat.axis, time)


def one_story_in_all_views(subject: Subject) -> None:
    """Parallel, turn by turn, vector and central views give one trajectory for the same moves."""
    _require_game(subject)
    many = _parallel(subject, max_episode_steps=SHORT_EPISODE)
    turns = _aec(subject, max_episode_steps=SHORT_EPISODE)
    kwargs = {**subject.entry.parallel, **subject.kwargs}  # the actions of one layout
    same = Subject(subject.id, kwargs)
    batch = same.batch(2, "SameStep", max_episode_steps=SHORT_EPISODE, joint="dict")
    game = many.game
    groups = {g.name: Actions(g.action_space) for g in game.groups}
    many.reset(seed=8)
    turns.reset(seed=8)
    batch.reset(seed=8)
    ends = 0
    for t in range(3 * SHORT_EPISODE):
        paid = dict.fromkeys(many.agents, 0.0)
        seats = dict(many.table.seats)
        for _ in game.turns:
            moves = {a: _move(groups, many, a, t) for a in many.agents}
            observations, rewards, terminated, truncated, _ = many.step(moves)
        paid |= rewards
        _play_turns(turns, groups, t)
        _agree(turns, observations, paid, terminated, truncated, f"step {t}")
        joint = _joint(game, groups, t)
        _, _, over, late, infos = batch.step(joint)
        for agent, seat in seats.items():
            want = float(np.float32(infos["agent_reward"][0, seat.axis]))
            if over[0] or late[0]:
                want = float(np.float32(infos["final_info"]["agent_reward"][0, seat.axis]))
            require_near(np.float32(paid[agent]), np.float32(want), f"step {t}, pay of {agent}")
        require(bool(over[0] or late[0]) == (not many.agents), f"step {t}: views end apart")
        if not many.agents:
            ends += 1
            many.reset()
            while turns.agents:
                turns.step(None)
            turns.reset()
    require(ends >= 2, "no episode ended")


def _play_turns(view: SixgymAECEnv, groups: dict[str, Actions], time: int) -> None:
    """Let every agent that is there move once, the gone ones take their leave first."""
    while view.terminations[view.agent_selection] or view.truncations[view.agent_selection]:
        view.step(None)
    for agent in list(view.table.seats):
        require(view.agent_selection == agent, f"{view.agent_selection} moves before {agent}")
        view.step(_move(groups, view, agent, time))


def _agree(
    view: SixgymAECEnv,
    observations: dict[str, Any],
    rewards: dict[str, float],
    terminated: dict[str, bool],
    truncated: dict[str, bool],
    here: str,
) -> None:
    require_equal(sorted(view.agents), sorted(observations), f"{here}: agents")
    require_equal(view.rewards, {a: rewards.get(a, 0.0) for a in view.agents}, f"{here}: rewards")
    require_equal(view.terminations, {a: terminated[a] for a in view.agents}, f"{here}: ends")
    require_equal(view.truncations, {a: truncated[a] for a in view.agents}, f"{here}: limits")
    for agent in view.agents:
        require_equal(view.observe(agent), observations[agent], f"{here}: sight of {agent}")


def _joint(game: Game[Any, Any], groups: dict[str, Actions], time: int) -> dict[str, Any]:
    """The moves of all seats of two rows, as a joint action in the layout ``"dict"``."""
    joint: dict[str, Any] = {}
    for group in game.groups:
        first = game.seats[group.name].start
        moves = [groups[group.name].one(first + i, time) for i in range(group.seats)]
        if isinstance(moves[0], dict):
            for part in moves[0]:
                joint[f"{group.name}.{part}"] = np.stack([m[part] for m in moves])
        else:
            joint[group.name] = np.stack(moves)
    return {key: np.stack([move, move]) for key, move in joint.items()}


def names_and_dictionaries(subject: Subject) -> None:
    """Dictionaries hold who was there and who joined; no name comes back; spaces are obeyed."""
    _require_game(subject)
    for fixed in (False, True):
        view = _parallel(subject, fixed_agents=fixed)
        groups = {g.name: Actions(g.action_space) for g in view.game.groups}
        for _ in range(3):
            observations, _ = view.reset()
            gone: set[str] = set()
            for t in range(subject.episode):
                before = list(view.agents)
                require_equal(set(observations) >= set(before), True, "agents without observation")
                told = view.step({a: _move(groups, view, a, t) for a in before})
                observations, rewards, terminated, truncated, _ = told
                joined = {a for a in observations if a not in before}
                keys = [set(part) for part in told]
                require(all(k == {*before, *joined} for k in keys), f"keys of the five: {keys}")
                require(not joined & gone, f"{joined & gone} came back")
                left = {a for a in before if terminated[a] or truncated[a]}
                gone |= left
                require(set(view.agents) == ({*before, *joined} - left), "agents after the step")
                require(not (fixed and joined), "a seat joined")
                require(all(rewards[a] == 0.0 for a in joined), "a joiner was paid")
                for a in observations:
                    inside = view.observation_space(a).contains(observations[a])
                    require(inside, f"observation of {a} is outside its space")
                    require(type(rewards[a]) is float, f"reward of {a} is not a float")
                if not view.agents:
                    break


def empty_seats_do_not_matter(subject: Subject) -> None:
    """Moves on empty seats change nothing; agent numbers are never used twice."""
    _require_game(subject)
    calm, stirred = (subject.batch(16, joint="dict") for _ in range(2))
    game: Any = calm.system
    pool = Actions(calm.single_action_space)
    calm.reset(seed=2)
    stirred.reset(seed=2)
    ended: Any = False
    for t in range(min(subject.episode - 1, 40)):
        alive = game.alive(calm.rows.state).numpy()
        ids = game.agent_ids(calm.rows.state)
        usual, odd = pool.many(16, t), pool.many(16, t + 1)
        for group in game.groups:
            empty = ~alive[:, game.seats[group.name]]
            for key in [k for k in usual if k.partition(".")[0] == group.name]:
                mixed = usual[key].copy()
                mixed[empty] = odd[key][empty]
                odd[key] = mixed
        a, b = calm.step(usual), stirred.step(odd)
        require_equal(b[:4], a[:4], f"step {t} with other moves on empty seats")
        begins, ended = ended, a[2] | a[3]  # the step after an end begins an episode
        _numbers_grow(game, ids, game.agent_ids(calm.rows.state), ~(begins | ended))


def hearing_needs_no_state(subject: Subject) -> None:
    """What is seen once some have moved follows from what was seen and the moves alone."""
    _require_game(subject)
    batch = subject.batch(16, joint="dict")
    game: Any = batch.system
    pool = Actions(batch.single_action_space)
    batch.reset(seed=3)
    for t in range(min(subject.episode - 1, 20)):
        state, first = batch.rows.state, game.perceive(batch.rows.state, {})
        joint = pool.many(16, t)
        moves = {key: torch.as_tensor(move) for key, move in joint.items()}
        done: dict[str, Any] = {}
        for turn in game.turns:
            done |= {key: m for key, m in moves.items() if key.partition(".")[0] in turn}
            want = snapshot(game.perceive(state, done))
            require_equal(snapshot(game.hear(first, done)), want, f"step {t}, after {turn}")
        batch.step(joint)


def _numbers_grow(game: Any, before: Any, after: Any, going_on: Any) -> None:
    """Whoever is new in a group has a number above all that were there before."""
    for group in game.groups:
        seats = game.seats[group.name]
        old, new = before[going_on][:, seats], after[going_on][:, seats]
        for was, now in zip(old.tolist(), new.tolist(), strict=True):
            fresh = [i for i in now if i >= 0 and i not in was]
            require(len({i for i in now if i >= 0}) == sum(i >= 0 for i in now), f"twice: {now}")
            require(not fresh or min(fresh) > max(was), f"{fresh} joined after {was}")
            require(max(now) < group.agents, f"number {max(now)} of {group.agents} names")


def shared_policy_training(subject: Subject) -> None:
    """PPO trains one policy for each group over flattened pairs of row and seat."""
    _require_game(subject)
    try:
        from stable_baselines3 import PPO

        from sixgym.envs.core.multiagent_sb3 import make_multiagent_vec_env
    except ImportError:
        raise Skipped("stable_baselines3 is not installed") from None
    game = _parallel(subject).game
    for group in game.groups:
        partners = {g.name: _Anything(g.action_space) for g in game.groups if g is not group}
        view = make_multiagent_vec_env(
            subject.id, 2, group.name, partners, seed=0, **dict(subject.kwargs)
        )
        nested = type(group.observation_space).__name__ == "Dict"
        policy = "MultiInputPolicy" if nested else "MlpPolicy"
        brief = {"n_steps": 16, "batch_size": 32, "n_epochs": 1, "device": "cpu"}
        model = PPO(policy, view, seed=0, **brief)  # type: ignore[arg-type]
        model.learn(64)
        require(model.num_timesteps >= 64, f"PPO on group {group.name} stopped early")


class _Anything:
    """A partner whose moves are fixed."""

    def __init__(self, space: Any) -> None:
        self._actions = Actions(space)
        self._time = 0

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        self._time += 1
        return self._actions.many(len(episode_start), self._time), None


CHECKS = (
    check(pettingzoo_tests),
    check(game_seeds),
    check(one_story_in_all_views),
    check(names_and_dictionaries),
    check(empty_seats_do_not_matter),
    check(hearing_needs_no_state),
    check(shared_policy_training),
)
