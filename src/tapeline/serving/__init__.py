"""Servables (SavedModels), the store that holds their versions, and the servers and the client of TF Serving's API."""
