"""Where the confidence scores come from: pools of events that went through a multi-exit detector.

Every source of scores is a pool, a finite table of events with the tail confidence of each exit,
the server's answer and the true class. The shipped pools are inference traces of networks trained
on real data (`sixgym.agents.traces` makes them); the synthetic ones are a deterministic sample of
a score model [our choice: one code path; the closed forms of the models are beside them].

Shipped traces: ``digits38`` and ``digits89`` (handwritten digits, two rare digits) and
``breast_cancer`` (features in four stages, malignant is rare). They are stand-ins: the paper's
data are retinal images, which cannot be shipped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sixgym.envs.core.errors import ParamsError

TraceName = Literal["digits38", "digits89", "breast_cancer"]
ModelName = Literal["gaussian", "logit_normal", "beta"]
ScoreName = Literal["digits38", "digits89", "breast_cancer", "gaussian", "logit_normal", "beta"]
"""The values of the parameter ``scores``."""
Split = Literal["calib", "test", "all"]
"""Part of a pool: thresholds are chosen on ``calib`` and judged on ``test``."""
ServerMode = Literal["any", "tail_only"]
"""``any``: the server may answer "head" (a false alarm ends well); ``tail_only``: it may not."""
Detector = Literal["trained", "perfect"]
"""``perfect``: confidences that know the truth, for bounds; see `perfect_detector`."""
MacProfile = Literal["mobilenet_v2", "shufflenet_v2", "native_digits", "trace"]
"""``trace``: the MACs stored with the pool."""

SPLITS: dict[str, int] = {"calib": 0, "test": 1}

_MOBILENET_V2_MMAC = (
    "20.87 50.08 75.82 91.28 102.27 113.26 120.82 131.13 141.45 "
    "151.76 164.48 187.17 209.86 225.47 240.95 256.42 279.42 299.49"
)
MOBILENET_V2_MACS = 1e6 * np.array(_MOBILENET_V2_MMAC.split(), float)
"""Cumulative MACs of MobileNetV2's 18 modules at 224 x 224, by formula."""

MAC_PROFILES: dict[str, tuple[float, ...]] = {
    "mobilenet_v2": (75.82e6, 141.45e6, 225.47e6, 299.49e6),
    "shufflenet_v2": (33.85e6, 72.00e6, 104.47e6, 143.88e6),
    "native_digits": (1152.0, 2304.0, 5760.0, 7488.0),
}
"""Cumulative MACs c_n at four exits. The small networks behind the traces supply scores only;
energies take a real backbone, so that compute and radio energy are of the same order [ours]."""


