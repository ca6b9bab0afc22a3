"""Whether what is kept of further passes is worth them: where a model is likely wrong."""
