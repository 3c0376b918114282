"""Checks of environments by somebody else: what can be told of them by playing them.

Nothing here knows of batches, parameters or states: those are ours. What is checked is what a
learner and a comparison need: the interface, seeds, spaces, numbers, ends, and data of its own.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import pickle
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import iterate

from sixgym.envs.core.conformance.batch import corner_actions
from sixgym.envs.core.conformance.guest import AecGuest, Guest, GymGuest, ParallelGuest, Told
from sixgym.envs.core.conformance.speed import guest_speed
from sixgym.envs.core.conformance.subject import (
    Actions,
    Advised,
    Check,
    Skipped,
    check,
    difference,
    require,
    require_equal,
    require_finite,
    stack,
)
from sixgym.envs.core.errors import ConformanceError

STEPS = 60
"""Steps of a check that does not need an end."""
LONG = 2_000
"""Steps after which a check gives up waiting for an end."""
SEEDS = (3, 4, 5, 6)
"""Seeds that must not all give one episode."""
EPISODES = 6
"""Episodes by which the ends are judged."""


# ------------------------------------------------------------------------------- the interface


def can_be_made(guest: Guest) -> None:
    """It can be made twice, and closed twice."""
    first, second = guest.make(), guest.make()
    for env in (first, second, first):
        env.close()


def gymnasium_check_env(guest: GymGuest) -> None:
    """Gymnasium's check_env passes, and has nothing to warn of."""
    with warnings.catch_warnings(record=True) as heard, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        env = guest.make()
        check_env(env.unwrapped, skip_render_check=env.spec is None)
    _advise(heard)


def pettingzoo_tests(guest: Guest) -> None:
    """PettingZoo's parallel_api_test or api_test passes, and has nothing to warn of."""
    from pettingzoo.test import api_test, parallel_api_test

    with warnings.catch_warnings(record=True) as heard, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        if isinstance(guest, ParallelGuest):
            parallel_api_test(guest.make(), num_cycles=100)
        else:
            api_test(guest.make(), num_cycles=50)
    _advise(heard)


def _advise(heard: list[warnings.WarningMessage]) -> None:
    """Pass on what was warned of, each once, in one line."""
    told = dict.fromkeys(_plain(str(one.message)) for one in heard)
    if told:
        raise Advised("; ".join(told))


def _plain(text: str) -> str:
    """A message without colours and line ends."""
    text = text.replace("\x1b[33m", "").replace("\x1b[0m", "").removeprefix("WARN: ")
    return " ".join(text.split())


def spec_round_trip(guest: GymGuest) -> None:
    """The spec survives JSON and makes the same environment."""
    env = guest.make()
    if env.spec is None:
        raise Skipped("it was not made from a registry")
    try:
        text = env.spec.to_json()
    except (TypeError, ValueError) as error:
        raise Advised(f"the spec has no JSON, so that no file can name it: {error}") from None
    json.loads(text)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(text))
    require_equal(again.reset(seed=1)[0], env.reset(seed=1)[0], "reset of the remade environment")


def sb3_check_env(guest: GymGuest) -> None:
    """Stable-Baselines3's check_env passes, and has nothing to warn of."""
    try:
        from stable_baselines3.common.env_checker import check_env as check_by_sb3
    except ImportError:
        raise Skipped("stable_baselines3 is not installed") from None
    env = guest.make()
    if isinstance(env.action_space, gym.spaces.Dict | gym.spaces.Tuple):
        raise Skipped(f"SB3 knows no {type(env.action_space).__name__} actions")
    _require_one_reward(guest)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        check_by_sb3(env)
    _advise(heard)


def pettingzoo_spaces(guest: Guest) -> None:
    """The space of an agent is one object, and every agent is a possible one."""
    with contextlib.closing(guest.make()) as env:
        guest.begin(env, 0)
        names = list(env.possible_agents)
        require(set(env.agents) <= set(names), f"agents {env.agents}; possible: {names}")
        for agent in names:
            for space in (env.observation_space, env.action_space):
                same = space(agent) is space(agent)
                require(same, f"{space.__name__}({agent!r}): another object in every call")


