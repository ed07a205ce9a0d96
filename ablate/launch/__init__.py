"""Starting jobs: in this process, or one process a slot."""
