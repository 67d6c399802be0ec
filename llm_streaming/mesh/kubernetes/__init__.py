"""The mesh on a Kubernetes cluster with Seldon Core 2."""
