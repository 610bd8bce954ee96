"""From a study's predictions to audits, trade-offs and answers to claims."""
