"""Count a table into cells: combinations of group, label and the predictions of all models."""
