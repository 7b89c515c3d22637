"""What Signpost is measured against."""
