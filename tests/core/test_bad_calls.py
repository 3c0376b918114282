"""What no view may do with what somebody hands in: each of these once ended in another's error."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import sixgym
from sixgym.envs.core import plugins, registry
from sixgym.envs.core.errors import (
    ActionError,
    ActionTypeError,
    NoAttributeError,
    OptionsError,
    ParamsError,
    PluginWarning,
    SeedError,
    SixgymError,
    StateError,
    UnknownIdError,
)
from sixgym.envs.core.pettingzoo_view import env as aec_env
from sixgym.envs.core.pettingzoo_view import parallel_env
from sixgym.envs.core.saved import check_saved
from sixgym.envs.core.sb3_view import SixgymSB3VecEnv, make_vec_env
from sixgym.envs.core.team_sb3 import make_team_vec_env
from sixgym.envs.core.worlds import row_seed

MAC = "sixgym/LlmMac-v0"
RIS = "sixgym/RisNoma-v0"
LIMIT = "sixgym/NetGptThreshold-v0"

assert sixgym.__version__


class Odd:
    """An object that answers nothing."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array")


# ------------------------------------------------------------------------------------------ errors


def test_a_message_is_one_printable_line_whatever_it_quotes() -> None:
    error = ParamsError("x=array([[0],\n       [1]]): \x1b[2J\u202e\ud800: allowed: 1")
    assert str(error) == r"x=array([[0], [1]]): \x1b[2J\u202e\ud800: allowed: 1"
    assert str(error).isprintable()
    assert str(ParamsError("a  b: é")) == "a  b: é"


# -------------------------------------------------------------------------------------- the vector


@pytest.mark.parametrize(
    "action", [Odd(), [[], [1]], torch.zeros(3, device="meta"), torch.zeros(3).to_sparse()]
)
def test_a_step_after_the_end_names_what_is_no_action(action: Any) -> None:
    env = gym.make_vec(LIMIT, 3, max_episode_steps=1)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.reset(options={"reset_mask": np.array([True, False, False])})
    with pytest.raises(ActionError, match="actions"):
        env.step(action)


@pytest.mark.parametrize(
    "mask",
    [
        torch.ones(3, dtype=torch.bool, device="meta"),
        torch.ones(3, dtype=torch.bool).to_sparse(),
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones(3),
    ],
)
def test_a_mask_that_holds_no_flags_is_refused_as_gymnasium_wants(mask: Any) -> None:
    env = gym.make_vec(LIMIT, 3)
    env.reset(seed=0)
    with pytest.raises(TypeError, match="reset_mask"):
        env.reset(options={"reset_mask": mask})


# ------------------------------------------------------------------------------------------ states


LIKE = {"a": torch.zeros(3), "b": torch.zeros(2, dtype=torch.int64)}


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (None, "NoneType"),
        ([], "list"),
        ({"a": LIKE["a"]}, "b"),
        ({**LIKE, 5: LIKE["a"]}, "5"),
        ({**LIKE, "a": [0.0] * 3}, "a is of type list"),
        ({**LIKE, "a": np.zeros(3)}, "ndarray"),
        ({**LIKE, "a": torch.zeros(3, device="meta")}, "meta"),
        ({**LIKE, "a": torch.zeros(3).to_sparse()}, "sparse"),
        ({**LIKE, "a": torch.full((3,), torch.nan)}, "NaN"),
        ({**LIKE, "b": torch.zeros(2)}, "float32"),
        ({**LIKE, "b": torch.zeros(3, dtype=torch.int64)}, r"\(3,\)"),
    ],
)
def test_a_saved_state_is_checked_whole(saved: Any, said: str) -> None:
    with pytest.raises(StateError, match=said):
        check_saved(saved, LIKE)


def test_times_that_never_come_may_be_saved() -> None:
    never = {**LIKE, "a": torch.full((3,), torch.inf)}
    assert check_saved(never, LIKE) == never


def spoiled(name: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda good: {**good, name: value}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: None,
        lambda good: "state",
        spoiled("rows.ended", [False] * 3),
        spoiled("rows.ended", torch.zeros(3, dtype=torch.bool, device="meta")),
        spoiled("rows.seed", torch.full((3,), -1)),
        spoiled("rows.step", torch.full((3,), -1)),
    ],
)
def test_a_refused_state_changes_nothing(spoil: Callable[[Any], Any]) -> None:
    env: Any = gym.make_vec(LIMIT, 3)
    env.reset(seed=0)
    good = env.state_dict()
    env.step(env.action_space.sample())
    before = env.state_dict()
    with pytest.raises(StateError):
        env.load_state_dict(spoil(good))
    assert all(torch.equal(v, env.state_dict()[k]) for k, v in before.items())
    env.load_state_dict(good)


