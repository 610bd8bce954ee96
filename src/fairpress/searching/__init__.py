"""The best artifact for which "no group loses more than …" is shown, on rows that chose nothing."""
