"""From what was handed in to points and feedback."""
