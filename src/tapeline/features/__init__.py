"""What is computed from prices; nothing here knows a dataset."""
