"""Pictures of what people look at, made by one command: ``make screenshots``."""
