"""A compiled step knows one layout of its inputs, whatever layout they come in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sixgym.envs.core.fuse import Fused


def mixed(inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    a, b = inputs
    return a + 2.0 * b, a * b.sum(1, keepdim=True)


@pytest.mark.slow
def test_inputs_of_any_layout_give_the_same_result() -> None:
    plain = torch.arange(12.0).reshape(3, 4), torch.arange(12.0, 24.0).reshape(3, 4)
    expanded = torch.tensor([[1.0], [2.0], [3.0]]).expand(3, 4)
    fused = Fused(mixed, (expanded, plain[1]))
    turned = plain[0].T.contiguous().T
    for inputs in (plain, (turned, plain[1]), (expanded, plain[1]), (plain[0], turned)):
        for found, due in zip(fused(inputs), mixed(inputs), strict=True):
            assert torch.equal(found, due)
