"""The mesh on one machine: Envoy and an MLServer for each Server."""
