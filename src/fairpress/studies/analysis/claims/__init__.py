"""Claims answered by a study's trials: effect, interval, test, verdict."""
