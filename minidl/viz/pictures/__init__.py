"""One picture a file; each is a function of a Trace."""
