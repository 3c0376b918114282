"""The picture of `sixgym/EventOffload-v0`: painted in every variant, true to the last slot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pygame")

import pygame

from sixgym.envs.core.make import make_env
from sixgym.envs.core.render import Canvas
from sixgym.envs.event_offload.scene import (
    DROPPED,
    HEAD_ZONE,
    SERVED,
    TAIL_COLOR,
    TAIL_ZONE,
    events_of,
)
from sixgym.envs.event_offload.system import EventOffload


def show(
    pair: tuple[float, float] = (0.4, 0.7), slots: int = 3, snr_db: float = 10.0, **params: Any
) -> tuple[Any, dict[str, Any], NDArray[np.uint8]]:
    env = make_env(EventOffload, render_mode="rgb_array", info_level=1, **params)
    env.reset(seed=4, options={"gamma_db": snr_db})
    info: dict[str, Any] = {}
    for _ in range(slots):
        info = env.step(np.float32(pair))[4]
    return env, info, env.render()


def share(image: NDArray[np.uint8], color: tuple[int, int, int]) -> int:
    return int((image == np.array(color, np.uint8)).all(-1).sum())


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"slots": 0},
        {"preset": "bursty_battery"},
        {"semantics": "confident_local"},
        {"semantics": "local_only", "final_rule": "tail"},
        {"expected": True},
        {"num_events": 1, "pair": (0.0, 0.0)},
        {"num_events": 300, "pair": (1.0, 1.0)},
        {"payload": "per_exit", "budget_mode": "average"},
        {"snr_db": -30.0, "pair": (0.02, 0.97)},
    ],
)
def test_every_variant_can_be_painted(params: dict[str, Any]) -> None:
    image = show(**params)[2]
    assert image.shape == (400, 600, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"snr_db": 0.0, "pair": (0.2, 0.4)},
        {"semantics": "confident_local", "final_rule": "tail"},
        {"preset": "bursty_battery", "pair": (0.0, 0.0), "snr_db": 1.0},
        {"payload": "per_exit", "budget_mode": "average", "snr_db": -4.0, "pair": (0.2, 0.5)},
    ],
)
def test_the_events_of_the_picture_are_those_of_the_slot(params: dict[str, Any]) -> None:
    env, info, _ = show(**params)
    events = events_of(env.system, env.rows.state)
    fates = [e.fate for e in events]
    assert len(events) == 20
    assert fates.count("served") == info["n_off"]
    assert fates.count("dropped") == info["dropped"]
    found = [e for e in events if e.fate in ("served", "closed")]
    assert sum(e.is_tail for e in found) == info["tp"]
    assert np.bincount([len(e.scores) - 1 for e in events], minlength=4).tolist() == (
        info["exits"].tolist()
    )


@pytest.mark.parametrize("budget_mode", ["slot", "average", "battery"])
def test_no_words_run_into_others(budget_mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the panel of exits, whose words move with the thresholds; with all energy spent."""
    written: list[Any] = []

    def text(self: Canvas, at: Any, words: str, **how: Any) -> None:
        font = pygame.font.Font(None, round(how.get("size", 13) * 1.4))
        font.set_bold(how.get("bold", False))
        box = pygame.Rect((0, 0), font.size(words))
        side = {"left": "topleft", "center": "midtop", "right": "topright"}
        setattr(box, side[how.get("align", "left")], at)
        written.append((words, box))

    monkeypatch.setattr(Canvas, "text", text)
    show((0.0, 0.0), slots=1, snr_db=-3.9, budget_mode=budget_mode, budget_j=1e-4)
    boxes = {words: box for words, box in written if box.x > 414}
    assert {"energy, last slot", "episode left"} < boxes.keys()
    for words, box in boxes.items():
        assert pygame.Rect(0, 0, 600, 400).contains(box), words
        others = {w: b for w, b in boxes.items() if w != words}
        assert box.collidedict(others, True) is None, words


def test_zones_follow_the_thresholds() -> None:
    wide, narrow = show((0.1, 0.9))[2], show((0.6, 0.65))[2]
    assert share(narrow, TAIL_ZONE) > 2 * share(wide, TAIL_ZONE)
    assert share(narrow, HEAD_ZONE) > 2 * share(wide, HEAD_ZONE)
    assert share(wide, TAIL_COLOR) > 800


def test_requests_in_outage_are_crossed_out() -> None:
    sent, lost = show((0.0, 0.0), snr_db=20.0)[2], show((0.0, 0.0), snr_db=-20.0)[2]
    sent, lost = sent[52:302, 30:414], lost[52:302, 30:414]
    assert share(lost, DROPPED) > share(sent, DROPPED) + 300
    assert share(sent, SERVED) > share(lost, SERVED) + 300
