"""One config per application, of sections that the rooms know. Imports nothing that is heavy."""
