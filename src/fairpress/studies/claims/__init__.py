"""Claims as data: what somebody says of compression and fairness, answered by a study's trials."""
