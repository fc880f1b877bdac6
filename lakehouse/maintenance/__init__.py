"""What is done to a table beside its stream: repair, replay, forget, rescue."""