class PoolParams(Protocol):
    """The parameters that decide a pool."""

    @property
    def scores(self) -> str: ...  # noqa: D102

    @property
    def traces(self) -> str | None: ...  # noqa: D102

    @property
    def detector(self) -> str: ...  # noqa: D102

    @property
    def server_mode(self) -> ServerMode: ...  # noqa: D102

    @property
    def mac_profile(self) -> str: ...  # noqa: D102

    @property
    def pool_events(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class EventPool:
    """Events with their scores. Compared and hashed by identity, so tables can be cached by it."""

    conf: NDArray[np.float32]
    """(n, N) tail confidence C of each exit, strictly inside (0, 1)."""
    server: NDArray[np.float32]
    """(n, K+1) the server's probabilities: head, then the K tail sub-classes."""
    y: NDArray[np.int8]
    """(n,) true class: 0 head, k = 1..K tail sub-class."""
    split: NDArray[np.int8]
    """(n,) 0 calibration, 1 test."""
    macs: NDArray[np.float64]
    """(N,) cumulative multiply-accumulates c_n up to each exit."""
    meta: dict[str, Any] = field(default_factory=dict)
    """What is known of the source: name, licence, seed, AUROCs."""

    @property
    def num_exits(self) -> int:
        """Local exits N."""
        return int(self.conf.shape[1])

    @property
    def num_classes(self) -> int:
        """Tail sub-classes K."""
        return int(self.server.shape[1]) - 1

    @cached_property
    def tail(self) -> NDArray[np.bool_]:
        """(n,) whether an event is a tail event (z = 1)."""
        return self.y >= 1

    @cached_property
    def accuracy(self) -> dict[str, float]:
        """Share of all tail and of all head events that the server names right, by group."""
        ok = self.ok()
        return {"tail": float(ok[self.tail].mean()), "head": float(ok[~self.tail].mean())}

    def answer(self, server_mode: ServerMode = "any") -> NDArray[np.int8]:
        """(n,) the server's class: the likeliest, first of equals; never 0 in ``tail_only``."""
        if server_mode == "tail_only":
            return np.asarray(1 + self.server[:, 1:].argmax(1), np.int8)
        return np.asarray(self.server.argmax(1), np.int8)

    def ok(self, server_mode: ServerMode = "any") -> NDArray[np.bool_]:
        """(n,) whether the server's class is the true one."""
        return np.asarray(self.answer(server_mode) == self.y)

    def part(self, split: Split) -> NDArray[np.bool_]:
        """(n,) which events belong to a split.

        Raises:
            ParamsError: there is no such split.
        """
        if split == "all":
            return np.ones(len(self.y), bool)
        if split not in SPLITS:
            raise ParamsError(f"split={split!r}: unknown; allowed: 'calib', 'test', 'all'")
        return np.asarray(self.split == SPLITS[split])

    def with_profile(self, mac_profile: str) -> EventPool:
        """The same events with the MACs of a profile.

        Raises:
            ParamsError: the profile is unknown or made for another number of exits.
        """
        if mac_profile == "trace":
            return self
        if mac_profile not in MAC_PROFILES:
            allowed = ", ".join([*MAC_PROFILES, "trace"])
            raise ParamsError(f"mac_profile={mac_profile!r}: unknown; allowed: {allowed}")
        macs = np.array(MAC_PROFILES[mac_profile])
        if mac_profile == "mobilenet_v2" and self.num_exits == len(MOBILENET_V2_MACS):
            macs = MOBILENET_V2_MACS
        if len(macs) != self.num_exits:
            raise ParamsError(
                f"mac_profile={mac_profile!r}: made for {len(macs)} exits, the scores have "
                f"{self.num_exits}; allowed: 'trace' (the MACs stored with the scores)"
            )
        return replace(self, macs=macs)


def load_pool(params: PoolParams) -> EventPool:
    """The pool that a system's parameters ask for; the same object for the same parameters.

    With ``traces`` a path, a file of the user's own is read. It is a NumPy ``.npz`` archive without
    pickled content, with these arrays (n events, N exits, K tail sub-classes):

    =========== ============== ==================================================================
    array       shape, type    meaning
    =========== ============== ==================================================================
    ``conf``    (n, N) float   tail confidence of each exit, strictly between 0 and 1; used as
                               float32
    ``server``  (n, K+1) float the server's probabilities of head and of each tail sub-class;
                               not negative, each row sums to 1
    ``y``       (n,) integer   true class: 0 head, 1..K tail; both kinds must occur
    ``split``   (n,) integer   0 calibration, 1 test; each needs heads and tails. Optional: without
                               it the events of each kind are dealt alternately to the two
    ``macs``    (N,) float     cumulative multiply-accumulates, positive and increasing. Optional;
                               needed for ``mac_profile="trace"``
    ``meta``    0-d string     JSON object, free content. Optional
    =========== ============== ==================================================================

    Further arrays (``fold`` in the shipped files) are ignored.

    Args:
        params: ``scores`` names a shipped trace or a score model, ``traces`` a file that replaces
            it (or None), ``mac_profile`` what an exit costs, ``pool_events`` the number of events
            of each kind (tail, head) that a score model draws.

    Raises:
        ParamsError: a name is unknown, or the file is missing, altered, or not of this format.
    """
    if params.traces is not None:
        from sixgym.envs.event_offload.trace_files import read_traces

        pool = read_traces(params.traces, params.mac_profile)
    else:
        pool = named_pool(params.scores, params.mac_profile, params.pool_events)
    return pool if params.detector == "trained" else perfect_detector(pool, params.server_mode)


@lru_cache(maxsize=32)
def perfect_detector(pool: EventPool, server_mode: ServerMode = "any") -> EventPool:
    """The same events rated by someone who knows the truth, at every exit alike.

    Tails that the server names right are spread evenly over (3/4, 1), other tails over (1/2, 3/4),
    so that any share of them can be chosen by a threshold; heads are near 0. [our choice: what the
    bound "genie" of the dossier needs]

    Args:
        pool: the events.
        server_mode: decides which tails the server names right.
    """
    score = np.full(len(pool.y), 1e-6)
    right = pool.ok(server_mode) & pool.tail
    for group, start in ((right, 0.75), (pool.tail & ~right, 0.5)):
        score[group] = start + 0.25 * (np.arange(group.sum()) + 0.5) / max(int(group.sum()), 1)
    conf = np.repeat(score.astype(np.float32)[:, None], pool.num_exits, axis=1)
    conf.flags.writeable = False
    return replace(pool, conf=conf)


@lru_cache(maxsize=32)
def named_pool(
    scores: str, mac_profile: str = "mobilenet_v2", pool_events: int = 20_000
) -> EventPool:
    """A shipped trace or a score model's pool by name; see `load_pool`.

    Raises:
        ParamsError: the name is unknown, or a shipped file is missing or altered.
    """
    from sixgym.envs.event_offload.score_models import MODELS
    from sixgym.envs.event_offload.trace_files import SHIPPED, shipped_traces

    if scores in SHIPPED:
        return shipped_traces(scores).with_profile(mac_profile)
    if scores in MODELS:
        pool = MODELS[scores].pool(pool_events)
        return pool.with_profile(mac_profile)
    allowed = ", ".join([*SHIPPED, *MODELS])
    raise ParamsError(f"scores={scores!r}: unknown; allowed: {allowed}")
