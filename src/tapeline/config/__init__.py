"""The configuration: schema, composition by Hydra, overrides."""
