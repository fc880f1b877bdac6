"""What is wrong with a lake, found by looking: nothing is written, and no JVM is started."""