# --------------------------------------------------------------------------------------- seeds


def same_seed_same_trajectory(guest: Guest) -> None:
    """Two environments with one seed and the same actions tell one story."""
    stories = []
    for other in (1, 2):  # the global generators stand elsewhere, so that no luck is shared
        with _global_generators(other), contextlib.closing(guest.make()) as env:
            stories.append([told.story for told in guest.play(env, STEPS, seed=11)])
    _require_one_story(stories[1], stories[0], "second environment against the first")


def same_seed_same_infos(guest: Guest) -> None:
    """Under one seed the infos repeat as well."""
    stories = []
    for _ in range(2):
        with contextlib.closing(guest.make()) as env:
            stories.append([told.info for told in guest.play(env, STEPS, seed=11)])
    try:
        _require_one_story(stories[1], stories[0], "second environment against the first")
    except ValueError as found:
        raise Advised(str(found)) from None


def seed_starts_over(guest: Guest) -> None:
    """In one environment, reset(seed) begins the same story again, whatever was played before."""
    with contextlib.closing(guest.make()) as env:
        first = [told.story for told in guest.play(env, STEPS, seed=7)]
        guest.play(env, 3)
        again = [told.story for told in guest.play(env, STEPS, seed=7)]
    _require_one_story(again, first, "seed=7 a second time: the seed does not decide the episode")


def _require_one_story(got: list[Any], want: list[Any], what: str) -> None:
    """Name the call in which two stories part."""
    for call, (a, b) in enumerate(zip(got, want, strict=False)):
        here = "reset" if call == 0 else f"step {call}"
        require_equal(a, b, f"{what}: {here} differs")
    require(len(got) == len(want), f"{what}: {len(got) - 1} and {len(want) - 1} steps")


def another_seed_is_another_episode(guest: Guest) -> None:
    """The seed is respected: where episodes differ at all, other seeds give other episodes."""
    stories = []
    for seed in SEEDS:
        with contextlib.closing(guest.make()) as env:
            stories.append([told.story for told in guest.play(env, STEPS, seed=seed)])
    if any(difference(story, stories[0]) for story in stories[1:]):
        return
    with contextlib.closing(guest.make()) as env:
        own = [[told.story for told in guest.play(env, STEPS)] for _ in range(4)]
    varied = any(difference(story, own[0]) for story in own[1:])
    seeds = ", ".join(map(str, SEEDS))
    require(
        not varied,
        f"seeds {seeds} give one and the same episode, while the episodes of one environment "
        "differ: the seed is ignored",
    )
    raise Skipped(f"every seed gives the same {STEPS} steps under the same actions: nothing random")


def global_generators_untouched(guest: Guest) -> None:
    """It neither seeds nor draws from the generators of random, NumPy and torch."""
    with contextlib.closing(guest.make()) as env:
        guest.begin(env, 0)  # what is made once, at the first reset, is not the matter
        before = _generators()
        guest.play(env, STEPS, seed=1)
        after = _generators()
    touched = [name for name in before if before[name] != after[name]]
    require(not touched, f"the global generator of {', '.join(touched)} was used or seeded")


def _generators() -> dict[str, bytes]:
    """The state of every global generator that is loaded."""
    states = {
        "random": repr(random.getstate()).encode(),
        "numpy.random": pickle.dumps(np.random.get_state()),  # noqa: NPY002  (what is watched)
    }
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return states


@contextlib.contextmanager
def _global_generators(seed: int) -> Iterator[None]:
    """Put the global generators somewhere for a while."""
    kept, kept_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(kept)
        np.random.set_state(kept_numpy)  # noqa: NPY002


# --------------------------------------------------------------------------- spaces and numbers


def observations_in_their_space(guest: Guest) -> None:
    """Every observation is in its space, with its shape and type."""
    with contextlib.closing(guest.make()) as env:
        for told in _several(guest, env, 3):
            text = guest.outside(env, told)
            require(text is None, f"observation: {text}")


