"""Dense networks and their training loop."""
