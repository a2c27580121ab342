"""One module or folder for each command: `HELP`, `OPTIONS`, `EXAMPLES` and `run`."""
