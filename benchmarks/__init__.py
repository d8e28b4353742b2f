"""How fast and how cheap the stores are: ratios to hand-written limit lines, measured side by side in one run.

`nox -s bench` runs memory and sqlite; `nox -s bench -- --help` tells the rest.
"""
