"""Three kinds of generated scenes with exact truth, for runs without a download."""
