"""Other people's agents: data that is checked before it is read, and played apart.

A submission is a folder or a zip with ``submission.yaml`` and the weights of one or several
training seeds: safetensors for a network of our list, or ONNX. `receive` copies and checks it,
`judge` plays it in a process of its own with limits of time and memory and without a network, and
`submit` stores the row.
"""

from __future__ import annotations

from sixgym.leaderboard.submissions.accept import Judged, submit
from sixgym.leaderboard.submissions.files import receive
from sixgym.leaderboard.submissions.sandbox import Isolation, Limits, judge
from sixgym.leaderboard.submissions.schema import Received, Submission

__all__ = ["Isolation", "Judged", "Limits", "Received", "Submission", "judge", "receive", "submit"]
