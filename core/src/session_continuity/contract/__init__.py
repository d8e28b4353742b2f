"""The contract between a store and everything else: the interface, and the values that go through it."""
