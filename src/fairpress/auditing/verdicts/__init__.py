"""From estimates to verdicts: non-inferiority, multiplicity, sample size, gates, wording."""
