"""What any Comm does, whatever carries its messages."""
