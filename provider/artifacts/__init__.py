"""Artifacts: typed values in a content-addressed store."""
