"""What became of files and records: receipts, states, what was moved away, what was bad."""
