"""Links and clicks in bulk: streamed out, streamed in, and brought from other shorteners."""
