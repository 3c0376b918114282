"""`sixgym/NetGptBatch-v0`: all requests of a slot together."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.core.system import Observation
from sixgym.envs.netgpt.observation import CONTEXT_ROWS, REQUEST_FEATURES, box
from sixgym.envs.netgpt.params import NetGptBatchParams
from sixgym.envs.netgpt.requests import Requests
from sixgym.envs.netgpt.slots import SlotSystem
from sixgym.envs.netgpt.state import SlotState


class NetGptBatch(SlotSystem[NetGptBatchParams]):
    """Decide all requests of a slot together, on an uplink that the offloaded ones share.

    The system of `NetGptThreshold`, but each request is kept or offloaded by a bit of its own. By
    default the offloaded requests share the bandwidth, so that the choices interact.

    **Action**: ``MultiBinary(max_requests)``: 1 offloads; surplus entries are ignored.

    **Observation**: a Dict of ``global`` (rows 0 to 5 and 12 to 15 of `Observer`, 10 numbers),
    ``requests`` ``(max_requests, 14)``, see `Observer.features`, and ``mask`` ``(max_requests,)``,
    1 for the requests that there are.

    **Reward**, **starting state** and **episode end** as of `NetGptThreshold`.
    """

    params_type = NetGptBatchParams
    shows_features = True

    def __init__(
        self,
        params: NetGptBatchParams,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, dtype=dtype, device=device, info_level=info_level)
        most = params.max_requests
        parts = {
            "global": box(CONTEXT_ROWS + self.observer.num_hidden),
            "requests": box(REQUEST_FEATURES, most),
            "mask": spaces.Box(0.0, 1.0, (most,), np.float32),
        }
        self.observation_space = cast("Any", spaces.Dict(cast("Any", parts)))
        self.action_space = cast("Any", spaces.MultiBinary(most))

    def _decide(self, requests: Requests, action: Tensor) -> tuple[Tensor, Tensor | None]:
        return action[:, : self.width] > 0, None

    def observe(self, state: SlotState) -> Observation:
        """The dictionary of tensors of the class."""
        link, mind, desk = state.link, state.mind, state.desk
        price, _ = self.observer.summary(state.requests, link, desk.arrived)
        rows = self.observer.context(link, mind, desk, price) + self.observer.hidden(mind)
        seen = self.observer.features(state.requests)
        active = self.observer.active(desk.arrived)
        mask = torch.ones_like(seen[:, :, 0]) if active is None else active.float()
        if active is not None:
            seen = seen * mask.unsqueeze(-1)
        surplus = self.params.max_requests - self.width
        if surplus:
            seen = torch.nn.functional.pad(seen, (0, 0, 0, surplus))
            mask = torch.nn.functional.pad(mask, (0, surplus))
        return {"global": self.observer.clip(rows), "requests": seen, "mask": mask}
