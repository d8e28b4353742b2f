"""The operations of the contract."""
