"""Many runs from one line, and their leaderboard."""
