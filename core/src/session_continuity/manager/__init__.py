"""What applications work with: the managers of sessions and messages."""
