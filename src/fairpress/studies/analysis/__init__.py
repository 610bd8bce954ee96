"""From a study's predictions to audits, trade-offs and verdicts on claims."""
