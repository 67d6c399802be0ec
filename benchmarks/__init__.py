"""Benchmarks of this project's layers: each figure is compared with a reference from the same run."""
