"""Archives that programs may read differently, and the programs that read them."""
