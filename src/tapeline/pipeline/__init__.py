"""The graph of steps, and how it runs on this machine."""
