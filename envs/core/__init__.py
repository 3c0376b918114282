"""What turns a system into environments; importing this package imports no torch.

========== =====================================================================================
module     what it holds
========== =====================================================================================
system     `System`: the pure functions of a batched Markov process
params     `Params`: typed, ranged parameters with unit and source
rows       `Rows`: seeds, episodes, time limit and compilation of a batch
gym_view   the single Gymnasium environment
vector_view  the native Gymnasium vector environment
sb3_view   the Stable-Baselines3 ``VecEnv``
game       `Game`: a system of several agents who join and leave
table      one row of a game with its agents by name
pettingzoo_view  ``ParallelEnv`` and ``AECEnv`` over a table
multiagent_sb3  a game's agents as SB3's environments, for a shared policy
torchrl_view  TorchRL's ``EnvBase`` over rows
guest_rows  plain environments by others, as rows of a rollout
conformance  what every environment promises, as functions to call
plugins    packages of others that bring systems
scaffold   a new package with a system, from templates
registry   ids, and where their baselines and claims live
worlds     disjoint row seeds of training, tuning, validation and evaluation
spaces     validated actions, NumPy views of observations
render     the canvas of the pictures
errors     what a user can cause
========== =====================================================================================
"""
