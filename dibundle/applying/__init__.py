"""Rebuilding images from bundles. The steps are: find the base, follow chains, rebuild, verify, and write or load."""
