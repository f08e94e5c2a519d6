"""Tests of a configuration, written as YAML: what is recorded or written there in, expected targets out."""
