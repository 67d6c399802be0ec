"""The mesh on one machine: an Envoy, and an MLServer for each Server."""
