"""Servers with TF Serving's API, and TF Serving itself in a container."""
