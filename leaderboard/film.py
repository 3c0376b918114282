"""The rendered episode on the page of a task: one picture with all its frames below each other.

A strip is a lossless WebP image of few colours: frames that differ little from each other cost next
to nothing in it, and a page shows any of them without a codec. It is played from stored seeds when
the pages are made, and kept under a key made of all that it depends on.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import sixgym
from sixgym.envs.core.errors import OptionsError, ResultError, SixgymError
from sixgym.envs.core.registry import entry
from sixgym.envs.core.render import HEIGHT, WIDTH
from sixgym.leaderboard.board import Board
from sixgym.leaderboard.players import Member, Player, find_player, kwargs_of
from sixgym.leaderboard.store import Result, write_atomically

FORMAT = 1
"""Version of the files in which films are kept."""

MOST_FRAMES = 40
"""Frames of a strip: a WebP image is at most 16,383 pixels high."""

LEAST_STEPS = 12
"""Where an episode has fewer steps, more episodes follow it until there are so many."""

COLOURS = 48
"""Of a strip; the pictures are flat drawings, which lose nothing that the eye would miss."""

MOST_BYTES = 210_000
"""Of a strip: with the third that base64 adds it stays below 300 kB on the page."""


class Film(BaseModel):
    """A strip of frames, and what they show.

    Attributes:
        format: `FORMAT`.
        policy: who plays.
        training_seed: of the weights that play; None for what does not learn.
        seeds: row seeds of the episodes, in order.
        steps: of each frame, the number of its episode (from 0) and of the step (from 1) after
            which it was taken.
        lengths: steps of each episode.
        width: pixels of a frame.
        height: pixels of a frame.
        strip: the frames below each other, a WebP image in base64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int = Field(ge=FORMAT, le=FORMAT)
    policy: str
    training_seed: int | None
    seeds: list[int] = Field(min_length=1)
    steps: list[tuple[int, int]] = Field(min_length=1)
    lengths: list[int] = Field(min_length=1)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    strip: str

    @property
    def labels(self) -> list[str]:
        """What is said of each frame."""
        many = len(self.seeds) > 1
        return [
            (f"episode {episode + 1} of {len(self.seeds)}, " if many else "")
            + f"step {step} of {self.lengths[episode]}"
            for episode, step in self.steps
        ]

    @property
    def poster(self) -> int:
        """The frame that is shown first: one in which something has happened."""
        return 2 * (len(self.steps) - 1) // 3

    @property
    def poster_share(self) -> float:
        """Where that frame is in the strip, in percent of what can be scrolled."""
        return round(100.0 * self.poster / max(len(self.steps) - 1, 1), 4)

    @property
    def every(self) -> int:
        """Steps from one frame to the next, rounded."""
        return round(sum(self.lengths) / len(self.steps))


class NoFilm(NamedTuple):
    """Why there is no film."""

    reason: str


class _Plan(NamedTuple):
    """What is to be filmed.

    Attributes:
        player: who plays.
        member: with which weights.
        result: the stored row.
        episodes: which of its episodes, in order.
    """

    player: Player
    member: Member
    result: Result
    episodes: list[int]


def film_of(board: Board, cache: Path | str) -> Film | NoFilm:
    """A film of the best learned policy that ships, else of the best fair baseline.

    It plays the episode whose own score is the median of those that its row has.

    Args:
        board: of the task.
        cache: folder in which films are kept.
    """
    try:
        plan = _plan(board)
        path = Path(cache) / f"{_key(plan)}.json"
        found = _kept(path)
        if found is None:
            found = _shoot(plan)
            write_atomically(path, found.model_dump_json())
        return found
    except SixgymError as error:
        return NoFilm(str(error))
    except ModuleNotFoundError as error:
        if error.name not in ("PIL", "pygame"):
            raise
        return NoFilm(f"{error.name} is not installed: pip install 'sixgym[render]'")


def _kept(path: Path) -> Film | None:
    """The film in a file; None where there is none, or it is not one of ours."""
    try:
        return Film.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _plan(board: Board) -> _Plan:
    """Who plays what.

    Raises:
        ResultError: nobody of the board can be filmed.
    """
    if entry(board.task.env_id).is_guest:
        raise ResultError(f"{board.task.env_id}: draws no pictures of ours")
    for name in (board.best_learned, board.best_baseline):
        result = board.results.get(name or "")
        # What others handed in is played in a process of its own, and not here.
        if result is None or result.policy.source not in ("zoo", "baseline"):
            continue
        player = find_player(board.task.env_id, result.policy.name)
        run = result.runs[0]
        for member in player.members:
            if member.weights == run.weights:
                return _Plan(player, member, result, _typical(result))
    raise ResultError("neither its best learned policy nor its best baseline is here to play")


