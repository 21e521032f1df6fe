"""Tests, benchmarks and the real broker they run on."""
