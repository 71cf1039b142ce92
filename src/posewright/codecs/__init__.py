"""Input pixels <-> network targets: encode, decode and unflip in one class each."""
