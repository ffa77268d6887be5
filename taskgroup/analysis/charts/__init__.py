"""Charts, one file each: records -> frozen data -> figure. The imports below are the list."""
