"""Reading and finding the files of data sets."""
