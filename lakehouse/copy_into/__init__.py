"""COPY INTO: a load by a call, without a stream."""
