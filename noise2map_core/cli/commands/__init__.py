"""The tools beside the applications: each a command of `noise2map`, with a `main()`."""
