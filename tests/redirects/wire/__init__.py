"""Two real web servers that nobody can tell apart: one with the fast path, and one with neither it
nor our worker class."""
