"""``python -m sixgym``: the same as the ``sixgym`` command."""

from __future__ import annotations

from sixgym.cli.main import main

if __name__ == "__main__":
    main()
