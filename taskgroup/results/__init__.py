"""What taskgroup remembers: records of trials and evaluations, and where they lie."""
