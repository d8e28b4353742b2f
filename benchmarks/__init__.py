"""How fast and how cheap the stores are: ratios to hand-written limit lines, measured side by side in one run.

`nox -s bench` runs memory and sqlite; `nox -s bench -- --help` tells the rest. A store is in three places: its limit
line in `lines/`, how it is prepared in `contests/`, and its goals in the table of `report.py`.
"""
