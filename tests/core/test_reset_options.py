"""Options of ``reset`` that a system understands, in both views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from toy_systems import Counter, CounterState, Gate

from sixgym.envs.core.errors import OptionsError
from sixgym.envs.core.make import make_env, make_vector_env


class Placed(Counter):
    """A walk whose first place may be given."""

    reset_options = ("place",)

    def with_options(self, state: CounterState, options: Mapping[str, Any]) -> CounterState:
        place = torch.as_tensor(options["place"], dtype=self.dtype)
        if place.abs().max() > 9.0:
            raise OptionsError(f"place={options['place']!r}: allowed: -9 to 9")
        return state._replace(value=place.expand(state.value.shape).clone())


def test_an_option_holds_for_one_episode() -> None:
    env, plain = make_env(Placed), make_env(Counter)
    env.reset(seed=1, options={"place": 2.0})
    assert env.rows.state.value.tolist() == [2.0]
    env.reset()
    plain.reset(seed=1)
    plain.reset()
    assert torch.equal(env.rows.state.value, plain.rows.state.value)


def test_options_go_to_the_rows_that_begin() -> None:
    env = make_vector_env(Placed, 4)
    env.reset(seed=0, options={"place": 1.0})
    assert env.rows.state.value.tolist() == [1.0] * 4
    mask = np.array([True, False, True, False])
    env.reset(options={"reset_mask": mask, "place": [5.0, 6.0, 7.0, 8.0]})
    assert env.rows.state.value.tolist() == [5.0, 1.0, 7.0, 1.0]
    env.reset(seed=[3, None, None, 4], options={"place": np.array([5.0, 6.0, 7.0, 8.0])})
    assert env.rows.state.value.tolist() == [5.0, 6.0, 7.0, 8.0]


@pytest.mark.parametrize("system", [Placed, Gate])
def test_unknown_options_are_refused_and_change_nothing(system: Any) -> None:
    allowed = "'place'" if system is Placed else "none"
    for env, known in (
        (make_env(system), allowed),
        (make_vector_env(system, 2), "'reset_mask'"),
    ):
        env.reset(seed=0)
        before = env.rows.state_dict()
        with pytest.raises(OptionsError, match=f"unknown 'plaice'; allowed: {known}"):
            env.reset(options={"plaice": 1.0})
        after = env.rows.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before)


def test_a_wrong_value_starts_nothing() -> None:
    env = make_env(Placed)
    env.reset(seed=0)
    with pytest.raises(OptionsError, match=r"place=10\.0: allowed"):
        env.reset(options={"place": 10.0})
    assert env.rows.episode.tolist() == [0]
