"""Links of other shorteners, from their exports and APIs: read as rows, and sent to a Signpost."""
