"""What any program needs: files, leases, digests, secrets, errors, progress, settings."""
