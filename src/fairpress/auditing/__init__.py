"""The audit: predictions → cells → estimates with intervals → verdict. It never runs a model."""
