"""The ``sixgym`` command."""
