"""Rebuilding images from bundles: find the base, follow chains, rebuild, verify, write or load."""
