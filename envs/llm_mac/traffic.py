"""Packets that arrive at the users in a slot."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sixgym.envs.backend.rng import Draws
from sixgym.envs.core.errors import ParamsError
from sixgym.envs.llm_mac.params import LlmMacParams
from sixgym.envs.llm_mac.population import Streams
from sixgym.envs.llm_mac.state import MacState

MOST_POISSON = 16
"""A Poisson variable of mean at most 1 exceeds this with probability below 1e-15."""
MOST_TRACED = 1000
"""Most arrivals at a user in a slot of a trace."""


class Traffic:
    """The arrival process of one set of parameters.

    Raises:
        ParamsError: the trace is missing or not an array of counts.
    """

    def __init__(self, params: LlmMacParams, dtype: torch.dtype, device: torch.device) -> None:
        self.params = p = params
        means = p.of_rows(p.row_arrival_prob, p.arrival_prob)
        same = len(set(means)) == 1
        self._mean: Tensor | float = (
            means[0] if same else torch.tensor(means, dtype=dtype).to(device)
        )
        cdf = torch.tensor([[_poisson_cdf(k, x) for k in range(MOST_POISSON)] for x in means])
        self._cdf = cdf.to(device, dtype)
        self.start_streams: Streams = {}
        self.step_streams: Streams = {}
        if p.traffic == "trace":
            counts = read_trace(p.trace_file)
            columns = [i % counts.shape[1] for i in range(p.n_max)]
            self._trace = torch.from_numpy(counts[:, columns]).to(device)
            self.start_streams["offset"] = ("uniform", ())
        elif p.traffic != "saturated":
            self.step_streams["arrivals"] = ("uniform", (p.n_max,))

    def first_offset(self, noise: Draws, like: Tensor) -> Tensor:
        """(rows,) int64: slot of the trace at which the episodes begin; zeros without a trace."""
        if self.params.traffic != "trace":
            return torch.zeros_like(like)
        return (noise["offset"] * len(self._trace)).to(torch.int64)

    def arrivals(self, state: MacState, noise: Draws) -> Tensor:
        """(rows, N) int64 packets that arrive in the slot; 0 on empty seats.

        Of saturated users nothing arrives here; they refill what they remove.
        """
        p, here = self.params, state.here
        if p.traffic == "saturated":
            return torch.zeros_like(state.q)
        if p.traffic == "trace":
            place = (state.offset + state.slot) % len(self._trace)
            return self._trace[place] * here
        uniform = noise["arrivals"]
        if p.traffic == "poisson":
            return (uniform.unsqueeze(-1) > self._cdf).sum(-1) * here
        comes = (uniform < self._mean) & here
        if p.traffic == "finite":
            comes = comes & (state.generated < p.packets)
        return comes.to(torch.int64)


def _poisson_cdf(count: int, mean: float) -> float:
    """P(X <= count)."""
    return math.fsum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(count + 1))


def read_trace(path: str) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The arrivals in a .npy file, (slots, users) int64.

    Raises:
        ParamsError: no such file, not an array of numbers, of another shape, or not whole counts.
    """
    try:
        found = np.load(Path(path), allow_pickle=False)
    except Exception as error:
        # Whatever is raised: damage surfaces as errors of numpy, zipfile, zlib and tokenize.
        reason = str(error) or type(error).__name__
        raise ParamsError(f"trace_file={path!r}: cannot be read: {reason}") from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or 0 in found.shape:
        shape = getattr(found, "shape", None)
        raise ParamsError(f"trace_file={path!r}: shape {shape}; allowed: (slots, users)")
    if (
        found.dtype.kind not in "iuf"
        or not ((found >= 0) & (found <= MOST_TRACED) & (found == np.floor(found))).all()
    ):
        raise ParamsError(
            f"trace_file={path!r}: allowed: whole numbers of arrivals from 0 to {MOST_TRACED}"
        )
    return found.astype(np.int64)