def _typical(result: Result) -> list[int]:
    """The episode of the median score of the first run; short ones are followed by others.

    Raises:
        ResultError: no episode has a score.
    """
    own = result.sample().per_episode[0]
    if not np.isfinite(own).any():
        raise ResultError(f"policy={result.policy.name!r}: no episode has a score of its own")
    first = int(np.nanargmin(np.abs(own - np.nanmedian(own))))
    chosen, lengths = [first], result.runs[0].length
    for other in range(len(lengths)):
        if sum(lengths[i] for i in chosen) >= LEAST_STEPS:
            break
        if other != first:
            chosen.append(other)
    return chosen


def _key(plan: _Plan) -> str:
    """Names a film by all that it depends on: the row, the weights, and the code that draws."""
    result = plan.result
    content = [
        FORMAT,
        sixgym.__version__,
        MOST_FRAMES,
        COLOURS,
        result.task.model_dump(mode="json"),
        result.policy.model_dump(mode="json"),
        result.runs[0].weights,
        plan.episodes,
        _code(entry(plan.player.card.env_id).system.partition(":")[0]),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _code(module: str) -> str:
    """Hash of the code beside a system's module, and of the canvas."""
    digest = hashlib.sha256()
    for name, pattern in ((module, "*.py"), ("sixgym.envs.core.render", "render.py")):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            for path in sorted(Path(spec.origin).parent.glob(pattern)):
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _shoot(plan: _Plan) -> Film:
    """Play the episodes and keep some of the frames.

    Raises:
        OptionsError: the environment draws no pictures.
        ResultError: the episodes are not those of the row.
    """
    from sixgym.envs.core.rollout import rollout
    from sixgym.leaderboard.runner import make_rows

    task, lengths = plan.result.task, plan.result.runs[0].length
    moments = [(i, step + 1) for i, e in enumerate(plan.episodes) for step in range(lengths[e])]
    wanted = _spread(len(moments))
    acts_in = plan.player.card.env_id
    if not entry(acts_in).load_system().has_picture():
        raise OptionsError(f"{acts_in}: draws no pictures")
    env = make_rows(acts_in, 1, {**kwargs_of(plan.player, task), "render_mode": "rgb_array"})
    frames: list[NDArray[np.uint8]] = []
    taken = 0

    def take(*_: int) -> None:
        nonlocal taken
        if taken in wanted:
            frames.append(env.render_row(0))
        taken += 1

    seeds = [int(task.seeds[e]) for e in plan.episodes]
    try:
        rollout(
            env,
            plan.member.make(env.system),
            seeds,
            deterministic=plan.member.deterministic,
            progress=take,
        )
    finally:
        env.close()
    if taken != len(moments):
        raise ResultError(f"{plan.result.policy.name}: {taken} steps, its row has {len(moments)}")
    places, strip = _strip(frames)
    kept = sorted(wanted)
    return Film(
        format=FORMAT,
        policy=plan.result.policy.name,
        training_seed=plan.member.training_seed,
        seeds=seeds,
        steps=[moments[kept[place]] for place in places],
        lengths=[lengths[e] for e in plan.episodes],
        width=WIDTH,
        height=HEIGHT,
        strip=base64.b64encode(strip).decode(),
    )


def _spread(count: int) -> set[int]:
    """Places of at most `MOST_FRAMES` frames among so many, evenly spread, both ends included."""
    return {int(i) for i in np.linspace(0, count - 1, min(count, MOST_FRAMES)).round()}


def _strip(frames: Sequence[NDArray[np.uint8]]) -> tuple[list[int], bytes]:
    """A strip of frames, of every second one as long as it is too large; and which those are."""
    from PIL import Image

    places = list(range(len(frames)))
    while True:
        whole: Any = Image.fromarray(np.concatenate([frames[i] for i in places]))
        few = whole.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        file = io.BytesIO()
        few.convert("RGB").save(file, "WEBP", lossless=True, quality=80, method=4)
        if file.tell() <= MOST_BYTES or len(places) == 1:
            return places, file.getvalue()
        places = places[::2]
