"""What `session-continuity import --from` can read: a module for each store of a framework. No framework is needed.

Each module has a function `conversations`, which an entry point in `pyproject.toml` names.
"""
