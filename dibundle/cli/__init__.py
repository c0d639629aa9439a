"""The command line: arguments, exit codes and the terminal, nothing else."""
