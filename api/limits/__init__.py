"""Plans of workspaces: how often callers may call, and how much a workspace may use."""
