"""Environments by others go through the checks; each fault of a broken one is found and named."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import guests
from pettingzoo.env_registry import registration

from sixgym.envs.core.conformance import Verdict, check_target, checks_for
from sixgym.envs.core.conformance.guest import target
from sixgym.envs.core.errors import ConformanceError, OptionsError, UnknownIdError

SEES_BUFFERS = tuple(map(int, gym.__version__.split(".")[:2])) >= (1, 4)
"""Whether Gymnasium's own checker notices that an observation is written again."""
GAMES = ("Pair", "NewSpaces", "DeafPair")


for name in ("mo_gymnasium", "mobile_env"):  # they register once a process
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    before, games = dict(gym.registry), dict(registration.parallel_registry)
    for name in vars(guests):
        kind = getattr(guests, name)
        if isinstance(kind, type) and issubclass(kind, guests.Walk):
            given = {"kind": guests.Walk} if name == "Chosen" else {}
            gym.register(f"guest/{name}-v0", f"guests:{name}", max_episode_steps=30, kwargs=given)
    for name in GAMES:
        registration.register("parallel", f"guest/{name}-v0", f"guests:{name}")
    yield
    gym.registry.clear()
    gym.registry.update(before)
    registration.parallel_registry.clear()
    registration.parallel_registry.update(games)


def verdict(name: str, check: str) -> Verdict:
    (found,) = check_target(f"guest/{name}-v0", only=[check])
    return found


@pytest.mark.parametrize("name", ["Walk", "Pair"])
def test_a_sound_guest_passes_everything(name: str) -> None:
    verdicts = check_target(f"guest/{name}-v0")
    assert {v.check.name: v.message for v in verdicts if v.status in ("fail", "warn")} == {}
    assert sum(v.status == "pass" for v in verdicts) >= 14


@pytest.mark.parametrize(
    ("name", "check", "words"),
    [
        ("Deaf", "gymnasium_check_env", "non-deterministic"),
        ("Deaf", "seed_starts_over", "the seed does not decide the episode"),
        ("Deaf", "another_seed_is_another_episode", "the seed is ignored"),
        ("GlobalDice", "same_seed_same_trajectory", "reset differs"),
        ("GlobalDice", "global_generators_untouched", "numpy.random"),
        ("Reseeder", "global_generators_untouched", "of random was used or seeded"),
        ("Outside", "observations_in_their_space", "allowed: -9.0 to 9.0"),
        ("Wide", "observations_in_their_space", "float64 of shape (2,); allowed: float32"),
        ("Breaks", "corners_stay_finite", "not finite"),
        ("OneBuffer", "nothing_is_written_again", "observation of call 0"),
        pytest.param(
            *("OneBuffer", "gymnasium_check_env", ""),
            marks=pytest.mark.skipif(not SEES_BUFFERS, reason="Gymnasium from 1.4 on sees buffers"),
        ),
        ("Integers", "ends_by_the_rules", "flags of type int; allowed: bool"),
        ("Rewarded", "rewards_are_numbers", "a dict, {'left': "),
        ("Growing", "rewards_are_numbers", "of shapes"),
        ("Shared", "rows_are_environments", "rows share something"),
        ("Unmade", "can_be_made", "OSError: no such trace"),
        ("NewSpaces", "pettingzoo_spaces", "another object in every call"),
        ("DeafPair", "seed_starts_over", "the seed does not decide the episode"),
        ("DeafPair", "another_seed_is_another_episode", "the seed is ignored"),
    ],
)
def test_each_fault_is_found_and_named(name: str, check: str, words: str) -> None:
    found = verdict(name, check)
    assert found.status == "fail", f"{check} let {name} pass"
    assert words in found.message


def test_what_breaks_no_rule_but_will_trip_somebody_is_a_warning() -> None:
    limit = verdict("Limited", "ends_by_the_rules")
    assert limit.status == "warn"
    assert "terminated after exactly 9 steps" in limit.message
    stuck = verdict("Stuck", "copies_continue")
    assert stuck.status == "warn"
    assert "no pickled copy" in stuck.message
    chosen = verdict("Chosen", "spec_round_trip")
    assert chosen.status == "warn"
    assert "no JSON" in chosen.message


