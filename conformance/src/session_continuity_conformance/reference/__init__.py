"""The contract as a small program that keeps it: random programs are compared with it, and mutants break it."""
