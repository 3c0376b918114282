"""Training configurations, one YAML file an experiment: `<system>/<algorithm>.yaml`."""

from __future__ import annotations

if __name__ != "sixgym.configs":
    raise ImportError(
        "the folder configs/ is the package sixgym.configs: "
        "import it as 'sixgym.configs' (after pip install -e .)"
    )
