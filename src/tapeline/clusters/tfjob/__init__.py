"""TFJob, of the training operator."""
