"""Clients that stream a deployed model's answer."""
