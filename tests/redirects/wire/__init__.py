"""Two real web servers, one with the fast path and one without, that nobody can tell apart."""
