"""What is computed, and what is held."""
