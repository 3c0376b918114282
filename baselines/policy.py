"""What a baseline is, and how to find those of an environment.

A system's module of baselines (named in the registry) has a table ``BASELINES``. An entry says what
the policy may see and in which variant of the environment it acts: an optimiser of all controls
plays ``sixgym/RisNomaSelect-v0`` through ``sixgym/RisNoma-v0``, a scheme without deferral plays
with a window of one slot. Row seeds are the same everywhere, so it meets the same world.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from sixgym.envs.core.errors import UnknownIdError
from sixgym.envs.core.registry import entry

if TYPE_CHECKING:
    from sixgym.envs.core.rollout import Policy
    from sixgym.envs.core.system import System

Sees = Literal["observation", "model", "oracle"]
"""``observation``: plays fair; ``model``: knows the parameters and the present state of the model
(the true channel, not only its picture in the observation); ``oracle``: sees what nobody could,
such as the future."""

Kind = Literal["random", "heuristic", "reference", "ablation", "bound", "exact"]
"""``reference`` is what scores are normalised by; an ``ablation`` switches one thing of the
reference off; no policy beats a ``bound``; ``exact`` is proved optimal."""

Cost = Literal["fast", "slow"]
"""``slow``: takes more than some 20 seconds of a processor for the 256 episodes of a board, which
then asks for the first 32 of them."""


@dataclass(frozen=True)
class Baseline:
    """One policy that does not learn.

    Attributes:
        name: how the command line calls it.
        make: makes the policy for the system that it acts in.
        sees: see `Sees`.
        kind: see `Kind`.
        description: one sentence.
        env_id: the environment it acts in; None: the one that is asked for.
        env_kwargs: parameters that are replaced in it.
        listed_for: the only environment in whose table it stands; None: all of its system's.
        cost: see `Cost`.
    """

    name: str
    make: Callable[[System[Any, Any]], Policy]
    sees: Sees
    kind: Kind
    description: str
    env_id: str | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    listed_for: str | None = None
    cost: Cost = "fast"


def load_baselines(id: str) -> dict[str, Baseline]:
    """The baselines of a registered environment by name: the generic ones, then its own.

    An own baseline of the same name replaces a generic one.

    Raises:
        UnknownIdError: there is no such environment.
    """
    from sixgym.baselines.generic import GENERIC

    found = dict(GENERIC)
    module = entry(id).baselines
    if module is not None:
        own = cast("Mapping[str, Baseline]", importlib.import_module(module).BASELINES)
        found.update({k: b for k, b in own.items() if b.listed_for in (None, id)})
    return found


def baseline(id: str, name: str) -> Baseline:
    """One baseline of an environment.

    Raises:
        UnknownIdError: there is no such environment or no such baseline.
    """
    found = load_baselines(id)
    if name not in found:
        raise UnknownIdError(f"policy={name!r}: unknown; baselines of {id}: {', '.join(found)}")
    return found[name]
