"""Steps skip autograd's layers, and what they return is ordinary; compiled ones do not mix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sixgym.envs.core.fuse import Fused, below_autograd
from sixgym.envs.core.rows import Rows
from sixgym.envs.ris_noma.params import RisNomaParams
from sixgym.envs.ris_noma.system import RisNoma


def test_tensors_made_below_autograd_can_be_differentiated_afterwards() -> None:
    with torch.no_grad(), below_autograd():
        made = torch.ones(2) + 1
    assert not made.is_inference()
    x = torch.ones(2, requires_grad=True)
    (x * made).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 2.0]
    made.add_(1.0)


def test_a_step_of_rows_can_be_differentiated_through_the_system() -> None:
    system = RisNoma(RisNomaParams.create(num_users=2, num_elements=4))
    rows = Rows(system, 3)
    rows.start(seeds=torch.arange(3))
    rows.advance(torch.zeros(3, 10))
    action = torch.zeros(3, 10, requires_grad=True)
    noise = system.step_draws.draw(rows._key, rows.step + 1)
    _, step = system.advance(rows.state, action, noise)
    step.reward.sum().backward()
    assert action.grad is not None
    assert bool(torch.isfinite(action.grad).all())
    assert bool((action.grad[:, 4:8] != 0).any()), "phases matter"


class Doubler:
    """A function whose meaning hangs on an attribute."""

    def __init__(self, doubles: bool, factor: float) -> None:
        self.doubles = doubles
        self.factor = factor

    def __call__(self, x: Tensor) -> Tensor:
        return self.factor * (2.0 * x if self.doubles else x)


@pytest.mark.slow
def test_functions_of_equal_shapes_keep_graphs_of_their_own() -> None:
    """No attribute is guarded, so a graph must never be found by another object of the class."""
    x = torch.ones(4, 3)
    made = [Fused(Doubler(d, f).__call__, x) for d in (True, False) for f in (1.0, 5.0)]
    assert [float(f(x)[0, 0]) for f in made] == [2.0, 10.0, 1.0, 5.0]
