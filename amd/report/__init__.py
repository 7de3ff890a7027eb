"""The report of a pipeline run: one HTML file that needs nothing else, and the pictures it shows."""
