"""What a stream was told: options, paths."""
