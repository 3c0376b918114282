"""The bad inputs that `faults` tries: nasty ones by hand, and strategies of Hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trial:
    """One input, and what is done with it."""

    surface: str
    where: str
    shown: str
    """The input, for a person."""
    run: Callable[[], object]
    must_fail: bool = False
    """Whether it must be refused; else it may be accepted where it makes sense."""
    after: Callable[[], object] | None = None
    """What must still work afterwards."""
    must_pass: bool = False
    """Whether it must be accepted: there is nothing wrong with it."""


def drawn(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    """As many values of a strategy, the same in every run."""
    found: list[Any] = []

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(value: Any) -> None:
        found.append(value)

    keep()
    return found[:number]


class Odd:
    """An object that answers nothing."""

    def __repr__(self) -> str:
        return "Odd()"

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        raise RuntimeError("no array")


def _ring() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


HUGE = 10**400
ACTIONS: tuple[Any, ...] = (
    None,
    "go",
    b"go",
    Odd(),
    object(),
    HUGE,
    -HUGE,
    1e400,
    float("nan"),
    1j,
    (),
    [],
    {},
    {"action": 0},
    set(),
    [[], [1]],
    [[0, 1], [2]],
    [None],
    _ring(),
    lambda: 0,
    np.array("go"),
    np.array([None], dtype=object),
    np.empty((0,)),
    np.zeros((7, 7, 7)),
    np.array("2001-01-01", dtype="datetime64[D]"),
    np.zeros(3, dtype=[("a", "i4")]),
    np.full((3, 1000), np.nan),
    torch.zeros(2, 2, dtype=torch.complex64),
    torch.full((1,), float("inf")),
    torch.zeros(3, device="meta"),
    torch.zeros(3).to_sparse(),
    range(999),
    iter([1, 2]),
)
"""What no space of the suite contains."""

SEEDS: tuple[Any, ...] = (
    -1,
    -HUGE,
    HUGE,
    2**64,
    1.5,
    float("nan"),
    float("inf"),
    "0",
    b"0",
    "",
    True,
    (),
    [],
    [-1],
    [1, 2, 3, 4],
    ["a", "b", "c"],
    [1.5, 2, 3],
    [None, -1, 3],
    {},
    {"seed": 1},
    set(),
    np.float64(3.0),
    np.array(-1),
    np.array([1.0, 2.0, 3.0]),
    np.array([[1, 2, 3]]),
    np.array(["a", "b", "c"]),
    torch.tensor(-1),
    torch.tensor(1.5),
    Odd(),
    object(),
    1j,
    np.random.default_rng(0),
)

OPTIONS: tuple[Any, ...] = (
    {"no_such_option": 1},
    {"reset_mask": None},
    {"reset_mask": "all"},
    {"reset_mask": [True, False, True]},
    {"reset_mask": np.zeros(3, dtype=bool)},
    {"reset_mask": np.ones(4, dtype=bool)},
    {"reset_mask": np.ones(3)},
    {"reset_mask": Odd()},
    {"": 0},
    {1: 2},
    {None: None},
    {("a", "b"): 1},
    "options",
    5,
    ["split"],
    {"split": None, "gamma": 3},
    Odd(),
)

ARGUMENTS: tuple[dict[str, Any], ...] = (
    {"no_such_argument": 1},
    {"num_envs": 0},
    {"num_envs": -3},
    {"preset": "no_such_preset"},
    {"preset": 3},
    {"preset": ["a"]},
    {"preset": Odd()},
    {"device": "abacus"},
    {"device": "cuda:99"},
    {"device": 1.5},
    {"device": "meta"},
    {"dtype": "float16"},
    {"dtype": "int64"},
    {"dtype": 32},
    {"info_level": -1},
    {"info_level": 7},
    {"info_level": "all"},
    {"info_level": None},
    {"autoreset_mode": "sometimes"},
    {"autoreset_mode": 3},
    {"autoreset_mode": None},
    {"output": "list"},
    {"output": None},
    {"render_mode": "3d"},
    {"render_mode": 5},
    {"max_episode_steps": 0},
    {"max_episode_steps": -5},
    {"max_episode_steps": 1.5},
    {"max_episode_steps": "ten"},
    {"compile": "maybe"},
)
"""Of ``gym.make_vec``, whatever the id."""

CLI_IDS = "sixgym/RisNoma-v0"
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("no-such-command",),
    ("--no-such-option",),
    ("--import", "no.such.module", "list"),
    ("info",),
    ("info", "sixgym/NoSuch-v0"),
    ("info", ""),
    ("info", "../../etc/passwd"),
    ("info", "no spaces/please -v0"),
    ("info", "a" * 5000),
    ("info", CLI_IDS, "--set", "num_users"),
    ("info", CLI_IDS, "--set", "num_users=many"),
    ("info", CLI_IDS, "--set", "num_users=-1"),
    ("info", CLI_IDS, "--set", "no_such=1"),
    ("info", CLI_IDS, "--set", "=1"),
    ("info", CLI_IDS, "--set", "num_users.a=1"),
    ("info", CLI_IDS, "--set", "num_users=!!python/object/apply:os.getcwd []"),
    ("info", CLI_IDS, "--set", "num_users=" + "[" * 2000),
    ("info", CLI_IDS, "--set", "num_users=" + "9" * 5000),
    ("info", CLI_IDS, "--set", "num_users={"),
    ("train", "no/such"),
    ("train", "FOLDER"),
    ("train", "/dev/null/x.yaml"),
    ("train", "ris_noma/ppo", "--set", "total_steps=-5"),
    ("train", "ris_noma/ppo", "--set", "total_steps=.nan"),
    ("train", "ris_noma/ppo", "--set", "algorithm=magic"),
    ("train", "ris_noma/ppo", "--set", "env=sixgym/NoSuch-v0"),
    ("train", "ris_noma/ppo", "--set", "seeds=[]"),
    ("train", "ris_noma/ppo", "--set", "hyperparameters.gamma=two"),
    ("train", "ris_noma/ppo", "--set", "name=../../escape"),
    ("train", "ris_noma/ppo", "--set", "device=abacus"),
    ("evaluate",),
    ("evaluate", "sixgym/NoSuch-v0"),
    ("evaluate", CLI_IDS, "--policy", "no_such_policy"),
    ("evaluate", CLI_IDS, "--policy", "FOLDER"),
    ("evaluate", CLI_IDS, "--policy", "FOLDER/none.safetensors"),
    ("evaluate", CLI_IDS, "--policy", "llm:FOLDER/none.yaml"),
    ("evaluate", CLI_IDS, "--policy", ""),
    ("evaluate", CLI_IDS, "--policy", "\u0000"),
    ("evaluate", CLI_IDS, "--episodes", "0"),
    ("evaluate", CLI_IDS, "--episodes", "-3"),
    ("evaluate", CLI_IDS, "--episodes", "many"),
    ("evaluate", CLI_IDS, "--episodes", "1", "--seed", "-1"),
    ("evaluate", CLI_IDS, "--episodes", "1", "--seed", str(2**70)),
    ("evaluate", CLI_IDS, "--episodes", "2", "--against", "no_such_policy"),
    ("benchmark", "--env", "sixgym/NoSuch-v0", "--results", "FOLDER/results"),
    ("benchmark", "--env", CLI_IDS, "--policy", "nobody", "--results", "FOLDER/results"),
    ("benchmark", "--split", "no_such_split"),
    ("benchmark", "--engine", "magic"),
    ("claims", "sixgym/NoSuch-v0"),
    ("claims", CLI_IDS, "--only", "C999", "--out", "FOLDER/claims"),
    ("claims", CLI_IDS, "--jobs", "0"),
    ("render", CLI_IDS),
    ("render", CLI_IDS, "--out", "FOLDER/film.xyz"),
    ("render", CLI_IDS, "--out", "FOLDER"),
    ("render", CLI_IDS, "--out", "/dev/null/film.png", "--steps", "1"),
    ("render", CLI_IDS, "--out", "FOLDER/film.png", "--steps", "0"),
    ("render", "sixgym/NoSuch-v0", "--out", "FOLDER/film.png"),
    ("check", "no.such:thing"),
    ("check", "sixgym/NoSuch-v0"),
    ("check", "os:getcwd"),
    ("check", CLI_IDS, "--only", "no_such_check"),
    ("new", ""),
    ("new", "class", "--into", "FOLDER"),
    ("new", "../escape", "--into", "FOLDER"),
    ("new", "9lives", "--into", "FOLDER"),
    ("new", "sixgym", "--into", "FOLDER"),
    ("new", "ok_env", "--into", "/dev/null/x"),
    ("dataset", "sixgym/NoSuch-v0", "--out", "FOLDER/data"),
    ("dataset", CLI_IDS, "--episodes", "0", "--out", "FOLDER/data"),
    ("dataset", CLI_IDS, "--name", "no name at all", "--out", "FOLDER/data", "--episodes", "1"),
    ("tune", "no/such"),
    ("tune", "ris_noma/ppo", "--space", "FOLDER/none.yaml"),
    ("tune", "ris_noma/ppo", "--trials", "0"),
    ("train-zoo", "no_such_pattern/*", "--list"),
    ("leaderboard", "build", "--results", "FOLDER/no_results", "--out", "FOLDER/site"),
    ("leaderboard", "verify", "FOLDER/no_row.json"),
    ("leaderboard", "submit", "FOLDER/no_submission"),
    ("leaderboard", "no-such"),
)
"""``FOLDER`` stands for an empty scratch folder."""

_LEAVES: tuple[Any, ...] = (
    None,
    True,
    -1,
    HUGE,
    float("nan"),
    float("inf"),
    1e308,
    5e-324,
    "",
    "text",
    "\u0000",
    b"bytes",
    1j,
)
PARAM_VALUES: tuple[Any, ...] = (
    *_LEAVES,
    -HUGE,
    -float("inf"),
    -1e308,
    -0.0,
    0,
    0.0,
    1.5,
    2**63,
    (),
    [],
    {},
    [None],
    ("a", "b"),
    (float("nan"),),
    {"a": 1},
    Odd(),
    np.zeros(2),
    np.float32("nan"),
    torch.tensor(1.0),
)


def anything() -> st.SearchStrategy[Any]:
    """Nested values of all kinds that a person's program might hand in."""
    arrays = st.builds(
        lambda shape, dtype, fill: np.full(shape, fill).astype(dtype),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
        st.sampled_from(["f4", "f8", "f2", "i8", "i1", "u8", "?", "c8", "O", "U3"]),
        st.sampled_from([0, 1, 2, -1, 100]),
    )
    leaves = st.one_of(
        st.sampled_from(_LEAVES),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        arrays,
        arrays.filter(lambda a: a.dtype.kind in "fiu?" and a.dtype != np.dtype("u8")).map(
            torch.from_numpy
        ),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(st.text(max_size=4), inner, max_size=3),
        ),
        max_leaves=6,
    )


