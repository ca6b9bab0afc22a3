"""Commands on areas that run-nightly watches, one module each."""
