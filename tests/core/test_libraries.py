"""What is told of the libraries is so: every view is made, or refused where it says so."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pettingzoo
import pytest
from gymnasium import spaces
from pettingzoo.env_registry import registration
from pettingzoo.env_registry.exceptions import NameNotFound
from toy_games import Crowd, Grant
from toy_systems import Counter, Gate, Tank

import sixgym
from sixgym.envs.core import registry
from sixgym.envs.core.errors import SixgymError, UnknownIdError
from sixgym.envs.core.libraries import LIBRARIES, rllib_refuses, support, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "libraries.md"
IDS = [e.id for e in sixgym.entries() if e.id.startswith("sixgym/")]
TOYS = ("Counter", "Gate", "Tank", "Offset", "Crowd", "Grant")


class Offset(Gate):
    """Counts its actions from 1."""

    def __init__(self, params: Any, **kwargs: Any) -> None:
        super().__init__(params, **kwargs)
        self.action_space = spaces.Discrete(params.doors, start=1)


@pytest.fixture(autouse=True)
def _own_registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    tables = (gym.registry, registration.aec_registry, registration.parallel_registry)
    kept = [dict(known) for known in tables]
    for system in (Counter, Gate, Tank, Offset):
        registry.register(f"toy/{system.__name__}-v0", system, max_episode_steps=6)
    for game in (Crowd, Grant):
        registry.register(f"toy/{game.__name__}-v0", game, max_episode_steps=6, is_game=True)
    yield
    for known, before in zip(tables, kept, strict=True):
        known.clear()
        known.update(before)


def _sb3(id: str) -> Any:
    from stable_baselines3 import PPO

    from sixgym.sb3 import make_vec_env

    env = make_vec_env(id, 2)
    is_dict = isinstance(env.observation_space, spaces.Dict)
    policy = "MultiInputPolicy" if is_dict else "MlpPolicy"
    return PPO(policy, env, n_steps=2, batch_size=4, n_epochs=1, seed=0, device="cpu").learn(16)


def _torchrl(name: str) -> Callable[[str], Any]:
    def make(id: str) -> Any:
        import sixgym.torchrl

        multiprocessing.set_start_method(None, force=True)  # TorchRL makes it "spawn" for all
        return getattr(sixgym.torchrl, name)(id, 2).rollout(2, break_when_any_done=False)

    return make


MAKERS: dict[tuple[str, str], Callable[[str], Any]] = {
    ("gymnasium", "one controller"): lambda id: gym.make(id).reset(seed=0),
    ("vector", "one controller"): lambda id: gym.make_vec(id, 2).reset(seed=0),
    ("sb3", "one controller"): _sb3,
    ("pettingzoo", "agents"): lambda id: pettingzoo.make("parallel", id).reset(seed=0),
    ("torchrl", "one controller"): _torchrl("make_torchrl_env"),
    ("torchrl", "agents"): _torchrl("make_torchrl_game"),
}
"""How each view is made; RLlib's are tested in its own environment."""
NEEDED = {"sb3": "stable_baselines3", "torchrl": "torchrl"}
REFUSALS = (SixgymError, AssertionError, NotImplementedError, NameNotFound)


@pytest.mark.filterwarnings("ignore")  # what SB3 says of Dict actions before it refuses them
@pytest.mark.parametrize(("library", "view"), MAKERS)
@pytest.mark.parametrize("id", [*IDS, *(f"toy/{name}-v0" for name in TOYS)])
def test_a_view_is_made_exactly_where_it_is_told(id: str, library: str, view: str) -> None:
    if library in NEEDED:
        pytest.importorskip(NEEDED[library])
    if view in support(id)[library].views:
        MAKERS[library, view](id)
    else:
        with pytest.raises(REFUSALS):
            MAKERS[library, view](id)


def test_what_is_refused_has_a_reason() -> None:
    for id in (*IDS, *(f"toy/{name}-v0" for name in TOYS)):
        answers = support(id)
        assert tuple(answers) == LIBRARIES
        for answer in answers.values():
            assert answer.is_supported or answer.why_not
    assert support("toy/Tank-v0")["sb3"].why_not == "one controller: Dict actions"
    assert "Discrete(4, start=1)" in support("toy/Offset-v0")["torchrl"].why_not
    assert support("toy/Counter-v0")["pettingzoo"].why_not == "one controller, no agents"


@pytest.mark.parametrize(
    ("observation", "action", "words"),
    [
        (spaces.Discrete(3), spaces.Discrete(2), "no default model for Discrete(3)"),
        (spaces.Box(0, 1, (2,)), spaces.Discrete(2, start=1), "no distribution for Discrete"),
        (spaces.Box(0, 1, (2,)), spaces.Box(0, 1, (2, 2)), "no distribution for Box"),
        (spaces.Box(0, 1, (2,)), spaces.Box(0, 5, (2,), int), "no distribution for Box"),
        (spaces.Box(0, 1, (2,)), spaces.Dict(a=spaces.MultiBinary(3)), ""),
    ],
)
def test_what_rllib_refuses(observation: Any, action: Any, words: str) -> None:
    assert rllib_refuses(observation, action).startswith(words)
    assert bool(rllib_refuses(observation, action)) == bool(words)


def test_guests_have_no_such_views() -> None:
    with pytest.raises(UnknownIdError, match="no system of sixgym"):
        support("CartPole-v1")


def test_the_page_has_the_table_of_today() -> None:
    own = {entry.id for entry in registry.entries() if entry.id.startswith("sixgym/")}
    lines = [line for line in table().splitlines() if "`toy/" not in line]
    assert len(lines) == 2 + len(own)
    assert "\n".join(lines) in PAGE.read_text(), "\n".join(lines)
