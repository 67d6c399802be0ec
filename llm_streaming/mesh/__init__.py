"""The meshes, on which models are deployed and called: on this machine, on a cluster, or in another process."""