def numbers_are_finite(guest: Guest) -> None:
    """Random actions give no NaN and no infinity in observations and rewards."""
    with contextlib.closing(guest.make()) as env:
        for told in _several(guest, env, 3):
            require_finite(_numbers(told.reward), "reward")
            require_finite(_numbers(told.observation), "observation")


def rewards_are_numbers(guest: GymGuest) -> str | None:
    """Rewards are numbers, or vectors of numbers of one length."""
    with contextlib.closing(guest.make()) as env:
        rewards = [told.reward for told in guest.play(env, 5, seed=2)[1:]]
    odd = next((r for r in rewards if np.asarray(r).dtype.kind not in "fiub"), None)
    if odd is not None:
        kind, shown = type(odd).__name__, " ".join(repr(odd).split())
        raise ConformanceError(
            f"reward: a {kind}, {shown[:60]}; allowed: a number (rewards of several agents are "
            "told by a PettingZoo environment)"
        )
    shapes = {np.shape(r) for r in rewards}
    require(len(shapes) == 1, f"reward: of shapes {', '.join(map(str, shapes))}; allowed: one")
    (shape,) = shapes
    return f"a vector of {shape[0]} parts, to be weighed by a wrapper" if shape else None


def corners_stay_finite(guest: GymGuest) -> None:
    """Corners of the action space, held for an episode, give no NaN and nothing outside."""
    with contextlib.closing(guest.make()) as env:
        space = env.action_space
        if isinstance(space, gym.spaces.Box) and not space.is_bounded():
            raise Skipped("the action space has no corners")
        try:
            corners = corner_actions(space, random_corners=2)
        except (TypeError, AttributeError):
            raise Skipped(f"no corners in {type(space).__name__} actions") from None
        for action in corners[:12]:
            env.reset(seed=2)
            held = action if isinstance(action, dict) or np.shape(action) else action.item()
            for t in range(STEPS):
                observation, reward, terminated, truncated, _ = env.step(copy.deepcopy(held))
                here = f"{action!r} held, step {t}"
                require_finite((_numbers(observation), _numbers(reward)), here)
                told = Told(observation, reward, terminated, truncated, {}, False)
                text = guest.outside(env, told)
                require(text is None, f"{here}: observation: {text}")
                if terminated or truncated:
                    break


def _several(guest: Guest, env: Any, episodes: int) -> Iterator[Told]:
    """What some episodes under different actions tell."""
    for i in range(episodes):
        yield from guest.play(env, STEPS, seed=20 if i == 0 else None, shift=13 * i)


def _numbers(value: Any) -> Any:
    """The parts of a result that are numbers."""
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_numbers(v) for v in value]
    array = np.asarray(value)
    return array if array.dtype.kind in "fiub" else np.zeros(0)


# ---------------------------------------------------------------------------- ends and episodes


def ends_by_the_rules(guest: Guest) -> str:
    """Flags are bools, an end is an end, and a time limit is told as truncation."""
    lengths, flags = [], []
    for i in range(EPISODES):
        with contextlib.closing(guest.make()) as env:
            story = guest.play(env, LONG, seed=40 + i, shift=13 * i)
        for told in story[1:]:
            for flag in (told.terminated, told.truncated):
                parts = list(flag.values()) if isinstance(flag, dict) else [flag]
                kinds = {type(p).__name__ for p in parts if not isinstance(p, bool | np.bool_)}
                require(not kinds, f"flags of type {', '.join(kinds)}; allowed: bool")
        lengths.append(len(story) - 1)
        flags.append(_how(story))
    if flags.count("never") == EPISODES:
        raise Advised(f"no episode ended within {LONG} steps: a learner needs a time limit")
    same = len(set(lengths)) == 1 and lengths[0] > 1
    if same and set(flags) == {"terminated"}:
        raise Advised(
            f"{EPISODES} episodes of different seeds and actions all terminated after exactly "
            f"{lengths[0]} steps: if that is a time limit, `truncated` must tell it and "
            "`terminated` must not"
        )
    shown = f"{min(lengths)} to {max(lengths)}" if len(set(lengths)) > 1 else str(lengths[0])
    kinds_of_end = ", ".join(f"{flags.count(kind)} {kind}" for kind in dict.fromkeys(flags))
    return f"{EPISODES} episodes of {shown} steps: {kinds_of_end}"


