"""All links or clicks of a workspace, streamed."""
