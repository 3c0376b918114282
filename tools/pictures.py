"""Draws the pictures of the README and the pages: a policy at work in each environment.

python tools/pictures.py [ID ...]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "_static" / "pictures"
COLOURS = 48
"""Of a GIF: flat drawings need no more."""


class Shot(NamedTuple):
    """Which policy is drawn, and after how many steps."""

    policy: str
    steps: int
    seed: int = 3


SHOTS = {
    "RisNoma-v0": Shot("ao1", 30),
    "RisNomaSelect-v0": Shot("ppo", 30),
    "EventOffload-v0": Shot("ppo", 30),
    "EventOffloadExit-v0": Shot("exit_ppo", 40),
    "EventOffloadMulti-v0": Shot("pf", 30),
    "LlmMac-v0": Shot("mappo", 23),
    "NetGptThreshold-v0": Shot("ppo", 40),
    "NetGptRoute-v0": Shot("exact", 60),
    "NetGptBatch-v0": Shot("exact", 40),
    "TwinSync-v0": Shot("mappo", 150),
    "TwinRound-v0": Shot("greedy_maxdev", 1),
    "AgentAggregation-v0": Shot("distance_based", 2),
}
FILMS = {"TwinSync-v0": Shot("mappo", 90), "LlmMac-v0": Shot("mappo", 24)}
"""Those that also move; a shot lasts as long as its steps."""
FPS = {"TwinSync-v0": 10, "LlmMac-v0": 3}


def render(name: str, shot: Shot, out: Path, *options: str) -> None:
    """One picture or film, by the command that a reader would use."""
    words = [sys.executable, "-m", "sixgym", "render", f"sixgym/{name}", "--policy", shot.policy]
    more = ["--steps", str(shot.steps), "--seed", str(shot.seed), "--out", str(out), *options]
    subprocess.run([*words, *more], check=True, stdout=subprocess.DEVNULL)


def smaller(path: Path) -> None:
    """Write a film again with fewer colours."""
    with Image.open(path) as film:
        frames, lasts = [], film.info["duration"]
        for place in range(getattr(film, "n_frames", 1)):
            film.seek(place)
            frames.append(film.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=lasts, loop=0)


def main(names: list[str]) -> None:
    """Draw some environments, or all."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, shot in SHOTS.items():
        if names and name not in names:
            continue
        picture = FOLDER / f"{name}.png"
        render(name, shot, picture)
        with Image.open(picture) as image:
            small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        small.save(picture, optimize=True)
        print(f"{picture.name}: {picture.stat().st_size / 1024:.0f} KiB")
        if name in FILMS:
            film = FOLDER / f"{name}.gif"
            render(name, FILMS[name], film, "--fps", str(FPS[name]))
            smaller(film)
            print(f"{film.name}: {film.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main([name.rpartition("/")[2] for name in sys.argv[1:]])
