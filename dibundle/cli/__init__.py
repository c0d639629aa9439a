"""The command line. This package handles only arguments, exit codes and the terminal."""
