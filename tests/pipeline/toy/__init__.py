"""Programs of steps that no dataset needs yet: mapped over partitions, and with artifacts that may be missing."""
