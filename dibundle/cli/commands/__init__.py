"""Each command has a module, which parses arguments, calls one function of the library, and shows the result."""
