"""Erases a workspace with all that belongs to it, and proves that nothing is left."""