def _how(story: list[Told]) -> str:
    """How an episode ended: by the last flags that were told."""
    if not story[-1].ended:
        return "never"
    ended: Any = next(told.terminated for told in reversed(story) if told.terminated != {})
    if isinstance(ended, dict):
        return "terminated" if all(ended.values()) else "truncated"
    return "terminated" if ended else "truncated"


def many_episodes(guest: Guest, episodes: int = 30) -> None:
    """Dozens of resets, before and after an end, leave it sound."""
    with contextlib.closing(guest.make()) as env:
        for i in range(episodes):
            steps = (1, 7, STEPS)[i % 3]
            for told in guest.play(env, steps, shift=i):
                text = guest.outside(env, told)
                require(text is None, f"episode {i}: observation: {text}")


def nothing_is_written_again(guest: Guest) -> None:
    """Observations and infos that were handed out are not changed by later steps."""
    with contextlib.closing(guest.make()) as env:
        told, kept = [guest.begin(env, 5)], []
        kept.append(copy.deepcopy(told[0]))
        for t in range(20):
            if told[-1].ended:
                break
            told.append(guest.step(env, t))
            kept.append(copy.deepcopy(told[-1]))
    for call, (now, then) in enumerate(zip(told, kept, strict=True)):
        for part in ("observation", "info"):
            found = difference(getattr(now, part), getattr(then, part))
            require(found is None, f"{part} of call {call} was written again: {found}")


def copies_continue(guest: Guest) -> None:
    """A deep and a pickled copy in mid-episode go on as the original does."""
    with contextlib.closing(guest.make()) as env:
        guest.play(env, 2, seed=9)
        stories = {}
        for how, make in (("deep", copy.deepcopy), ("pickled", _pickled)):
            try:
                stories[how] = _two_steps(guest, make(env))
            except Exception as error:
                told = f"{type(error).__name__}: {error}"
                raise Advised(f"no {how} copy that goes on in mid-episode: {told}") from None
        want = _two_steps(guest, env)
    for how, got in stories.items():
        found = difference(got, want)
        if found is not None:
            raise Advised(f"a {how} copy goes on differently: {found}")


def _two_steps(guest: Guest, env: Any) -> list[Any]:
    return [guest.step(env, t).story for t in (3, 4)]


def _pickled(env: Any) -> Any:
    return pickle.loads(pickle.dumps(env))  # noqa: S301  (of an object of this process)


# --------------------------------------------------------------------------------- vectorisers


def rows_are_environments(guest: GymGuest) -> None:
    """Row i of Gymnasium's SyncVectorEnv is the single environment of seed s + i."""
    _require_one_reward(guest)
    rows: Any = SyncVectorEnv([guest.make] * 3, autoreset_mode=AutoresetMode.DISABLED)
    actions = Actions(rows.single_action_space)
    told: list[list[Any]] = [_rows(rows, rows.reset(seed=70)[0])]
    for t in range(20):
        observation, *outcome, _ = rows.step(actions.many(3, t))
        told.append(list(zip(_rows(rows, observation), *outcome, strict=True)))
        if outcome[1].any() or outcome[2].any():
            break
    rows.close()
    for i in range(3):
        with contextlib.closing(guest.make()) as env:
            shared = f"row {i}: rows share something"
            require_equal(told[0][i], env.reset(seed=70 + i)[0], f"{shared}: reset")
            for t, got in enumerate(told[1:]):
                observation, reward, terminated, truncated, _ = env.step(actions.one(i, t))
                want = (observation, np.float64(reward), bool(terminated), bool(truncated))
                found = difference(got[i], want, tolerance=1e-6)
                require(found is None, f"{shared}: step {t}: {found}")


def _rows(env: Any, observation: Any) -> list[Any]:
    """The observations of a vector environment one by one, whatever their space."""
    return copy.deepcopy(list(iterate(env.observation_space, observation)))


