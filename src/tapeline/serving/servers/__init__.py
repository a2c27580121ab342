"""A server that speaks TF Serving's API, for machines that have not TF Serving itself."""
