"""One benchmark or task by one model, and what its scores amount to."""
