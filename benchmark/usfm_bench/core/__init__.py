"""The ground floor: errors, registries, files, settings. Imports nothing of ours."""
