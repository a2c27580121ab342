"""The graph as pods: one room for each cluster system, and what they share."""
