"""The store that TF Serving reads: a folder, or object storage and a folder that mirrors it."""
