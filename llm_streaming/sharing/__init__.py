"""A mesh for a room: what lets others in over the network, and what leads them there."""
