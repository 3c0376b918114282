"""``sixgym render``: a video or a picture of a policy at work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sixgym.cli.options import EnvId, Overrides, PolicyName, read_overrides
from sixgym.envs.core.errors import OptionsError

SUFFIXES = (".mp4", ".gif", ".png")
"""What can be written: videos, and the picture of one step."""


def render(
    id: EnvId,
    out: Annotated[Path, typer.Option(help="File to write: .mp4, .gif or .png.")],
    policy: PolicyName = "random",
    seed: Annotated[int, typer.Option(min=0, max=2**62 - 1, help="Row seed of the episode.")] = 0,
    steps: Annotated[
        int, typer.Option(min=1, help="Frames at most; a .png shows the last of them.")
    ] = 100,
    params: Overrides = None,
    fps: Annotated[int, typer.Option(min=1, help="Frames a second.")] = 10,
) -> None:
    """Write a video or a picture of one episode."""
    if out.suffix not in SUFFIXES:
        raise OptionsError(f"--out={out.name}: allowed endings: {', '.join(SUFFIXES)}")
    frames = _play(id, policy, seed, steps, read_overrides(params))
    out.parent.mkdir(parents=True, exist_ok=True)
    _write(out, frames, fps)
    typer.echo(f"{out}: {len(frames)} frames" if out.suffix != ".png" else str(out))


def _play(id: str, policy: str, seed: int, steps: int, params: dict[str, Any]) -> list[Any]:
    """Frames after each step of one episode."""
    from sixgym.envs.core.rollout import rollout
    from sixgym.leaderboard.players import find_player, kwargs_of
    from sixgym.leaderboard.runner import make_rows, task_of

    player = find_player(id, policy)
    kwargs = kwargs_of(player, task_of(id, episodes=1, seed=seed, params=params))
    # Only the frames end early: the horizon that the agent observes stays what it is.
    kwargs |= {"render_mode": "rgb_array", "max_episode_steps": steps}
    env = make_rows(player.card.env_id, 1, kwargs)
    frames: list[Any] = []
    try:
        acting = player.members[0].make(env.system)
        rollout(env, acting, [seed], progress=lambda *_: frames.append(env.render_row(0)))
    finally:
        env.close()
    return frames


def _write(out: Path, frames: list[Any], fps: int) -> None:
    import imageio.v3 as iio

    if out.suffix == ".png":
        iio.imwrite(out, frames[-1])
    elif out.suffix == ".gif":
        iio.imwrite(out, frames, duration=1000 / fps, loop=0)
    else:
        iio.imwrite(out, frames, fps=fps, macro_block_size=1)
