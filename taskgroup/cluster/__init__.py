"""Ray as searches and evaluations share it: address, start, connection, dashboard."""
