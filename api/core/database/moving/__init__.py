"""Shards: adding them, moving slots between them, and proving that all is where it should be.

PostgreSQL's own logical replication copies and follows; here it is told what and when, and what
it cannot know is done beside it.
"""
