"""Cross-validation: divide a converted dataset into folds."""
