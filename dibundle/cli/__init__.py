"""The command line: only arguments, exit codes and the terminal."""
