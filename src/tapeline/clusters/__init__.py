"""The graph as pods: a folder for each cluster system, and the modules that they share."""
