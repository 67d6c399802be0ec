"""Sharing a mesh with other machines: the gateway and the limits for guests, and the tunnel on a guest's machine."""
