"""One network family a file: paper, blocks, network, specs, renaming of foreign parameter names."""
