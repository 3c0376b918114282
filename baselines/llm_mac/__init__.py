"""Baselines of LLM-MAC, and the exact theory that they are measured against.

============ ======================================================================================
`one_slot`    the one-slot Stackelberg game by enumeration; exploitability; gradient play
`multi_slot`  the small multi-slot game by backward induction; regret of any pair of policies
`potential`   potential functions of the followers' game
`theory`      closed forms of access schemes, and the bound on goodput
============ ======================================================================================
"""
