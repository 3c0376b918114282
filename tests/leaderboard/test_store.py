"""Stored rows: canonical, complete, and refused with the file and the field when they are not."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sixgym.envs.core.errors import ResultError
from sixgym.envs.core.rollout import Episodes
from sixgym.envs.core.worlds import row_seed
from sixgym.leaderboard.board import make_board, make_boards
from sixgym.leaderboard.protocol import EPISODES, ScoreSpec, Task
from sixgym.leaderboard.store import (
    Latency,
    PolicyCard,
    Result,
    dumps,
    load,
    load_all,
    run_of,
    save,
    write_atomically,
)

TASK = Task(
    env_id="toy/Thing-v3",
    version=1,
    params_hash="0123456789abcdef",
    horizon=5,
    first_seed=row_seed("evaluation", 1),
    episodes=4,
    scores=[
        ScoreSpec(
            name="efficiency",
            unit="bit/J",
            numerator="bit",
            denominator="joule",
            higher_is_better=True,
        ),
        ScoreSpec(
            name="lost", unit="1", numerator="lost", denominator="bit", higher_is_better=False
        ),
    ],
    random="random",
    reference="best",
)


def episodes(seed: int = 0, scale: float = 1.0) -> Episodes:
    rng = np.random.default_rng(seed)
    joule = rng.gamma(4.0, 1.0, 4)
    return Episodes(
        seeds=TASK.seeds,
        reward=rng.normal(size=4),
        length=np.full(4, 5),
        terminated=np.zeros(4, dtype=bool),
        sums={
            "bit": scale * joule * (1.0 + 0.1 * rng.normal(size=4)),
            "joule": joule,
            "lost": np.zeros(4),
        },
        decision_seconds=np.array([1e-3, 2e-3, 3e-3]),
        step_seconds=np.array([4e-3, 5e-3, 6e-3]),
        rows=4,
    )


def result(
    name: str = "one", scale: float = 1.0, seeds: tuple[int | None, ...] = (None,)
) -> Result:
    card = PolicyCard(
        name=name,
        source="baseline",
        kind="heuristic",
        sees="observation",
        description="For the test.",
        env_id=TASK.env_id,
    )
    runs = [run_of(episodes(i, scale), training_seed=s) for i, s in enumerate(seeds)]
    return Result(task=TASK, policy=card, runs=runs)


def test_a_row_reads_back_to_the_last_bit(tmp_path: Path) -> None:
    stored = result(seeds=(0, 1, 2))
    path = save(stored, tmp_path)
    assert path.relative_to(tmp_path).as_posix() == stored.file_name
    assert load(path) == stored
    assert load_all(tmp_path) == [stored]
    assert dumps(load(path)) == path.read_text()


def test_the_file_is_canonical(tmp_path: Path) -> None:
    text = save(result(), tmp_path).read_text()
    content = json.loads(text)
    shuffled = list(content)
    random.Random(0).shuffle(shuffled)
    again = Result.model_validate_json(json.dumps({k: content[k] for k in shuffled}))
    assert dumps(again) == text
    assert list(content) == sorted(content)


def test_tasks_have_folders_of_their_own() -> None:
    assert TASK.folder == "Thing-v3/v1-01234567-h5-n4"
    assert TASK.model_copy(update={"first_seed": 7}).folder.endswith("-s7")
    other = TASK.model_copy(update={"params_hash": "fedcba9876543210"})
    assert other.folder != TASK.folder


def test_official_means_the_evaluation_world_in_full() -> None:
    assert not TASK.is_official
    assert TASK.model_copy(update={"episodes": EPISODES}).is_official
    assert not TASK.model_copy(update={"episodes": EPISODES, "first_seed": 0}).is_official


def test_what_episodes_summed_up_to_is_kept() -> None:
    row = result(seeds=(0, 1))
    terms = row.sample()
    assert terms.numerator.shape == (2, 4)
    assert np.array_equal(terms.numerator[1], episodes(1).sums["bit"])
    assert row.runs[0].timing.decision_median_s == 2e-3
    assert row.runs[0].timing.step_median_s == 5e-3


def test_an_infinite_sum_is_not_stored() -> None:
    bad = episodes()
    bad.sums["bit"][2] = np.inf
    with pytest.raises(ResultError, match=r"bit of episode 2 \(seed \d+\): not finite"):
        run_of(bad)


def corrupt(content: dict[str, Any], how: str) -> Any:
    run = content["runs"][0]
    match how:
        case "missing":
            del content["task"]["params_hash"]
        case "unknown":
            content["policy"]["licence"] = "mine"
        case "type":
            run["reward"][1] = "much"
        case "short":
            run["sums"]["bit"].pop()
        case "all short":
            for values in (run["reward"], run["length"], *run["sums"].values()):
                values.pop()
        case "score":
            del run["sums"]["joule"]
        case "format":
            content["format"] = "sixgym-result/99"
        case "list":
            return [content]
    return content


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("missing", r"task\.params_hash: Field required"),
        ("unknown", r"policy\.licence='mine'"),
        ("type", r"runs\.0\.reward\.1='much'"),
        ("short", "bit has 3 episodes, reward 4"),
        ("all short", r"runs\.0 has 3 episodes, the task 4"),
        ("score", r"runs\.0\.sums lacks 'joule' of score 'efficiency'"),
        ("format", "format='sixgym-result/99'"),
        ("list", "should be an object"),
    ],
)
def test_a_corrupt_file_is_named_with_its_field(tmp_path: Path, how: str, what: str) -> None:
    path = save(result(), tmp_path)
    path.write_text(json.dumps(corrupt(json.loads(path.read_text()), how)))
    with pytest.raises(ResultError, match=what) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not JSON"),
        (b'{"task": ', "not JSON"),
        (b"\xff\xfe\x00", "not a text file"),
        (b'{"runs": NaN}', "NaN is not a number"),
    ],
)
def test_what_is_not_json_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "row.json"
    path.write_bytes(content)
    with pytest.raises(ResultError, match=what) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_missing_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="no such folder; run `sixgym benchmark` first"):
        load_all(tmp_path / "nothing")
    with pytest.raises(ResultError, match="cannot be read"):
        load(tmp_path / "nothing.json")


def test_a_row_in_a_wrong_place_is_refused(tmp_path: Path) -> None:
    path = save(result(), tmp_path)
    path.rename(path.with_name("two.json"))
    with pytest.raises(ResultError, match=r"two\.json: holds the row .*one\.json"):
        load_all(tmp_path)


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "row.json"
    write_atomically(path, "old")

    def power_cut(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", power_cut)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["row.json"]


def test_a_board_ranks_and_normalises() -> None:
    rows = [result("random", 1.0), result("best", 3.0), result("two", 2.0, seeds=(4, 5))]
    board = make_board(rows)
    assert [row.policy.name for row in board.rows] == ["best", "two", "random"]
    best, two, rand = board.rows
    assert best.normalised is not None
    assert best.normalised.value == 1.0
    assert rand.normalised is not None
    assert rand.normalised.value == 0.0
    assert two.normalised is not None
    assert 0.3 < two.normalised.value < 0.7
    assert two.training_seeds == [4, 5]
    assert two.decision_s == 2e-3 / 4
    assert two.others == {"lost": 0.0}


def test_a_board_compares_with_the_best_baseline_that_does_not_foresee() -> None:
    """A bound scores 3 and the reference 2: the differences are to the reference."""
    bound = result("bound", 3.0)
    bound = bound.model_copy(update={"policy": bound.policy.model_copy(update={"kind": "bound"})})
    board = make_board([result("random", 1.0), result("best", 2.0), bound])
    assert board.best_baseline == "best"
    above, best, rand = board.rows
    assert above.policy.name == "bound"
    assert best.to_best == (0.0, 0.0, 0.0)
    assert best.improvement == (0.5, 0.5, 0.5)
    assert above.to_best is not None
    assert above.to_best.value == pytest.approx(best.score.value / 2.0)
    assert above.improvement == (1.0, 1.0, 1.0)
    assert rand.improvement == (0.0, 0.0, 0.0)


def limited(row: Result, budget: float) -> Result:
    """A row of a task that allows so much of ``bit`` per joule."""
    cost = ScoreSpec(
        name="cost",
        unit="1",
        numerator="bit",
        denominator="joule",
        higher_is_better=False,
        budget=budget,
    )
    task = row.task.model_copy(update={"scores": [*row.task.scores, cost]})
    return row.model_copy(update={"task": task})


def test_a_policy_over_budget_ranks_below_all_that_keep_it() -> None:
    rows = [limited(result(n, s), 2.2) for n, s in (("random", 1.0), ("best", 3.0), ("two", 2.0))]
    board = make_board(rows)
    assert [row.policy.name for row in board.rows] == ["two", "random", "best"]
    assert [row.over_budget for row in board.rows] == [[], [], ["cost"]]
    assert board.best_baseline == "two"


def test_a_budget_that_is_kept_on_average_is_not_broken_by_luck() -> None:
    row = limited(result("one", 1.0), 1.0)
    value = row.sample(row.task.score("cost")).value
    assert make_board([limited(result("one", 1.0), value)]).rows[0].over_budget == []
    assert make_board([limited(result("one", 1.0), value * 0.5)]).rows[0].over_budget == ["cost"]


def test_what_came_later_leaves_older_rows_as_they_are(tmp_path: Path) -> None:
    """Budgets, bandits and latencies: a row without them reads and writes to the same bytes, and
    stands on one board with rows that have them."""
    old = result("old")
    later = {"budget", "is_bandit", "latency", "training_budget", "ranked"}
    assert not later & set(dumps(old).replace('"', " ").split())
    scores = [old.task.scores[0], old.task.scores[1].model_copy(update={"budget": 5.0})]
    said = {"scores": scores, "is_bandit": False, "training_budget": 1000}
    task = old.task.model_copy(update=said)
    run = old.runs[0].model_copy(
        update={"latency": [Latency(rows=1, median_s=1e-3, p99_s=2e-3, calls=9)]}
    )
    new = result("new").model_copy(update={"task": task, "runs": [run]})
    assert load(save(new, tmp_path)) == new
    assert old.task.agrees(task)
    assert task.agrees(old.task)
    board = make_board([old, new])
    assert board.task == task
    assert {row.policy.name: row.latency for row in board.rows}["new"] == run.latency
    for change in ({"is_bandit": True}, {"training_budget": 999}):
        assert not task.agrees(task.model_copy(update=change))


def test_the_rows_that_ship_keep_their_names_and_bytes() -> None:
    import sixgym.leaderboard

    folder = Path(next(iter(sixgym.leaderboard.__path__)), "results")
    rows = load_all(folder)  # refuses a row that does not lie where its content says
    assert len(rows) > 100
    for row in rows[::10]:
        assert dumps(row) == (folder / row.file_name).read_text()


def test_a_board_without_reference_still_ranks() -> None:
    board = make_board([result("random", 1.0), result("two", 2.0)])
    assert [row.policy.name for row in board.rows] == ["two", "random"]
    assert board.rows[0].normalised is None


def test_lower_is_better_ranks_the_other_way() -> None:
    lower = TASK.model_copy(
        update={"scores": [TASK.scores[0].model_copy(update={"higher_is_better": False})]}
    )
    rows = [result(n, s).model_copy(update={"task": lower}) for n, s in (("a", 1.0), ("b", 2.0))]
    assert [row.policy.name for row in make_board(rows).rows] == ["a", "b"]


def test_rows_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ResultError, match="'one': twice"):
        make_boards([result(), result()])
    other = result("two").model_copy(update={"task": TASK.model_copy(update={"random": "noise"})})
    with pytest.raises(ResultError, match="its task differs"):
        make_boards([result(), other])
