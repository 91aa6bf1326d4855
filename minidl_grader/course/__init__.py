"""From solutions to exercises."""
