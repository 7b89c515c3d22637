"""Imports: links received as a stream, kept in pieces, and loaded by a worker."""
