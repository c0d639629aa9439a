"""A module for each command: it parses, calls one function of the library, and shows the result."""
