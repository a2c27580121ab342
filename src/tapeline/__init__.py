"""From ticker tape to served model: one configuration, one graph of steps, three places to run it."""

__version__ = "0.1.0"
