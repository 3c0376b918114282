"""`sixgym/NetGptThreshold-v0`: one threshold a slot."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from sixgym.envs.core.system import Observation
from sixgym.envs.netgpt.observation import CONTEXT_ROWS, NETWORK_ROWS, SUMMARY_ROWS, box
from sixgym.envs.netgpt.params import NetGptThresholdParams
from sixgym.envs.netgpt.requests import Requests
from sixgym.envs.netgpt.slots import SlotSystem
from sixgym.envs.netgpt.state import SlotState


class NetGptThreshold(SlotSystem[NetGptThresholdParams]):
    r"""Set one threshold a slot: requests whose draft scores below it go to the cloud.

    A weak, fast agent at the edge and a strong, slow and priced one in the cloud answer
    tool-calling requests. In each slot K requests arrive. The edge drafts an answer to each, a
    scorer rates the draft by its belief :math:`s` that it is right (0 if it breaks the schema), and
    the request is offloaded iff :math:`s < \tau`. Bandwidth, round-trip time and price change from
    slot to slot, and with them the threshold that is right: the theory has exactly one, falling as
    the network or the price gets worse [paper; the formulas are reconstructed].

    With ``self_improve`` the cloud's answers become training data of the edge agent, so that
    offloading is also an investment; the scorer is refitted with it.

    **Action**: ``Box(0, 1, (1,))``: tau. 0 offloads nothing, 1 everything; 1e-9 only the drafts
    that break the schema.

    **Observation**: ``Box(-10, 10, (16,))``; see `Observer`. ``obs_level="network"`` gives the
    first four, ``observe_kappa`` appends the hidden skill and the scorer's.

    **Reward**: mean over the slot's requests of :math:`U = V S - \lambda_L L - \lambda_P P -
    \lambda_Z (1 - Z)` with success S, validity Z, latency L in s and price P in m$ of the answer
    returned; 0 in a slot without requests. See ``reward_mode``.

    **Starting state**: stationary network and price. ``reset(options=...)`` takes
    ``bandwidth_mbps``, ``rtt_s`` and ``price_mult``, each held for the episode, and ``trace_row``.

    **Episode end**: truncated after 200 slots unless made otherwise; 400 are usual with
    self-improvement (``max_episode_steps=400``).
    """

    params_type = NetGptThresholdParams
    shows_features = False
    has_threshold = True

    def __init__(
        self,
        params: NetGptThresholdParams,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        info_level: int = 0,
    ) -> None:
        super().__init__(params, dtype=dtype, device=device, info_level=info_level)
        size = CONTEXT_ROWS + SUMMARY_ROWS
        if params.obs_level == "network":
            size = NETWORK_ROWS
        self.observation_space = cast("Any", box(size + self.observer.num_hidden))
        self.action_space = cast("Any", spaces.Box(0.0, 1.0, (1,), np.float32))

    def _decide(self, requests: Requests, action: Tensor) -> tuple[Tensor, Tensor | None]:
        return requests.score < action, action[:, 0]

    def observe(self, state: SlotState) -> Observation:
        """(rows, 16) float32, or fewer or more; see the class."""
        link, mind, desk = state.link, state.mind, state.desk
        price, summary = self.observer.summary(state.requests, link, desk.arrived)
        context = self.observer.context(link, mind, desk, price)
        if self.params.obs_level == "network":
            rows = context[:NETWORK_ROWS]
        else:
            rows = [*context[:6], *summary, *context[6:]]
        return self.observer.clip(rows + self.observer.hidden(mind))
