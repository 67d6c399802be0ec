"""A mesh shared with other machines: the gateway and what guests may do, and the tunnel on their side."""
