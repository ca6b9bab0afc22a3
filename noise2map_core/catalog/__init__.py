"""What imagery there is: searches, scenes, pairs."""
