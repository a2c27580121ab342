"""The store of published versions that TF Serving reads: a folder, or an object storage mirrored to a folder."""
