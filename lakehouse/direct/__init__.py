"""The direct way of writing: tasks write Parquet files themselves, and one Delta commit makes a batch visible."""
