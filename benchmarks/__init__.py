"""What `make bench` measures; README's figures come from here. No test is timed."""
