"""The system as it runs, while parts of it are killed."""
