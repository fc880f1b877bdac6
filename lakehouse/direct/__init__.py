"""The direct road: tasks write Parquet themselves, and a single Delta commit makes a batch visible."""
