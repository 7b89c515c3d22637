"""Health, the API description and the documentation pages."""
