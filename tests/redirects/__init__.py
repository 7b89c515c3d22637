"""A link as its visitors meet it."""
