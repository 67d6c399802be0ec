"""Where models are deployed and reached: on this machine, on a cluster, or through another process."""
