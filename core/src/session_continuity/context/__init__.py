"""What a model gets to see of a conversation. This package only reads."""
