"""Examples: data sets that nobody wrote code for."""
