"""Where the sun stands."""

from datetime import datetime

import numpy as np
from numpy.typing import NDArray


def sun_direction(when: datetime, lon: float, lat: float) -> NDArray[np.float64]:
    """Unit vector (east, north, up) to the sun; `when` in UTC, degrees. Good to 0.1 degree.

    The low-precision formulas of the Astronomical Almanac.
    """
    days = (when.timestamp() - 946_728_000) / 86_400  # since 2000-01-01 12:00
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = np.radians(
        280.460 + 0.9856474 * days + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly)
    )
    tilt = np.radians(23.439 - 4e-7 * days)
    right_ascension = np.arctan2(np.cos(tilt) * np.sin(longitude), np.cos(longitude))
    declination = np.arcsin(np.sin(tilt) * np.sin(longitude))
    sidereal = np.radians((280.46062 + 360.98564737 * days + lon) % 360)
    hour, latitude = sidereal - right_ascension, np.radians(lat)
    east = -np.cos(declination) * np.sin(hour)
    north = np.cos(latitude) * np.sin(declination) - np.sin(latitude) * np.cos(
        declination
    ) * np.cos(hour)
    up = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(
        hour
    )
    return np.array([east, north, up])


def angle_deg(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Angle between two unit vectors, degrees."""
    return float(np.degrees(np.arccos(np.clip(one @ other, -1, 1))))
