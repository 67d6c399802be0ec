"""Where models are deployed and reached."""
