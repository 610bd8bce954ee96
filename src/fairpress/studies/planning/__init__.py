"""From a config to tasks and report sections. Pure: nothing is computed, trained or written."""
