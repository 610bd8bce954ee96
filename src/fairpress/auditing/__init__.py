"""The audit: predictions → cells → estimates with intervals → verdict. No model is ever seen here."""
