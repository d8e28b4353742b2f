"""What is measured: the stores, the bare clients by hand, and other libraries, all with the same operations."""
