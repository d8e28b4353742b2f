"""The operations of the storage contract, one module for each theme."""
