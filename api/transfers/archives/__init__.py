"""Everything of a workspace as one archive, made while it is sent."""
