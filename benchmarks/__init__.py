"""How fast and how cheap the stores are: ratios to clients used by hand, measured side by side in one run.

`README.md` describes what is compared and how to run it.
"""