def _require_one_reward(guest: GymGuest) -> None:
    """Gymnasium's vector environments and SB3 know no vector rewards.

    Raises:
        Skipped: the reward has several parts, or is no number at all.
    """
    with contextlib.closing(guest.make()) as env:
        guest.begin(env, 0)
        reward = np.asarray(guest.step(env, 0).reward)
        if reward.ndim or reward.dtype.kind not in "fiub":
            kind = "a vector" if reward.ndim else "no number"
            raise Skipped(
                f"the reward is {kind}, which Gymnasium's vector environments and SB3 refuse"
            )


def own_vector_environment(guest: GymGuest) -> None:
    """Its own vector environment, if it has one, keeps Gymnasium's contract."""
    made = guest.make()
    spec = made.spec
    if spec is None or spec.vector_entry_point is None:
        raise Skipped("it has none; Gymnasium's SyncVectorEnv serves")
    env = gym.make_vec(guest.id, 3, vectorization_mode="vector_entry_point", **guest.kwargs)
    mode = env.metadata.get("autoreset_mode")
    require(isinstance(mode, AutoresetMode), f"metadata['autoreset_mode']: {mode!r}")
    actions = Actions(env.single_action_space)
    observation, _ = env.reset(seed=1)
    ended = np.zeros(3, dtype=bool)
    for t in range(STEPS):
        seen = env.observation_space.contains(observation)
        require(seen, f"step {t}: observations outside their space")
        observation, reward, terminated, truncated, _ = env.step(actions.many(3, t))
        shapes = {np.shape(part) for part in (reward, terminated, truncated)}
        require(shapes == {(3,)}, f"shapes of reward and flags: {shapes}; allowed: (3,)")
        if mode is AutoresetMode.NEXT_STEP and ended.any():
            calm = not np.asarray(reward)[ended].any() and not (terminated | truncated)[ended].any()
            require(calm, "NextStep: a restarted row was paid or ended")
        ended = np.asarray(terminated) | np.asarray(truncated)
        if mode is AutoresetMode.DISABLED and ended.any():
            break
    env.close()


def gymnasiums_async(guest: GymGuest) -> None:
    """Gymnasium's AsyncVectorEnv runs it in a process of its own."""
    _require_one_reward(guest)
    env = guest.make()
    if env.spec is None:
        raise Skipped("it was not made from a registry")
    theirs: Any = AsyncVectorEnv([functools.partial(gym.make, env.spec)], context="spawn")
    actions = Actions(env.action_space)
    require_equal(_rows(theirs, theirs.reset(seed=3)[0])[0], env.reset(seed=3)[0], "reset")
    step = theirs.step(stack(env.action_space, [actions.one(0, 0)]))
    require_equal(_rows(theirs, step[0])[0], env.step(actions.one(0, 0))[0], "step")
    theirs.close()


SEEDED = (
    check(same_seed_same_trajectory),
    check(same_seed_same_infos),
    check(seed_starts_over),
    check(another_seed_is_another_episode),
    check(global_generators_untouched),
)
PLAYED = (
    check(observations_in_their_space),
    check(numbers_are_finite),
    check(ends_by_the_rules),
    check(many_episodes),
    check(nothing_is_written_again),
    check(copies_continue),
)

GYMNASIUM: tuple[Check, ...] = (
    check(can_be_made),
    check(gymnasium_check_env),
    check(spec_round_trip),
    *SEEDED,
    *PLAYED,
    check(rewards_are_numbers),
    check(corners_stay_finite),
    check(rows_are_environments),
    check(own_vector_environment),
    check(sb3_check_env),
    check(guest_speed),
    check(gymnasiums_async, is_slow=True),
)
"""What a plain ``gymnasium.Env`` is asked."""

PETTINGZOO: tuple[Check, ...] = (
    check(can_be_made),
    check(pettingzoo_tests),
    check(pettingzoo_spaces),
    *SEEDED,
    *PLAYED,
    check(guest_speed),
)
"""What a PettingZoo environment is asked."""


def checks_of_guest(guest: Guest) -> tuple[Check, ...]:
    """The checks of a guest's kind."""
    return PETTINGZOO if isinstance(guest, ParallelGuest | AecGuest) else GYMNASIUM
