"""Finished maps copied to where others read them, so that nobody ever sees half of one."""
