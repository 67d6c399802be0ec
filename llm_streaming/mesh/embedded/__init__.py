"""The mesh on one machine: an Envoy process, and an MLServer process for each Server."""
