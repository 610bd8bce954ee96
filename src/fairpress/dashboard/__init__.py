"""A read-only browser view of the studies and models in a folder."""
