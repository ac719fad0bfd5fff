"""Inside the fresh interpreter: leads the user's program through the life of a generation."""
