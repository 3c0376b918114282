"""``python -m sixgym.agents.netgpt NAME --out DIR``: train networks and save them with cards."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tqdm import tqdm  # type: ignore[import-untyped]

import sixgym  # noqa: F401 - registers the environments
from sixgym.agents.netgpt.policy_net import ID, RECIPES, train
from sixgym.agents.policies import save_policy
from sixgym.agents.runs import origin


def main() -> None:
    """Train every seed and write weights and cards."""
    parser = argparse.ArgumentParser(description="Train a threshold network of NetGPT.")
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES[options.name]
    for seed in tqdm(options.seeds, desc=options.name, unit="seed"):
        policy = train(recipe, seed)
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in recipe._asdict().items()}
        about = {
            "name": f"{options.name}/{seed}",
            "algorithm": "policy network, " + recipe.way,
            **origin({**plain, "total_steps": recipe.rows * recipe.steps}, seed),
        }
        place, kwargs = options.out / f"{options.name}-{seed}", {"preset": recipe.preset}
        save_policy(policy, place, env=ID, env_kwargs=kwargs, about=about)


if __name__ == "__main__":
    main()
