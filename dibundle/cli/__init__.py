"""The command line. It contains only arguments, exit codes and the terminal."""
