"""What hides the ground: detectors of clouds, and what looks like a cloud without one."""
