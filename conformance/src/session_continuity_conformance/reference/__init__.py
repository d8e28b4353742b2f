"""The contract as a small program. Random programs are compared with it, and mutants break it."""
