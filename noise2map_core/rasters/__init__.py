"""Files of pixels: opened, read by windows, resampled."""
