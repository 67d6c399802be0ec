"""The mesh on a cluster: Seldon Core 2."""
