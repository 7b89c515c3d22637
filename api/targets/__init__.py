"""Where links may lead: block rules of the installation and of its workspaces."""
