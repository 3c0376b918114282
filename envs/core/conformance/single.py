"""Checks of the single environment."""

from __future__ import annotations

import copy
import json
import pickle
import resource
import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
from gymnasium.utils.env_checker import check_env

from sixgym.envs.core.conformance.subject import (
    Actions,
    Skipped,
    Subject,
    check,
    require,
    require_equal,
    require_finite,
    shapes,
)
from sixgym.envs.core.errors import StateError

SOAK_LEAK_BYTES = 64 * 2**20
"""What a soak of resets may add to the peak of memory."""


def gymnasium_check_env(subject: Subject) -> None:
    """Gymnasium's check_env has nothing to warn of, render modes included."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(subject.bare())


def spec_round_trip(subject: Subject) -> None:
    """The spec survives JSON and makes the same environment."""
    env = subject.make()
    require(env.spec is not None, "spec: None; allowed: the registered one")
    text = env.spec.to_json()  # type: ignore[union-attr]
    json.loads(text)
    again = gym.make(gym.envs.registration.EnvSpec.from_json(text))
    require_equal(again.reset(seed=1), env.reset(seed=1), "reset of the remade environment")


def same_seed_same_trajectory(subject: Subject) -> None:
    """Two environments with one seed give one trajectory, also in the episodes that follow."""
    first, second = subject.make(), subject.make()
    require_equal(trajectory(first, subject), trajectory(second, subject), "trajectory")


def trajectory(env: gym.Env[Any, Any], subject: Subject, episodes: int = 2) -> list[Any]:
    """Everything that an environment tells in some episodes under fixed actions."""
    actions = Actions(env.action_space)
    told: list[Any] = [env.reset(seed=11)]
    for episode in range(episodes):
        for t in range(min(subject.episode, 40)):
            told.append(env.step(actions.one(episode, t)))
            if told[-1][2] or told[-1][3]:
                break
        told.append(env.reset())
    return told


def observations_and_infos(subject: Subject) -> None:
    """Observations are in their space; infos have the declared keys and constant shapes."""
    for level in (0, 1):
        env = subject.bare(info_level=level)
        actions = Actions(env.action_space)
        observation, info = env.reset(seed=5)
        declared = {m.name for m in env.system.metrics_up_to(level)}
        require(info.keys() == declared, f"info keys {sorted(info)}; declared: {sorted(declared)}")
        kinds = shapes(info)
        for t in range(min(subject.episode, 30)):
            require(env.observation_space.contains(observation), "observation is not in its space")
            observation, reward, ended, _, info = env.step(actions.one(0, t))
            require(type(reward) is float, f"reward: {type(reward).__name__}; allowed: float")
            require_finite((observation, reward), "observation or reward")
            require_equal(shapes(info), kinds, "info of a step and of a reset")
            if ended:
                observation, info = env.reset()


def scores_and_metrics(subject: Subject) -> None:
    """Scores stand on level-0 metrics; metrics and parameters are described with their units."""
    system = subject.bare().system
    numbers = {m.name for m in system.metrics if m.level == 0 and m.shape == ()}
    known = numbers | {"reward", "steps", "episodes"}
    require(system.scores, "scores: none; allowed: at least one")
    for score in system.scores:
        for name in (score.numerator, score.denominator):
            require(name in known, f"score {score.name}: {name!r}; allowed: {sorted(known)}")
    for metric in system.metrics:
        require(metric.unit and metric.description, f"metric {metric.name}: no unit or description")
    for parameter in system.params.table():
        told = parameter.description and parameter.source
        require(told, f"parameter {parameter.name}: no description or source")


def order_of_calls(subject: Subject) -> None:
    """A step before reset or after the end is refused; reset goes on from there."""
    env = subject.bare()
    actions = Actions(env.action_space)
    require_raises(StateError, lambda: env.step(actions.one(0, 0)), "step before reset")
    env.reset(seed=3)
    for t in range(subject.episode):
        if env.step(actions.one(0, t))[2]:
            require_raises(StateError, lambda: env.step(actions.one(0, 0)), "step after the end")
            break
    env.reset()
    env.step(actions.one(0, 0))


def require_raises(kind: type[Exception], call: Any, what: str) -> str:
    """Raise `ConformanceError` unless the call raises the kind in one line; returns the message."""
    try:
        call()
    except kind as error:
        text = str(error)
        require("\n" not in text, f"{what}: the message has several lines: {text!r}")
        return text
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        require(False, f"{what}: raised {got}; allowed: {kind.__name__}")
    require(False, f"{what}: accepted; allowed: {kind.__name__}")
    return ""


def copies_continue(subject: Subject) -> None:
    """A pickled and a deep copy in mid-episode go on as the original does."""
    env = subject.make()
    actions = Actions(env.action_space)
    env.reset(seed=7)
    ended = _ends(env.step(actions.one(0, 0)))
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]  # noqa: S301
    expected = _two_steps(env, actions, ended)
    for twin, how in zip(copies, ("pickled", "deep"), strict=True):
        require_equal(_two_steps(twin, actions, ended), expected, f"{how} copy")


def _two_steps(env: Any, actions: Actions, ended: bool) -> list[Any]:
    """Steps 1 and 2, with a reset where an episode ends at once or has ended already."""
    told: list[Any] = []
    for t in (1, 2):
        if ended:
            told.append(env.reset())
        told.append(env.step(actions.one(0, t)))
        ended = _ends(told[-1])
    return told


def _ends(step: Any) -> bool:
    return bool(step[2] or step[3])


def every_preset(subject: Subject) -> None:
    """Every preset is made and steps within its spaces."""
    for preset in subject.system_class.params_type.presets:
        env = subject.bare(preset=preset)
        actions = Actions(env.action_space)
        observation, _ = env.reset(seed=1)
        for t in range(3):
            here = f"preset {preset!r}"
            require(env.observation_space.contains(observation), f"{here}: outside the space")
            observation, reward, ended, _, info = env.step(actions.one(0, t))
            require_finite((observation, reward, info), here)
            if ended:
                observation, _ = env.reset()


def pictures(subject: Subject) -> None:
    """Each render mode gives what it promises."""
    modes = subject.bare().metadata["render_modes"]
    if "ansi" in modes:
        speaker = subject.make(render_mode="ansi")
        speaker.reset(seed=1)
        words: Any = speaker.render()
        require(isinstance(words, str) and bool(words), f"ansi: {words!r}; allowed: a text")
    if "rgb_array" not in modes:
        raise Skipped("the system draws no picture")
    env = subject.make(render_mode="rgb_array")
    env.reset(seed=1)
    frame: Any = env.render()
    shape = (frame.shape, frame.dtype.name)
    require(shape == ((400, 600, 3), "uint8"), f"rgb_array: {shape}; allowed: (400, 600, 3) uint8")
    require(frame.min() < frame.max(), "rgb_array: a picture of one colour")
    env.close()
    env.close()


def fresh_interpreter(subject: Subject) -> None:
    """gym.make("package:id") works in a fresh interpreter and steps without a warning."""
    package = subject.entry.system.partition(".")[0]
    if package != "sixgym":
        raise Skipped("not one of this package's own ids")
    code = (
        "import gymnasium as gym\n"
        f"env = gym.make('{package}:{subject.id}')\n"
        "env.reset(seed=0); env.action_space.seed(0); env.step(env.action_space.sample())"
    )
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    require(run.returncode == 0, f"a fresh interpreter says: {run.stderr.strip()[-500:]}")


def soak(subject: Subject, resets: int = 300) -> None:
    """Hundreds of resets leave the environment sound and the memory flat."""
    env = subject.bare()
    for i in range(50):
        env.reset(seed=i)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(resets):
        observation, _ = env.reset()
    require(env.observation_space.contains(observation), "observation is not in its space")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    require(grown < SOAK_LEAK_BYTES, f"{resets} resets took {grown / 2**20:.0f} MiB")


def long_soak(subject: Subject) -> None:
    """Ten thousand resets leave the environment sound and the memory flat."""
    soak(subject, 10_000)


CHECKS = (
    check(gymnasium_check_env),
    check(spec_round_trip),
    check(same_seed_same_trajectory),
    check(observations_and_infos),
    check(scores_and_metrics),
    check(order_of_calls),
    check(copies_continue),
    check(every_preset),
    check(pictures),
    check(fresh_interpreter),
    check(soak),
    check(long_soak, is_slow=True),
)
