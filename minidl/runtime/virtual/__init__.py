"""A rank is a thread, and time is arithmetic."""
