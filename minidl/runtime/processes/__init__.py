"""A rank is a process."""
