"""Multi-agent PPO: actors by what each agent sees, a critic that may see all, SB3's own loop.

============ =======================================================================================
module       what it holds
============ =======================================================================================
nets         what an actor and a critic of a team are, and their parts
buffer       a rollout buffer of SB3 that keeps the agents of a row together
policy       actor and critic as a policy of SB3, and `MAPPO`
choices      categorical choices from given random numbers
mac_set      LLM-MAC: attention over the users there are, for any number of them
mac_token    LLM-MAC: a tiny language model that speaks the action grammar
token_model  the transformer under it
token_speech what it reads and says, as tokens
twin_set     TwinSync: attention over agents and regions, for any number of both
twin_sight   what its agents see, in parts
player       a trained actor as a policy that plays, and its files
============ =======================================================================================

SB3's PPO is used as it is. It sees one environment for each (row, seat) pair
(`sixgym.envs.core.team_sb3`), so that the probability ratio, the return and the advantage are each
agent's own; the policy sees whole rows, so that whoever moves first is heard by those who follow,
and a centralised critic costs one pass a row.
"""
