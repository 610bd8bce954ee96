"""From a table to cells: counts of each combination of group, label and predictions."""