# ------------------------------------------------------------------------------- Stable-Baselines3


@pytest.fixture
def view() -> SixgymSB3VecEnv:
    made = make_vec_env(LIMIT, 3, seed=0)
    made.reset()
    return made


@pytest.mark.parametrize("seed", [1.5, "0", "", float("nan"), [], True, -1, 10**30])
def test_a_block_of_seeds_is_chosen_by_a_whole_number(view: SixgymSB3VecEnv, seed: Any) -> None:
    with pytest.raises(SeedError, match="train"):
        view.seed(seed)
    with pytest.raises(SeedError, match="tuning"):
        row_seed("tuning", seed)


def test_unknown_attributes_and_methods_are_both_kinds_of_error(view: SixgymSB3VecEnv) -> None:
    """SB3 itself asks for attributes that may not be there, and waits for an AttributeError."""
    for call in (view.get_attr, view.env_method):
        for name in ("no_such_name", "", 5, None):
            with pytest.raises(NoAttributeError) as refused:
                call(name)
            assert isinstance(refused.value, AttributeError)
            assert isinstance(refused.value, OptionsError)
    with pytest.raises(NoAttributeError, match="num_envs"):
        view.env_method("num_envs")
    with pytest.raises(NoAttributeError):
        view.set_attr(5, 1)  # type: ignore[arg-type]
    assert not view.has_attr("no_such_name")
    assert not view.has_attr(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("indices", [3, -4, 1.5, "all", [0, 3], [None], ["a"], Odd()])
def test_rows_that_are_not_there_are_named(view: SixgymSB3VecEnv, indices: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: view.get_attr("num_envs", indices),
        lambda: view.set_attr("note", 1, indices),
        lambda: view.env_method("action_masks", indices=indices),
        lambda: view.env_is_wrapped(object, indices),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(OptionsError, match="indices"):
            call()


def test_rows_are_found_as_sb3_names_them(view: SixgymSB3VecEnv) -> None:
    for indices, count in ((None, 3), (0, 1), (-1, 1), ([0, 2], 2), (np.array([1]), 1)):
        assert view.get_attr("num_envs", indices) == [3] * count  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        5,
        "options",
        Odd(),
        [5] * 3,
        [{}],
        [{"rtt_s": 0.1}, {}, {}],
        {"reset_mask": np.ones(3, bool)},
    ],
)
def test_options_are_of_all_rows_together(view: SixgymSB3VecEnv, options: Any) -> None:
    with pytest.raises(OptionsError, match="options"):
        view.set_options(options)


def test_refused_options_are_forgotten_and_statistics_go_on(view: SixgymSB3VecEnv) -> None:
    view.step(np.stack([view.action_space.sample()] * 3))
    before = view.state_dict()
    view.set_options({"no_such_option": 1})
    with pytest.raises(OptionsError, match="no_such_option"):
        view.reset()
    assert all(torch.equal(v, view.state_dict()[k]) for k, v in before.items())
    view.reset()
    view.set_options([{"rtt_s": 0.1}] * 3)
    view.reset()


@pytest.mark.parametrize("value", [[0.0] * 3, np.zeros(3), torch.zeros(3), torch.zeros(2).double()])
def test_statistics_of_another_kind_are_refused(view: SixgymSB3VecEnv, value: Any) -> None:
    saved: dict[str, Any] = {**view.state_dict(), "episode.returns": value}
    with pytest.raises(StateError, match=r"episode\.returns"):
        view.load_state_dict(saved)


def test_a_team_names_what_is_no_action() -> None:
    team = make_team_vec_env(MAC, 1, seed=0)
    team.reset()
    for action in (Odd(), [[], [1]]):
        team.step_async(action)  # type: ignore[arg-type]
        with pytest.raises(ActionTypeError, match="actions"):
            team.step_wait()


# -------------------------------------------------------------------------------------- PettingZoo


@pytest.mark.parametrize("actions", [None, 5, "go", [], Odd()])
def test_moves_are_a_dictionary(actions: Any) -> None:
    view = parallel_env(MAC)
    view.reset(seed=0)
    with pytest.raises(ActionError, match="actions"):
        view.step(actions)


@pytest.mark.parametrize("make", [parallel_env, aec_env])
@pytest.mark.parametrize("options", ["options", 5, ["a"], Odd()])
def test_options_of_a_game_are_a_dictionary(make: Any, options: Any) -> None:
    with pytest.raises(OptionsError, match="options"):
        make(MAC).reset(seed=0, options=options)


