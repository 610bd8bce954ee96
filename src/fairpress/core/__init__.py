"""What every layer speaks of: estimates, errors, cards and names. No third-party weight."""
