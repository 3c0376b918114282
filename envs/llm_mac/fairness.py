"""Jain's fairness index of all users of an episode, as it grows slot by slot."""

from __future__ import annotations

import torch
from torch import Tensor


def contributions(
    age: Tensor, delivered: Tensor, generated: Tensor, least: float, dtype: torch.dtype
) -> Tensor:
    """(rows, 2, 3, N): what each user adds to the sums of 1, x and x^2.

    x is the delivery rate D / R first, then the demand-normalised D / max(1, G). Users with less
    than the least activity add nothing.

    Args:
        age: (rows, N) slots R in which the user took part, this one included.
        delivered: (rows, N) distinct packets D.
        generated: (rows, N) packets G that arrived.
        least: activity from which a user counts, slots.
        dtype: of the result.
    """
    counts = (age >= max(least, 1.0)).to(dtype)
    weight = counts.unsqueeze(1).expand(-1, 2, -1)
    due = torch.stack([age, generated], 1).clamp_min(1).to(dtype)
    x = weight * delivered.unsqueeze(1) / due
    return torch.stack([weight, x, x * x], 2)


def jain_index(sums: Tensor) -> Tensor:
    """(rows, 2) (sum x)^2 / (n sum x^2), between 1/n and 1; 1 where nobody counts or all are zero.

    Args:
        sums: (rows, 2, 3) sums of 1, x and x^2.
    """
    number, total, squares = sums.unbind(-1)
    index = total.square() / (number * squares).clamp_min(torch.finfo(sums.dtype).tiny)
    return torch.where(squares > 0.0, index, 1.0)
