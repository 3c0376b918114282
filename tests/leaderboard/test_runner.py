"""Evaluations and benchmarks: paired, repeatable, resumable."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sixgym.envs.core.errors import OptionsError, ParamsError, PolicyError, UnknownIdError
from sixgym.envs.core.registry import entries
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard import benchmark, evaluate, runner
from sixgym.leaderboard.players import find_player, reference_of
from sixgym.leaderboard.protocol import EPISODES
from sixgym.leaderboard.runner import make_rows, policy_names, task_of
from sixgym.leaderboard.store import Result, load, load_all

HYBRID, SELECT = "sixgym/RisNoma-v0", "sixgym/RisNomaSelect-v0"
SHORT: dict[str, Any] = {"episodes": 5, "max_episode_steps": 4}


def without_times(result: Result) -> Any:
    content = result.model_dump()
    for run in content["runs"]:
        del run["timing"]
    return content


def close(one: Result, other: Result) -> bool:
    """Equal to the rounding of float32: batched products of small batches sum in another order."""
    a, b = one.runs[0], other.runs[0]
    columns = [(a.reward, b.reward), *((a.sums[k], b.sums[k]) for k in a.sums)]
    return all(np.allclose(x, y, rtol=1e-4, atol=1e-4) for x, y in columns)


def test_a_row_is_a_function_of_its_seeds() -> None:
    one, other = (evaluate(SELECT, "round_robin", **SHORT) for _ in range(2))
    assert without_times(one) == without_times(other)
    assert one.runs[0].length == [4] * 5


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_the_batch_changes_a_row_by_rounding_only(rows: int) -> None:
    wanted = evaluate(SELECT, "round_robin", **{**SHORT, "episodes": 9})
    assert close(wanted, evaluate(SELECT, "round_robin", rows=rows, **{**SHORT, "episodes": 9}))


def test_the_default_is_the_protocols_own_episodes() -> None:
    task = task_of(SELECT)
    assert task.is_official
    assert task.episodes == EPISODES == 256
    assert task.seeds[0] == row_seed("evaluation", task.version)
    assert task.horizon == 100
    assert task.reference == "ao"
    assert not task_of(SELECT, seed=3).is_official


@pytest.mark.parametrize("name", ["EventOffload", "EventOffloadExit", "EventOffloadMulti"])
def test_event_offloading_is_judged_on_events_that_were_held_back(name: str) -> None:
    id = f"sixgym/{name}-v0"
    task = task_of(id)
    assert task.is_official
    assert task.params == {"split": "test"}
    assert make_rows(id, 1, task.params).system.params.split == "test"
    assert task_of(id, params={"split": "calib"}).params == {"split": "calib"}


def test_evaluation_episodes_are_the_first_of_a_longer_row() -> None:
    """So a quick look and the board agree on the episodes that they share."""
    few = evaluate(HYBRID, "ao1", **SHORT)
    more = evaluate(HYBRID, "ao1", **{**SHORT, "episodes": 8})
    assert np.allclose(more.runs[0].reward[:5], few.runs[0].reward, rtol=1e-4, atol=1e-4)


def test_the_seed_moves_the_worlds() -> None:
    one = evaluate(SELECT, "round_robin", seed=7, **SHORT)
    shifted = evaluate(SELECT, "round_robin", seed=8, **SHORT)
    assert one.runs[0].reward[1:] == shifted.runs[0].reward[:-1]
    assert one.runs[0].reward != shifted.runs[0].reward


def test_one_world_in_both_ids() -> None:
    """ao plays RisNomaSelect through RisNoma: the same numbers as in its own table."""
    there, here = evaluate(SELECT, "ao1", **SHORT), evaluate(HYBRID, "ao1", **SHORT)
    assert there.policy.env_id == HYBRID
    assert there.runs[0].sums == here.runs[0].sums


def test_what_only_concerns_the_choice_does_not_disturb_who_acts_elsewhere() -> None:
    held = evaluate(SELECT, "ao1", hold="queue", **SHORT)
    assert held.task.params["hold"] == "queue"
    assert held.runs[0].sums == evaluate(SELECT, "ao1", **SHORT).runs[0].sums


class Biggest:
    """An object with predict is a policy too."""

    name = "biggest"

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, Any]:
        return np.full(len(observation), 2), None


def test_any_object_with_predict_is_evaluated() -> None:
    result = evaluate(SELECT, Biggest(), **SHORT)
    assert result.policy.name == "biggest"
    assert result.policy.source == "file"


def test_progress_reaches_the_end() -> None:
    told: list[tuple[int, int]] = []
    evaluate(SELECT, "random", progress=lambda done, total: told.append((done, total)), **SHORT)
    assert told[-1] == (5, 5)


@pytest.mark.parametrize(
    ("call", "error", "what"),
    [
        ({"policy": "clairvoyant"}, UnknownIdError, "'clairvoyant': unknown.*round_robin"),
        ({"num_users": 0}, ParamsError, "num_users"),
        ({"nonsense": 1}, ParamsError, "nonsense"),
        ({"episodes": 0}, OptionsError, "episodes=0"),
        ({"seed": -1}, OptionsError, "seed=-1"),
    ],
)
def test_wrong_calls_are_one_line_errors(
    call: dict[str, Any], error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what) as caught:
        evaluate(SELECT, **{"policy": "random", **SHORT, **call})
    assert "\n" not in str(caught.value)


def test_unknown_environments_are_refused() -> None:
    with pytest.raises(UnknownIdError, match="not registered"):
        evaluate("sixgym/RisNome-v0")


def test_a_policy_of_another_horizon_cannot_be_paired() -> None:
    player = find_player(SELECT, "ao")
    longer = player.card.model_copy(update={"env_kwargs": {"max_episode_steps": 9}})
    with pytest.raises(PolicyError, match="horizon of 9; allowed: the task's 4"):
        runner.play(
            task_of(SELECT, episodes=2, params={"max_episode_steps": 4}),
            type(player)(longer, player.members),
        )


def test_a_benchmark_stores_rows_prints_the_table_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["random", "round_robin", "ao"]
    first = benchmark(SELECT, tmp_path, policies=names[:2], **SHORT)
    assert [r.policy.name for r in first] == names[:2]
    assert load_all(tmp_path) == sorted(first, key=lambda r: r.file_name)
    capsys.readouterr()
    played = []
    really = runner.play

    def counted(task: Any, player: Any, **kwargs: Any) -> Result:
        played.append(player.card.name)
        return really(task, player, **kwargs)

    monkeypatch.setattr(runner, "play", counted)
    again = benchmark(SELECT, tmp_path, policies=names, resume=True, **SHORT)
    assert played == ["ao"]
    assert [r.policy.name for r in again] == names
    assert again[:2] == first
    text = capsys.readouterr().out
    assert "energy_efficiency_bit_per_j" in text
    assert "Normalised: 0 = random, 1 = ao" in " ".join(text.split())
    rows = [line.split() for line in text.splitlines()]
    by_name = {row[0]: row for row in rows if row and row[0] in names}
    assert set(by_name) == set(names)
    assert by_name["ao"][4] == "1.00"  # policy, sees, score, interval, normalised
    assert by_name["random"][4] == "0.00"


def test_a_stored_row_is_played_again_to_the_last_bit(tmp_path: Path) -> None:
    benchmark(SELECT, tmp_path, policies=["rollout4"], quiet=True, seed=11, **SHORT)
    (path,) = tmp_path.rglob("*.json")
    stored = load(path)
    task = stored.task
    again = evaluate(
        task.env_id,
        stored.policy.name,
        episodes=task.episodes,
        seed=task.first_seed,
        **task.params,
    )
    assert without_times(again) == without_times(stored)


def test_two_policies_of_one_name_are_refused_before_playing(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="two are called 'random'"):
        benchmark(SELECT, tmp_path, policies=["random", "ao1", "random"], **SHORT)
    assert not list(tmp_path.iterdir())


def test_quiet_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark([SELECT], tmp_path, policies=["random"], quiet=True, **SHORT)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("id", [e.id for e in entries() if e.id.startswith("sixgym/")])
def test_every_environment_has_a_board(id: str) -> None:
    names = policy_names(id)
    assert {"random", "constant"} <= set(names)
    assert len(names) == len(set(names))
    for name in names:
        assert find_player(id, name).members
    assert reference_of(id) in names


def test_the_table_fits_80_columns_uncut() -> None:
    from rich.console import Console

    from sixgym.leaderboard.board import make_board
    from sixgym.leaderboard.table import board_table

    rows = [evaluate(SELECT, name, **SHORT) for name in ("order_ascending", "random", "only_order")]
    stream = io.StringIO()
    Console(width=80, file=stream).print(board_table(make_board(rows)))
    text = stream.getvalue()
    assert "order_ascending" in text
    assert "\u2026" not in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (6.2e-4, "0.000620"), (4504.4, "4504"), (2.3e7, "2.30e+07"), (np.nan, "-")],
)
def test_numbers_read_plainly(value: float, shown: str) -> None:
    from sixgym.leaderboard.table import number

    assert number(value, 3) == shown
