"""The database's indexes and permissions, and the commands about them."""
