"""Exchange with other programs: their predictions as cells, and datasets as they want them."""
