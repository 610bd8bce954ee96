"""Post-processing that mitigates unfairness in the scores and decisions of a trained model, fitted on validation rows."""
