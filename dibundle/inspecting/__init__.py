"""Looking without changing: what a bundle does, what its bytes are for, what differs between two images."""
