"""What TF Serving serves: SavedModels, and the store that holds their versions."""
