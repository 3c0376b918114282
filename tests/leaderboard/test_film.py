"""The rendered episode: the one that its row names, small, and kept until something changes."""

from __future__ import annotations

import base64
import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sixgym.leaderboard import benchmark, build_site, film
from sixgym.leaderboard.board import Board, make_boards
from sixgym.leaderboard.film import Film, NoFilm, film_of
from sixgym.leaderboard.store import load_all, save

pytest.importorskip("pygame", reason="needs the extra 'render'")
Image = pytest.importorskip("PIL.Image", reason="needs the extra 'render'")
SELECT = "sixgym/RisNomaSelect-v0"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    names = ["random", "round_robin", "ao", "ppo"]
    benchmark(SELECT, folder, policies=names, episodes=5, max_episode_steps=7, quiet=True)
    return folder


@pytest.fixture(scope="module")
def board(rows: Path) -> Board:
    (made,) = make_boards(load_all(rows))
    return made


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def made(board: Board, cache: Path) -> Film:
    found = film_of(board, cache)
    assert isinstance(found, Film)
    return found


def test_the_best_that_learned_plays_its_median_episode(board: Board, made: Film) -> None:
    assert made.policy == "ppo"
    row = board.results["ppo"]
    assert made.training_seed == row.runs[0].training_seed
    own = row.sample().per_episode[0]
    first = made.seeds[0] - row.task.first_seed
    assert own[first] == np.median(own)


def test_short_episodes_are_followed_by_others(made: Film) -> None:
    """Seven steps are less than a film has: a second episode follows."""
    assert made.lengths == [7, 7]
    assert len(set(made.seeds)) == 2
    assert made.steps == [(e, s) for e in range(2) for s in range(1, 8)]
    assert made.labels[0] == "episode 1 of 2, step 1 of 7"


def test_the_strip_holds_every_frame(made: Film) -> None:
    strip = Image.open(io.BytesIO(base64.b64decode(made.strip)))
    assert strip.size == (made.width, made.height * len(made.steps))
    frames = np.asarray(strip.convert("RGB")).reshape(len(made.steps), made.height, made.width, 3)
    assert all((one != other).any() for one, other in itertools.pairwise(frames))


def test_it_is_played_once(
    board: Board, cache: Path, made: Film, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("played again")

    monkeypatch.setattr(film, "_shoot", refuse)
    assert film_of(board, cache) == made
    monkeypatch.setattr(film, "COLOURS", 2)
    with pytest.raises(AssertionError, match="played again"):
        film_of(board, cache)


def test_a_damaged_copy_is_made_again(board: Board, made: Film, tmp_path: Path) -> None:
    film_of(board, tmp_path)
    (path,) = tmp_path.glob("*.json")
    path.write_text('{"format": 1}')
    assert film_of(board, tmp_path) == made


def test_too_large_a_strip_keeps_every_second_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (40, 60, 3), dtype=np.uint8) for _ in range(8)]
    places, whole = film._strip(frames)
    assert places == list(range(8))
    monkeypatch.setattr(film, "MOST_BYTES", len(whole) // 2)
    places, smaller = film._strip(frames)
    assert places in ([0, 2, 4, 6], [0, 4])
    assert len(smaller) <= len(whole) // 2


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (39, 39), (1024, film.MOST_FRAMES)])
def test_frames_are_spread_over_the_whole_episode(count: int, expected: int) -> None:
    chosen = film._spread(count)
    assert len(chosen) == expected
    assert min(chosen) == 0
    assert max(chosen) == count - 1


def test_without_its_weights_the_best_baseline_plays(board: Board, tmp_path: Path) -> None:
    row: Any = board.results["ppo"]
    runs = [run.model_copy(update={"weights": "0" * 64}) for run in row.runs]
    results = {**board.results, "ppo": row.model_copy(update={"runs": runs})}
    found = film_of(board._replace(results=results), tmp_path)
    assert isinstance(found, Film)
    assert found.policy == "ao"
    assert found.training_seed is None


def test_what_others_handed_in_is_not_played_and_the_page_says_so(
    board: Board, tmp_path: Path
) -> None:
    row = board.results["ppo"]
    card = row.policy.model_copy(update={"source": "submission", "origin": "theirs.zip"})
    save(row.model_copy(update={"policy": card}), tmp_path / "rows")
    (alone,) = make_boards(load_all(tmp_path / "rows"))
    found = film_of(alone, tmp_path / "films")
    assert found == NoFilm("neither its best learned policy nor its best baseline is here to play")
    build_site(tmp_path / "rows", tmp_path / "site", films=tmp_path / "films")
    (page,) = set((tmp_path / "site").glob("*.html")) - {tmp_path / "site" / "index.html"}
    assert f"None is shown: {found.reason}." in page.read_text()


def test_the_page_embeds_it_with_the_command_of_a_video(
    rows: Path, cache: Path, made: Film, tmp_path: Path
) -> None:
    build_site(rows, tmp_path, films=cache)
    (page,) = set(tmp_path.glob("*.html")) - {tmp_path / "index.html"}
    text = page.read_text()
    assert text.count("data:image/webp;base64,") == 1
    assert made.strip in text
    command = f"sixgym render {SELECT} --policy ppo --seed {made.seeds[0]} --steps 7"
    assert f"{command} --set max_episode_steps=7 --out episode.mp4" in text
