"""Tables that models learn from: what they hold, how they are stored, and how they are split."""
