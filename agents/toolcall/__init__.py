"""The tool-calling task of NetGPT in small, and an edge agent that learns to do it.

Planning of a federated-learning workflow, after the public description of the paper's workload
[paper]; the language, the sizes and the recipes are the dossier's [our choice], none is the
paper's. In the order of use:

- `language`: eight tools and the vocabulary of 117 word tokens; `task`: requests of the easy and
  the full law, the cloud agent, frozen evaluation sets; `prompts`: the same requests in words with
  the tools as a language model's server takes them.
- `validator`: JSON schema of each tool, the strict validator, the rule reward (27).
- `model`: the decoder-only transformer of 111,040 parameters; `files`: weights as data.
- `sft`, `scorer`, `reward_model`: supervised start, router's score, pairwise reward.
- `objective`: losses (28) to (31); `tabular`: their exact minimisers (32), (33); `improve`: the
  loop that minimises them on a buffer of cloud answers; `grading`: success, validity, drift.
- `config`, `runs`: ``sixgym toolcall default`` does it all from one YAML.
- `llm`: a model behind an OpenAI-compatible server as edge or cloud agent of the same task.
- `loop_config`, `loop_world`, `loop`, `loop_runs`: ``sixgym loop default`` serves requests by both
  agents behind the router, improves the edge on the cloud's answers and refits the scorer.

Importing this package loads nothing; networks need torch, trainings the ``train`` extra.
"""