def test_a_deterministic_environment_is_not_blamed_for_its_seed() -> None:
    found = verdict("Fixed", "another_seed_is_another_episode")
    assert found.passed is None
    assert "nothing random" in found.message


def test_where_nothing_can_be_made_the_rest_is_skipped() -> None:
    first, *rest = check_target("guest/Unmade-v0")
    assert first.status == "fail"
    assert {v.message for v in rest} == {"it cannot be made"}


def test_the_fast_checks_start_no_process() -> None:
    fast, all = (
        {c.name for c in checks_for(target("guest/Walk-v0"), slow=slow)} for slow in (False, True)
    )
    assert all - fast == {"gymnasiums_async"}


def test_mo_gymnasium_goes_through_and_its_time_limit_is_told() -> None:
    """FishWood sets both flags after 200 steps; its reward is a vector, its draws are seeded."""
    pytest.importorskip("mo_gymnasium")
    found = {v.check.name: v for v in check_target("mo_gymnasium:fishwood-v0")}
    assert [v.message for v in found.values() if v.status == "fail"] == []
    assert found["another_seed_is_another_episode"].status == "pass"
    assert "exactly 200 steps" in found["ends_by_the_rules"].message
    assert found["rows_are_environments"].passed is None
    assert found["rewards_are_numbers"].message.startswith("a vector of 2 parts")
    treasure = {v.check.name: v for v in check_target("mo_gymnasium:deep-sea-treasure-v0")}
    assert [v.message for v in treasure.values() if v.status == "fail"] == []
    assert treasure["another_seed_is_another_episode"].passed is None


def test_rewards_by_name_are_told_once_and_then_left_alone() -> None:
    found = {v.check.name: v for v in check_target("guest/Rewarded-v0")}
    assert {n for n, v in found.items() if v.status == "fail"} == {"rewards_are_numbers"}
    assert "the reward is no number" in found["rows_are_environments"].message


@pytest.mark.parametrize("id", ["mobile-small-central-v0", "mobile-small-ma-v0"])
def test_mobile_env_goes_through_and_its_faults_are_told(id: str) -> None:
    """What is known of version 2.1.0: reset(seed=...) is ignored; agents are paid in a dict."""
    pytest.importorskip("mobile_env", reason="mobile-env is not installed")
    found = {v.check.name: v for v in check_target(f"mobile_env:{id}")}
    assert found["another_seed_is_another_episode"].status == "fail"
    assert "the seed is ignored" in found["another_seed_is_another_episode"].message
    assert "the seed does not decide the episode" in found["seed_starts_over"].message
    failed = {n for n, v in found.items() if v.status == "fail"}
    seeds = {"gymnasium_check_env", "seed_starts_over", "another_seed_is_another_episode"}
    assert failed == (seeds if "central" in id else {*seeds, "rewards_are_numbers"})
    assert found["spec_round_trip"].status == "warn"
    assert found["numbers_are_finite"].status == "pass"


def test_a_function_of_a_module_is_a_target_too() -> None:
    assert target("guests:Walk").kind == "a Gymnasium environment"
    assert target("guests:Pair").kind == "a PettingZoo ParallelEnv"
    turns = target("pettingzoo.classic.rps_v2:env")
    assert turns.kind == "a PettingZoo AECEnv"
    verdicts = check_target("pettingzoo.classic.rps_v2:env", only=["ends_by_the_rules"])
    assert verdicts[0].message == "6 episodes of 32 steps: 6 truncated"


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("guest/Wolk-v0", UnknownIdError, "did you mean guest/Walk-v0"),
        ("nobody:X-v0", UnknownIdError, "no module nobody"),
        ("guests:Nothing", UnknownIdError, "no such function"),
        ("guests:Unmade", ConformanceError, "no such trace"),
        ("collections:OrderedDict", OptionsError, "makes a OrderedDict"),
    ],
)
def test_a_target_that_is_none_is_told(text: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        target(text)
