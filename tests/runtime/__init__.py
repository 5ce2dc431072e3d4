"""Real processes on loopback: supervisor, workers, command line."""
