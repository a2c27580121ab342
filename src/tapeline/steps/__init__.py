"""One program for each step: `run(config, *, <artifact>=Path, ...)`, files in, files out."""
