"""Commands on what people see in imagery: templates and samples to fill in, and what they say."""
