"""One module per command: it parses arguments, calls one function of the library, and shows the result."""
