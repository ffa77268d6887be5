"""Tables, alike on the terminal, as JSON and in the report."""
