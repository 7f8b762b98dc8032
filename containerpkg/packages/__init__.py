"""From a stored image to RPM packages."""
