"""The picture: painted in every variant, true to the state, fast enough."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from netgpt_cases import SYSTEMS
from numpy.typing import NDArray

pytest.importorskip("pygame")

from sixgym.envs.core.make import make_env
from sixgym.envs.netgpt.scene import CLOUD, CLOUD_ZONE, EDGE, PANEL, WRONG


def show(kind: str, action: Any, steps: int = 3, **params: Any) -> NDArray[np.uint8]:
    env = make_env(SYSTEMS[kind], render_mode="rgb_array", **params)
    env.reset(seed=4)
    for _ in range(steps):
        env.step(action)
    image: NDArray[np.uint8] = env.render()
    return image


def share(image: NDArray[np.uint8], color: tuple[int, int, int]) -> int:
    return int((image == np.array(color, np.uint8)).all(-1).sum())


def half() -> NDArray[np.float32]:
    return np.array([0.5], np.float32)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("threshold", {}),
        ("threshold", {"steps": 0}),
        ("threshold", {"preset": "learning", "steps": 30}),
        ("threshold", {"network": "trace", "trace_bandwidth_mbps": (1.0,), "trace_rtt_s": (0.0,)}),
        ("threshold", {"num_requests": 1, "arrivals": "poisson"}),
        ("threshold", {"num_requests": 256, "max_requests": 256}),
        ("route", {"steps": 0}),
        ("route", {"steps": 40, "preset": "pre_queue"}),
        ("batch", {"preset": "surge", "queue": "fluid", "edge_rate": 0.5}),
    ],
)
def test_every_variant_can_be_painted(kind: str, params: dict[str, Any]) -> None:
    most = params.get("max_requests", 32)
    actions = {"threshold": half(), "route": np.int64(1), "batch": np.ones(most, np.int8)}
    image = show(kind, actions[kind], **params)
    assert image.shape == (400, 600, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5


def test_the_zone_of_the_cloud_ends_at_the_threshold() -> None:
    (x, _), (width, height) = PANEL
    areas = [share(show("threshold", half() * tau), CLOUD_ZONE) for tau in (0.2, 1.0, 1.8)]
    assert areas[0] < areas[1] < areas[2]
    image = show("threshold", half())
    inside = (image == np.array(CLOUD_ZONE, np.uint8)).all(-1)
    assert np.flatnonzero(inside.any(0)).max() == pytest.approx(x + width / 2, abs=4)
    assert share(show("threshold", half(), steps=0), CLOUD_ZONE) == 0
    assert areas[2] < width * height


def test_colours_tell_who_answered() -> None:
    kept, sent = (show("batch", np.full(32, bit, np.int8)) for bit in (0, 1))
    assert share(kept, EDGE) > share(sent, EDGE)
    assert share(sent, CLOUD) > share(kept, CLOUD)
    assert share(kept, WRONG) > share(sent, WRONG)  # the edge errs more often


def test_painting_takes_less_than_20_ms() -> None:
    env = make_env(SYSTEMS["threshold"], render_mode="rgb_array", preset="learning")
    env.reset(seed=0)
    env.step(half())
    env.render()
    began = time.process_time()
    for _ in range(10):
        env.render()
    assert (time.process_time() - began) / 10 < 0.02