@pytest.mark.parametrize("agent", ["nobody", "", None, 5, [], Odd()])
def test_unknown_agents_see_and_do_nothing(agent: Any) -> None:
    view = aec_env(MAC)
    with pytest.raises(StateError, match="reset"):
        view.observe(agent)
    view.reset(seed=0)
    for call in (view.observe, view.observation_space, view.action_space):
        with pytest.raises(OptionsError, match="agent"):
            call(agent)


def test_agents_in_turn_are_told_when_nobody_is_there() -> None:
    view = aec_env(MAC, max_episode_steps=1)
    for call in (view.last, view.state, lambda: view.step(0)):
        with pytest.raises(StateError, match="reset"):
            call()
    view.reset(seed=0)
    view.last()
    while not view.truncations[view.agent_selection]:
        view.step(view.action_space(view.agent_selection).sample())
    with pytest.raises(ActionError, match="allowed: None"):
        view.step(view.action_space(view.agent_selection).sample())
    while view.agents:
        view.step(None)
    with pytest.raises(StateError, match="after the end"):
        view.last()


# ----------------------------------------------------------------------------------------- TorchRL


def test_torchrl_names_masks_seeds_and_moves() -> None:
    pytest.importorskip("torchrl", reason="the extra `torchrl`")
    from tensordict import TensorDict

    from sixgym.envs.core.torchrl_game import make_torchrl_game
    from sixgym.envs.core.torchrl_view import make_torchrl_env

    # TorchRL makes "spawn" the start method of the whole process, also for the tests of others.
    multiprocessing.set_start_method(None, force=True)
    view = make_torchrl_env(LIMIT, 2)
    view.reset()
    before = {k: v.clone() for k, v in view.rows.state_dict().items()}
    mask = TensorDict({"_reset": torch.ones(2, 1)}, batch_size=[2])
    with pytest.raises(OptionsError, match="_reset"):
        view.reset(mask)
    for seed in (-1, "a", 1.5):
        with pytest.raises(SeedError):
            view.set_seed(seed)
    assert all(torch.equal(v, view.rows.state_dict()[k]) for k, v in before.items())
    game = make_torchrl_game(MAC, 2)
    with pytest.raises(ActionError, match="action"):
        game.step(game.reset())


# ----------------------------------------------------------------------------------------- registry

SYSTEM = "sixgym.envs.ris_noma.system:RisNoma"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None),
        ("id", []),
        ("id", b"a/B-v0"),
        ("id", "a/B-v" + "9" * 5000),
        ("system", None),
        ("system", ""),
        ("system", "no_colon"),
        ("system", "module:"),
        ("system", int),
        ("max_episode_steps", 0),
        ("max_episode_steps", 1.5),
        ("max_episode_steps", True),
        ("max_episode_steps", "ten"),
        ("title", 5),
        ("baselines", 5),
        ("evaluation", 5),
        ("evaluation", ["a"]),
        ("parallel", "action_mode"),
        ("splits", 5),
        ("splits", {5: {}}),
        ("splits", {"held_out": 5}),
        ("splits", {"held_out": {"a": 5}}),
    ],
)
def test_what_cannot_be_registered_is_named_and_leaves_nothing(field: str, value: Any) -> None:
    ids = set(gym.registry), {e.id for e in registry.entries()}
    full = {"id": "faulty/Case-v0", "system": SYSTEM, "max_episode_steps": 5, field: value}
    with pytest.raises(OptionsError, match=field):
        registry.register(**full)  # type: ignore[arg-type]
    assert ids == (set(gym.registry), {e.id for e in registry.entries()})


@pytest.mark.parametrize("id", [None, 5, [], {"id": 1}, Odd()])
def test_an_id_is_a_text(id: Any) -> None:
    with pytest.raises(UnknownIdError, match="id"):
        registry.entry(id)


@pytest.mark.parametrize("path", ["", ":", "..relative:X", "os:getcwd", "json:JSONDecoder", "os:"])
def test_a_system_is_a_class_of_ours(path: str) -> None:
    with pytest.raises(UnknownIdError, match="system"):
        registry.load_system(path)


@pytest.mark.parametrize("value", ["", "a b.c"])
def test_an_entry_point_that_is_none_is_left_out(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import metadata

    point = metadata.EntryPoint("faulty", value, plugins.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])
    plugins.load.cache_clear()
    try:
        with pytest.warns(PluginWarning, match="left out"):
            assert plugins.load() == {}
    finally:
        plugins.load.cache_clear()


def test_every_named_error_is_a_value_error() -> None:
    for error in (NoAttributeError, ActionTypeError, SeedError):
        assert issubclass(error, SixgymError)
        with contextlib.suppress(ValueError):
            raise error("x")