def options_like(names: Sequence[str]) -> st.SearchStrategy[Any]:
    """Options with known names and values of all kinds."""
    return st.dictionaries(st.sampled_from(names), anything(), min_size=1, max_size=2)


def values_of(name: str, fuzz: int) -> list[Any]:
    """Values for a parameter: the nasty ones, and a few drawn ones."""
    return [*PARAM_VALUES, *drawn(anything(), max(1, fuzz // 10))]


def spoiled(good: Any) -> list[Any]:
    """A good action with one thing wrong."""
    if isinstance(good, dict):
        name = next(iter(good))
        more = [{**good, name: bad} for bad in spoiled(good[name])]
        return [*more, {**good, "extra": 0}, {k: v for k, v in good.items() if k != name}]
    array = np.asarray(good)
    found: list[Any] = [
        np.stack([array] * 5),
        array.astype("U8"),
        array.astype(np.complex64),
        [None] * max(1, array.size),
    ]
    if array.ndim:
        found += [array[:-1], array.tolist()[:-1], np.concatenate([array, array])]
    if array.dtype.kind == "f":
        for bad in (np.nan, np.inf, -np.inf, 1e30, -1e30):
            odd = array.copy()
            odd.flat[-1] = bad
            found.append(odd)
    else:
        for bad in (-1, 10**6, np.iinfo(np.int64).max):
            odd = array.astype(np.int64).copy()
            odd.flat[-1] = bad
            found.append(odd)
        found.append(array.astype(np.float64) + 0.5)
    return found


MASKS: tuple[Any, ...] = (
    None,
    True,
    1,
    "all",
    b"\x01\x01\x01",
    [True, False, True],
    (True, True, True),
    {"a": True},
    {0, 1, 2},
    Odd(),
    np.zeros(3, dtype=bool),
    np.ones(2, dtype=bool),
    np.ones(4, dtype=bool),
    np.ones((3, 1), dtype=bool),
    np.ones((), dtype=bool),
    np.ones(3),
    np.ones(3, dtype=np.int8),
    np.full(3, np.nan),
    np.array(["a", "b", "c"]),
    np.array([True, None, False], dtype=object),
    torch.ones(3),
    torch.zeros(3, dtype=torch.bool),
    torch.ones(3, dtype=torch.bool, device="meta"),
    torch.ones(3, dtype=torch.bool).to_sparse(),
    torch.ones(3, dtype=torch.bfloat16),
)
"""Of three rows, none of them."""

INDICES: tuple[Any, ...] = (
    10**6,
    -(10**6),
    10**30,
    "all",
    b"0",
    1.5,
    float("nan"),
    [0, 10**6],
    [None],
    ["a"],
    [[0]],
    {"a": 1},
    np.array([0.5]),
    Odd(),
)
"""Of SB3's environments, none of them."""

STATES: tuple[Any, ...] = (
    None,
    5,
    "state",
    [],
    {},
    {"state": 1},
    {1: torch.zeros(1)},
    {None: None},
    Odd(),
)
"""That are loaded, none of them one."""


def spoiled_states(
    good: Mapping[str, torch.Tensor], names: Collection[str] | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """A good state with one thing wrong, with a name each.

    Args:
        good: the state.
        names: of the tensors that are spoiled; None: all.
    """
    found: list[tuple[str, dict[str, Any]]] = [("one more", {**good, "no.such": torch.zeros(1)})]
    for name in good if names is None else sorted(names):
        value = good[name]
        without = {k: v for k, v in good.items() if k != name}
        found.append((f"without {name}", without))
        bad: dict[str, Any] = {
            "no tensor": None,
            "a list": value.tolist(),
            "an array": value.numpy(),
            "an axis more": value[None],
            "a row less": value[:-1],
            "complex": value.to(torch.complex64),
            "meta": value.to("meta"),
        }
        if value.is_floating_point():
            bad |= {"in half": value.half(), "NaN": torch.full_like(value, torch.nan)}
        elif value.dtype is not torch.bool:
            bad |= {"as floats": value.double()}
        if name.startswith("rows.") and value.dtype is torch.int64:
            bad |= {"negative": -1 - value}
        if value.numel() == 0:  # nothing in it to be wrong
            for shown in ("NaN", "a row less"):
                bad.pop(shown, None)
        found += [(f"{name} {shown}", {**good, name: odd}) for shown, odd in bad.items()]
    return found


def masks_like() -> st.SearchStrategy[Any]:
    """Masks of about three rows, and anything."""
    sizes = st.lists(st.integers(0, 4), max_size=2).map(tuple)
    kinds = st.sampled_from(["?", "i1", "f4", "O", "U1"])
    arrays = st.builds(lambda shape, kind: np.ones(shape).astype(kind), sizes, kinds)
    return st.one_of(arrays, anything())
