"""NetGPT's learners of a threshold that are no reinforcement learning: networks by their gradient.

``python -m sixgym.agents.netgpt NAME --out DIR`` trains one; see `sixgym.agents.netgpt.policy_net`.
"""
