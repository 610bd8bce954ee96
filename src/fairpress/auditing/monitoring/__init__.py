"""Sequential monitoring: a ledger of every use of a test set, and verdicts that stay valid over looks and releases."""
