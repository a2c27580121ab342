"""The command line: finds commands, reads their options, prints refusals."""
