"""The limits of request parameters, which are the same for all engines that run a model on this machine."""
