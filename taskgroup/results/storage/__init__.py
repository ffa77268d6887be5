"""Files below one place: on this machine, or wherever pyarrow reaches."""
