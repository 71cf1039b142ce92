"""Image and boxes to poses."""
