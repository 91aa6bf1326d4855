"""A rank has a GPU."""
