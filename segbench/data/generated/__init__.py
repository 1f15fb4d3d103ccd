"""Three families of drawn scenes with exact truth, for runs that need no download."""
