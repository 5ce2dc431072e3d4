"""The HTTP API: what it takes, what it answers, and whom."""
