"""Applications that search: schedules, timesteps, trials."""
